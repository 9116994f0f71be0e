//! The worker's memory over many messages: publishing and draining at the same time, round after
//! round.

use std::sync::Arc;
use std::time::Duration;

use super::drain;
use crate::cpu;
use crate::environment::BenchEnv;
use crate::load;
use crate::process::Process;
use crate::sample::{Sample, Spread};

/// The messages of a run are sent this many times: ten million by default.
const ROUNDS: u64 = 20;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let environment = bench.environment().await?;
    let mut owner = environment.owner().await?;
    let before = cpu::read(bench.services, &[])?;
    let mut workers = [Process::worker::<&str>(&environment, &[])?];
    let pid = workers[0].pid;
    let sampler = tokio::spawn(async move {
        let mut values = Vec::new();
        while let Ok((now, _)) = cpu::memory(pid) {
            values.push(now);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        values
    });
    let (mut sent, mut totals) = (0, None);
    for round in 1..=ROUNDS {
        let messages = load::messages(bench.size.messages, bench.size.seed + round, &[])?;
        sent += messages.len();
        load::send(&environment.amqp()?, Arc::new(messages), None).await?;
        totals = Some(drain::until_promoted(&mut owner, sent, &mut workers).await?);
        eprintln!("  {sent} messages, {:.0} MB", cpu::memory(pid)?.0);
    }
    let Some(totals) = totals else {
        anyhow::bail!("no rounds");
    };
    let drained = drain::finish(&environment, before, totals, &workers)?;
    for worker in workers {
        worker.stop().await?;
    }
    environment.clear().await?;
    let values = sampler.await?;
    let tenth = values.len().div_ceil(10);
    let median = |values: &[f64]| Spread::of(values.to_vec()).map_or(f64::NAN, |all| all.median);
    Ok(vec![
        drained
            .sample("acequia", sent)
            .with("early_mb", median(&values[..tenth]))
            .with("late_mb", median(&values[values.len() - tenth..])),
    ])
}
