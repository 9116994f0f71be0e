//! A full queue is drained into the core.

use std::sync::Arc;
use std::time::Duration;

use acequia_publisher::Outgoing;
use anyhow::{Context, ensure};
use sqlx::PgConnection;

use crate::cpu::{self, Cpu};
use crate::environment::{BenchEnv, LedgerTotals, Size, TestEnv};
use crate::load;
use crate::process::Process;
use crate::sample::Sample;
use crate::statements;

/// How often the ledger are looked at: seldom enough to cost nothing, often enough to be no
/// error to speak of.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Longest time without any progress.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// The result of a drain.
#[derive(Debug, Clone, Copy)]
pub struct Drained {
    /// From the start of the first program to the end.
    pub took: Duration,
    /// CPU of all programs in that time.
    pub cpu: Cpu,
    /// The most memory that a program under test had, in megabytes.
    pub peak: f64,
    /// The ledger totals at the end.
    pub totals: LedgerTotals,
}

impl Drained {
    /// As a sample.
    #[must_use]
    pub fn sample(&self, case: impl Into<String>, messages: usize) -> Sample {
        Sample::new(case)
            .throughput(messages, self.took)
            .cpu(self.cpu)
            .with("peak_mb", self.peak)
    }
}

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    all_of(bench, bench.messages().await?).await
}

/// In random order: most rows come before the rows they refer to, and wait for them.
pub(super) async fn play_shuffled(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let Size { messages, seed, .. } = bench.size;
    let messages = load::messages(messages, seed, &["--shuffle"])?;
    all_of(bench, Arc::new(messages)).await
}

/// Drains messages that all belong into the core.
async fn all_of(bench: &BenchEnv<'_>, messages: Arc<Vec<Outgoing>>) -> anyhow::Result<Vec<Sample>> {
    let environment = bench.environment().await?;
    let count = messages.len();
    environment.fill(messages).await?;
    let drained = drain(&environment, 1, count).await?;
    ensure!(
        drained.totals.pending == 0 && drained.totals.quarantined == 0,
        "not all messages got into the core: {:?}",
        drained.totals
    );
    environment.clear().await?;
    Ok(vec![drained.sample("acequia", count)])
}

/// Starts `workers` workers on a test environment whose queue has `messages`, and stops them when everything is
/// promoted that can be.
///
/// # Errors
/// When a worker ends, nothing makes progress, or messages are unaccounted for.
pub async fn drain(
    environment: &TestEnv<'_>,
    workers: usize,
    messages: usize,
) -> anyhow::Result<Drained> {
    let mut owner = environment.owner().await?;
    let start = || Process::worker::<&str>(environment, &[]);
    if environment.bench.size.statements {
        statements::begin(environment).await?;
    }
    // CPU seconds of the programs begin at nought: they are not there yet.
    let before = cpu::read(environment.bench.services, &[])?;
    let mut workers = (0..workers)
        .map(|_| start())
        .collect::<anyhow::Result<Vec<_>>>()?;
    let totals = until_promoted(&mut owner, messages, &mut workers).await?;
    let drained = finish(environment, before, totals, &workers)?;
    for worker in workers {
        worker.stop().await?;
    }
    if environment.bench.size.statements {
        statements::tell(environment, messages).await?;
    }
    Ok(drained)
}

/// Takes time, CPU and memory of programs that have just done their work.
pub(super) fn finish(
    environment: &TestEnv<'_>,
    before: Cpu,
    totals: LedgerTotals,
    workers: &[Process],
) -> anyhow::Result<Drained> {
    let started = workers.iter().map(|worker| worker.started).min();
    let took = started.context("no worker")?.elapsed();
    let pids: Vec<u32> = workers.iter().map(|worker| worker.pid).collect();
    let cpu = cpu::read(environment.bench.services, &pids)? - before;
    let mut peak = 0.0_f64;
    for worker in workers {
        peak = peak.max(worker.peak_memory()?);
    }
    Ok(Drained {
        took,
        cpu,
        peak,
        totals,
    })
}

/// Waits until that number of messages was taken and none waits for promotion.
pub(super) async fn until_promoted(
    owner: &mut PgConnection,
    messages: usize,
    workers: &mut [Process],
) -> anyhow::Result<LedgerTotals> {
    let done = |totals: &LedgerTotals| totals.staged == 0;
    until(owner, messages, workers, done).await
}

/// Waits until that number of messages was taken and a condition holds.
pub(super) async fn until(
    owner: &mut PgConnection,
    messages: usize,
    workers: &mut [Process],
    done: impl Fn(&LedgerTotals) -> bool,
) -> anyhow::Result<LedgerTotals> {
    let domain = load::domain()?;
    let messages = i64::try_from(messages)?;
    let mut last = None;
    let mut progress = tokio::time::Instant::now();
    loop {
        let totals = LedgerTotals::read(owner, domain).await?;
        if totals.received >= messages && done(&totals) {
            ensure!(
                totals.received == messages && totals.unaccounted == 0,
                "the totals are wrong, {messages} messages were sent: {totals:?}"
            );
            return Ok(totals);
        }
        for worker in &mut *workers {
            worker.check()?;
        }
        if last != Some(totals) {
            (last, progress) = (Some(totals), tokio::time::Instant::now());
        }
        ensure!(
            progress.elapsed() < STUCK_AFTER,
            "no progress for {} s: {totals:?}",
            STUCK_AFTER.as_secs()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
