//! Faults of the worker process.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::run_scenario;
use crate::report::Outcome;
use crate::setup::{RunOptions, Setup};

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Killed again and again, each time at another moment.
pub async fn kill(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let setup = Setup {
        options: vec!["--batch-max", "50"],
        rate: 400.0,
        ..Setup::default()
    };
    let kills = run_options.pick(50, 4);
    run_scenario(&run_options, &setup, async |run| {
        let mut rng = ChaCha8Rng::seed_from_u64(run_options.seed);
        for _ in 0..kills {
            sleep(Duration::from_millis(rng.random_range(0..500))).await;
            run.strike();
            run.supervisor.members[0].signal("KILL")?;
            run.healed().await?;
        }
        let died = run.supervisor.ended_by(SIGKILL);
        run.proof(
            died == kills,
            format!("{died} processes ended by signal 9, {kills} were sent"),
        );
        Ok(())
    })
    .await
}

/// Stopped and continued; the broker takes a worker that is silent for long for dead.
pub async fn stop(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let times = run_options.pick(2, 1);
    let pause = Duration::from_secs(run_options.pick(60, 6));
    run_scenario(&run_options, &Setup::default(), async |run| {
        for _ in 0..times {
            run.flows(100).await?;
            run.strike();
            let pid = run.supervisor.members[0].pid()?;
            run.supervisor.members[0].signal("STOP")?;
            run.falls_silent().await?;
            sleep(pause).await;
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let stopped = state
                .rsplit(") ")
                .next()
                .unwrap_or_default()
                .starts_with('T');
            run.proof(
                stopped,
                format!("the process is in state T after {} s", pause.as_secs()),
            );
            run.supervisor.members[0].signal("CONT")?;
            run.healed().await?;
        }
        let ended = run.supervisor.exits().len();
        run.demand(ended == 0, "the worker went on as the same process");
        Ok(())
    })
    .await
}

/// The moment in which a message is in the database and still in the queue.
pub async fn after_commit(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let setup = Setup {
        options: vec!["--batch-max", "50"],
        failpoint: Some("after_commit:5".to_owned()),
        begin_ready: false,
        ..Setup::default()
    };
    let crashes = run_options.pick(30, 5);
    run_scenario(&run_options, &setup, async |run| {
        let begun = std::time::Instant::now();
        let mut struck = false;
        while run.supervisor.ended_by(SIGABRT) < crashes
            && begun.elapsed() < Duration::from_secs(300)
        {
            if !struck && run.supervisor.ended_by(SIGABRT) > 0 {
                run.strike();
                struck = true;
            }
            sleep(Duration::from_millis(20)).await;
        }
        run.supervisor.members[0].failpoint(None);
        // The last one that has it dies of it.
        let last = run.supervisor.ended_by(SIGABRT);
        if run.supervisor.members[0].pid().is_ok() {
            run.flows(1).await.ok();
        }
        run.healed().await?;
        let died = run.supervisor.ended_by(SIGABRT);
        run.injected(died);
        run.proof(
            died >= crashes && died <= last + 1,
            format!("{died} processes ended by signal 6 between commit and acknowledgement"),
        );
        let copies = run.redelivered().await?;
        run.proof(
            copies >= i64::try_from(died)?,
            format!(
                "{copies} messages delivered again and recognised, at least one for each crash"
            ),
        );
        Ok(())
    })
    .await
}
