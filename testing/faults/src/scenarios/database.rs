//! Faults of the database.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::sleep;

use super::run_scenario;
use crate::environment::signal;
use crate::report::Outcome;
use crate::scenario_run::ScenarioRun;
use crate::setup::{RunOptions, Setup};

/// Stopped as by `pg_ctl stop -m immediate`, and started again: it recovers from its log.
pub async fn crash(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let setup = Setup {
        own_servers: true,
        ..Setup::default()
    };
    let times = run_options.pick(5, 1);
    run_scenario(&run_options, &setup, async |run| {
        for _ in 0..times {
            run.flows(100).await?;
            run.strike();
            signal("QUIT", run.environment.services().pid("postgresql")?)?;
            run.tells(&["ingest"]).await?;
            run.environment.services().restart().await?;
            run.healed().await?;
        }
        let data = Path::new(run.environment.services().var("POSTGRES_DATA_DIR")?);
        let log = std::fs::read(data.with_file_name("server.log"))?;
        let log = String::from_utf8_lossy(&log);
        let stopped = log.matches("received immediate shutdown request").count();
        let recovered = log.matches("automatic recovery in progress").count();
        run.proof(
            stopped == times && recovered >= times,
            format!("server log: {stopped} immediate shutdowns, {recovered} recoveries"),
        );
        Ok(())
    })
    .await
}

/// All its processes stopped, and continued: connections stay, without answers.
pub async fn freeze(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let setup = Setup {
        own_servers: true,
        ..Setup::default()
    };
    let times = run_options.pick(2, 1);
    run_scenario(&run_options, &setup, async |run| {
        for _ in 0..times {
            run.flows(100).await?;
            run.strike();
            // The first server process first: it can start no others then.
            let main = run.environment.services().pid("postgresql")?;
            signal("STOP", main)?;
            let all = run.environment.database_processes()?;
            for pid in all.iter().filter(|pid| **pid != main) {
                let _ = signal("STOP", *pid);
            }
            let told = run.tells(&["ingest", "promote"]).await;
            if told.is_ok() {
                sleep(Duration::from_secs(run_options.pick(50, 2))).await;
            }
            let stopped = all.iter().filter(|pid| is_stopped(**pid)).count();
            for pid in &all {
                let _ = signal("CONT", *pid);
            }
            told?;
            run.proof(
                stopped > 3,
                format!("{stopped} server processes in state T"),
            );
            run.healed().await?;
        }
        Ok(())
    })
    .await
}

fn is_stopped(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(") ")
            .next()
            .unwrap_or_default()
            .starts_with('T')
    })
}

/// Every connection to the database ended, again and again.
pub async fn terminate(run_options: RunOptions) -> anyhow::Result<Outcome> {
    const ALL: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
        where datname = current_database() and pid <> pg_backend_pid()";
    let times = run_options.pick(20, 3);
    run_scenario(&run_options, &Setup::default(), async |run| {
        let mut ended = 0;
        for _ in 0..times {
            run.flows(50).await?;
            run.strike();
            for _ in 0..5 {
                ended += run.environment.number(ALL).await?;
                sleep(Duration::from_millis(150)).await;
            }
            run.healed().await?;
        }
        run.proof(
            ended >= times * 5,
            format!("{ended} connections ended by the server"),
        );
        Ok(())
    })
    .await
}

/// A lock on a core table held for longer than anybody waits for it.
pub async fn lock(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let times = run_options.pick(3, 1);
    let held = Duration::from_secs(run_options.pick(20, 7));
    run_scenario(&run_options, &Setup::default(), async |run| {
        for _ in 0..times {
            run.flows(50).await?;
            run.strike();
            let mut holder = run.environment.admin().await?;
            let mut transaction = holder.begin().await?;
            sqlx::query("lock table academico.alumnos in access exclusive mode")
                .execute(&mut *transaction)
                .await?;
            let since = Instant::now();
            run.tells(&["promote"]).await?;
            let waiting = run
                .environment
                .number("select count(*) from pg_locks where not granted and relation = 'academico.alumnos'::regclass")
                .await?;
            // Staging goes on meanwhile.
            run.flows(50).await?;
            sleep(held.saturating_sub(since.elapsed())).await;
            transaction.rollback().await?;
            let given_up = run.logged("canceling statement due to lock timeout")?;
            run.proof(
                waiting > 0 || given_up > 0,
                format!("{waiting} waited for the lock, {given_up} gave up waiting"),
            );
            run.healed().await?;
        }
        Ok(())
    })
    .await
}

/// No space left where staging's partitions of today lie.
pub async fn full(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let setup = Setup {
        own_servers: true,
        ..Setup::default()
    };
    let mut small = match SmallDisk::mount() {
        Ok(small) => small,
        Err(why) => {
            return Ok(Outcome {
                skipped: Some(format!("needs the right to mount a file system: {why:#}")),
                ..Outcome::default()
            });
        }
    };
    let times = run_options.pick(3, 1);
    let outcome = run_scenario(&run_options, &setup, async |run| {
        move_staging(run, &small.folder).await?;
        for _ in 0..times {
            run.flows(50).await?;
            run.strike();
            let state = fill(run).await?;
            let reason = run.tells(&["ingest"]).await?;
            run.proof(
                state == "53100" && reason.contains("No space left on device"),
                format!("SQLSTATE {state}; /readyz: {reason}"),
            );
            sleep(Duration::from_secs(run_options.pick(20, 1))).await;
            run.environment.execute("drop table public.filler").await?;
            run.healed().await?;
        }
        Ok(())
    })
    .await;
    small.unmount();
    outcome
}

/// Puts today's staging partitions on the small disk.
async fn move_staging(run: &ScenarioRun, folder: &str) -> anyhow::Result<()> {
    let mut admin = run.environment.admin().await?;
    let statement = format!("create tablespace small location '{folder}'");
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut admin)
        .await?;
    sqlx::query("set lock_timeout = '20s'")
        .execute(&mut admin)
        .await?;
    let partitions: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c where c.relnamespace = 'stg'::regnamespace \
         and c.relkind in ('r', 'i') and c.relname like '%' || to_char(current_date, 'YYYYMMDD') || '%'",
    )
    .fetch_all(&mut admin)
    .await?;
    anyhow::ensure!(partitions.len() > 6, "no partitions of today");
    for name in partitions {
        let kind = if name.contains("_pkey") {
            "index"
        } else {
            "table"
        };
        let statement = format!("alter {kind} {name} set tablespace small");
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut admin)
            .await?;
    }
    Ok(())
}

/// Fills the small disk up; returns the SQLSTATE that says it is full.
async fn fill(run: &ScenarioRun) -> anyhow::Result<String> {
    let mut admin = run.environment.admin().await?;
    sqlx::raw_sql(
        "create table public.filler (bytes text) tablespace small; \
         alter table public.filler alter column bytes set storage external",
    )
    .execute(&mut admin)
    .await?;
    // Large pieces, then small ones for the space between them.
    let mut state = String::new();
    for (bytes, rows) in [(100_000, 10_000), (1000, 100_000)] {
        for _ in 0..rows {
            let statement = format!(
                "insert into public.filler select repeat('x', {bytes}) from generate_series(1, 10)"
            );
            match sqlx::query(AssertSqlSafe(statement))
                .execute(&mut admin)
                .await
            {
                Ok(_) => {}
                Err(sqlx::Error::Database(error)) => {
                    state = error.code().context("a code")?.into_owned();
                    break;
                }
                Err(error) => bail!(error),
            }
        }
    }
    Ok(state)
}

/// A file system of a few megabytes in memory.
struct SmallDisk {
    folder: String,
    mounted: bool,
}

impl SmallDisk {
    fn mount() -> anyhow::Result<Self> {
        let folder = format!("/tmp/acequia-small-{}", uuid::Uuid::now_v7().simple());
        std::fs::create_dir(&folder)?;
        let small = Self {
            folder,
            mounted: true,
        };
        let size = [
            "-t",
            "tmpfs",
            "-o",
            "size=48m,mode=0777",
            "tmpfs",
            &small.folder,
        ];
        run("mount", &size)?;
        run("chown", &["postgres", &small.folder])?;
        Ok(small)
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.mounted) {
            let _ = run("umount", &["--lazy", &self.folder]);
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.unmount();
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program}: {}", words.trim());
    Ok(())
}
