//! The same work by others: `testing/bench/peers`, in a virtual environment made for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use sqlx::AssertSqlSafe;
use tokio::process::Command;

use super::drain::{self, Drained};
use crate::cpu;
use crate::environment::{BenchEnv, LedgerTotals, TestEnv};
use crate::load;
use crate::process::{self, Process};
use crate::sample::Sample;

/// One insert a message is slow: it gets this small share of the messages.
const SHARE_OF_DOCUMENTED: usize = 25;
/// But at least this number, so that its start does not count.
const FEWEST: usize = 10_000;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let python = environment().await?;
    let environment = bench.environment().await?;
    let messages = bench.messages().await?;
    let count = messages.len();
    environment.fill(messages).await?;
    let mut owner = environment.owner().await?;
    let before = cpu::read(bench.services, &[])?;
    let mut peer = [start(&environment, &python, "tuned.py")?];
    let totals = drain::until_promoted(&mut owner, count, &mut peer).await?;
    ensure!(
        totals.pending == 0 && totals.quarantined == 0,
        "not all messages got into the core: {totals:?}"
    );
    let tuned = drain::finish(&environment, before, totals, &peer)?;
    stop(peer).await?;
    environment.clear().await?;

    let environment = bench.environment().await?;
    let fewer = (count / SHARE_OF_DOCUMENTED).max(FEWEST);
    let messages = Arc::new(load::messages(fewer, bench.size.seed, &[])?);
    environment.fill(messages).await?;
    let documented = documented(&environment, &python, fewer).await?;
    environment.clear().await?;
    Ok(vec![
        tuned.sample("tuned Python (aio-pika, Pydantic, asyncpg)", count),
        documented.sample("FastStream as documented, staging only", fewer),
    ])
}

async fn documented(
    environment: &TestEnv<'_>,
    python: &Path,
    count: usize,
) -> anyhow::Result<Drained> {
    let mut owner = environment.owner().await?;
    let tables = load::domain()?.entities.iter();
    let tables: Vec<String> = tables
        .map(|entity| format!("(select count(*) from {})", entity.staging))
        .collect();
    let rows = format!("select {}", tables.join(" + "));
    let before = cpu::read(environment.bench.services, &[])?;
    let mut peer = [start(environment, python, "documented.py")?];
    let within = std::time::Duration::from_secs(600);
    acequia_testkit::wait_within(within, "the rows in staging", async || {
        peer[0].check()?;
        let there: i64 = sqlx::query_scalar(AssertSqlSafe(rows.as_str()))
            .fetch_one(&mut owner)
            .await?;
        Ok(there >= i64::try_from(count)?)
    })
    .await?;
    let totals = LedgerTotals::read(&mut owner, load::domain()?).await?;
    let drained = drain::finish(environment, before, totals, &peer)?;
    stop(peer).await?;
    Ok(drained)
}

fn start(environment: &TestEnv<'_>, python: &Path, script: &str) -> anyhow::Result<Process> {
    let mut command = Command::new(python);
    command.arg(folder().join(script));
    Process::start(command, environment, script)
}

async fn stop(peers: [Process; 1]) -> anyhow::Result<()> {
    for peer in peers {
        peer.stop().await?;
    }
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Python with the peers' packages; made once for each list of packages.
async fn environment() -> anyhow::Result<PathBuf> {
    let wanted = folder().join("requirements.txt");
    let own = std::env::current_exe()?;
    // Beside the profiles' folders, as everything that can be made again.
    let target = own.ancestors().nth(2).context("the folder of builds")?;
    let environment = target.join("bench-peers");
    let (python, made) = (
        environment.join("bin/python"),
        environment.join("requirements.txt"),
    );
    let wants = std::fs::read(&wanted)?;
    if std::fs::read(&made).is_ok_and(|has| has == wants) {
        return Ok(python);
    }
    eprintln!(
        "  making a virtual environment in {}",
        environment.display()
    );
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    process::done(make, "python3 -m venv (package python3-venv)").await?;
    let mut install = Command::new(&python);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&wanted);
    process::done(install, "pip install").await?;
    std::fs::write(&made, wants)?;
    Ok(python)
}
