//! More workers on one queue; and several pipelines side by side on the same servers, as several
//! domains would be: each with a queue, a schema and a worker of its own. All take messages of one
//! domain, so that rates compare; so each pipeline has a database of its own, too.

use std::sync::Arc;

use anyhow::ensure;

use super::drain::{self, drain};
use crate::cpu;
use crate::ground::{Ground, Plot};
use crate::load;
use crate::process::Process;
use crate::sample::Sample;

const WORKERS: [(usize, &str); 3] = [(1, "1 worker"), (2, "2 workers"), (4, "4 workers")];
const PIPELINES: usize = 4;

pub(super) async fn play(ground: &Ground<'_>) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (workers, case) in WORKERS {
        let plot = ground.plot().await?;
        let messages = ground.messages().await?;
        let count = messages.len();
        plot.fill(messages).await?;
        let drained = drain(&plot, workers, count).await?;
        ensure!(drained.accounts.pending == 0, "{:?}", drained.accounts);
        plot.clear().await?;
        samples.push(drained.sample(case, count));
    }
    samples.push(side_by_side(ground).await?);
    Ok(samples)
}

async fn side_by_side(ground: &Ground<'_>) -> anyhow::Result<Sample> {
    let count = (ground.size.messages / PIPELINES).max(load::LEAST);
    let messages = Arc::new(load::messages(count, ground.size.seed, &[])?);
    let mut plots = Vec::new();
    for _ in 0..PIPELINES {
        let plot = ground.plot().await?;
        plot.fill(messages.clone()).await?;
        plots.push(plot);
    }
    let before = cpu::read(ground.services, &[])?;
    let mut workers: Vec<Process> = plots
        .iter()
        .map(|plot| Process::worker::<&str>(plot, &[]))
        .collect::<anyhow::Result<_>>()?;
    let mut accounts = None;
    for (plot, worker) in plots.iter().zip(&mut workers) {
        let mut owner = plot.owner().await?;
        let worker = std::slice::from_mut(worker);
        accounts = Some(drain::until_promoted(&mut owner, count, worker).await?);
    }
    let Some((first, accounts)) = plots.first().zip(accounts) else {
        anyhow::bail!("no pipelines");
    };
    let drained = drain::finish(first, before, accounts, &workers)?;
    for worker in workers {
        worker.stop().await?;
    }
    for plot in plots {
        Plot::clear(plot).await?;
    }
    Ok(drained.sample("4 pipelines, 1 worker each", count * PIPELINES))
}
