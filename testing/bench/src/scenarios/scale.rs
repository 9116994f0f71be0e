//! More workers on one queue; and several pipelines side by side on the same servers, as several
//! domains would be: each with a queue, a schema and a worker of its own. All pipelines use the same
//! domain, so that their rates can be compared; therefore each one also needs its own database.

use std::sync::Arc;

use anyhow::ensure;

use super::drain::{self, drain};
use crate::cpu;
use crate::environment::{BenchEnv, TestEnv};
use crate::load;
use crate::process::Process;
use crate::sample::Sample;

const WORKERS: [(usize, &str); 3] = [(1, "1 worker"), (2, "2 workers"), (4, "4 workers")];
const PIPELINES: usize = 4;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (workers, case) in WORKERS {
        let environment = bench.environment().await?;
        let messages = bench.messages().await?;
        let count = messages.len();
        environment.fill(messages).await?;
        let drained = drain(&environment, workers, count).await?;
        ensure!(drained.totals.pending == 0, "{:?}", drained.totals);
        environment.clear().await?;
        samples.push(drained.sample(case, count));
    }
    samples.push(side_by_side(bench).await?);
    Ok(samples)
}

async fn side_by_side(bench: &BenchEnv<'_>) -> anyhow::Result<Sample> {
    let count = (bench.size.messages / PIPELINES).max(load::LEAST);
    let messages = Arc::new(load::messages(count, bench.size.seed, &[])?);
    let mut environments = Vec::new();
    for _ in 0..PIPELINES {
        let environment = bench.environment().await?;
        environment.fill(messages.clone()).await?;
        environments.push(environment);
    }
    let before = cpu::read(bench.services, &[])?;
    let mut workers: Vec<Process> = environments
        .iter()
        .map(|environment| Process::worker::<&str>(environment, &[]))
        .collect::<anyhow::Result<_>>()?;
    let mut totals = None;
    for (environment, worker) in environments.iter().zip(&mut workers) {
        let mut owner = environment.owner().await?;
        let worker = std::slice::from_mut(worker);
        totals = Some(drain::until_promoted(&mut owner, count, worker).await?);
    }
    let Some((first, totals)) = environments.first().zip(totals) else {
        anyhow::bail!("no pipelines");
    };
    let drained = drain::finish(first, before, totals, &workers)?;
    for worker in workers {
        worker.stop().await?;
    }
    for environment in environments {
        TestEnv::clear(environment).await?;
    }
    Ok(drained.sample("4 pipelines, 1 worker each", count * PIPELINES))
}
