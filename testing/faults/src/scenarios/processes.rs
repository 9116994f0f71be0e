//! Faults of the worker process.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::trial;
use crate::report::Outcome;
use crate::setup::{Game, Setup};

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Killed again and again, each time at another moment.
pub async fn kill(game: Game) -> anyhow::Result<Outcome> {
    let setup = Setup {
        options: vec!["--batch-max", "50"],
        rate: 400.0,
        ..Setup::default()
    };
    let kills = game.pick(50, 4);
    trial(&game, &setup, async |trial| {
        let mut dice = ChaCha8Rng::seed_from_u64(game.seed);
        for _ in 0..kills {
            sleep(Duration::from_millis(dice.random_range(0..500))).await;
            trial.strike();
            trial.fleet.members[0].signal("KILL")?;
            trial.healed().await?;
        }
        let died = trial.fleet.ended_by(SIGKILL);
        trial.proof(
            died == kills,
            format!("{died} processes ended by signal 9, {kills} were sent"),
        );
        Ok(())
    })
    .await
}

/// Stopped and continued; the broker takes a worker that is silent for long for dead.
pub async fn stop(game: Game) -> anyhow::Result<Outcome> {
    let times = game.pick(2, 1);
    let pause = Duration::from_secs(game.pick(60, 6));
    trial(&game, &Setup::default(), async |trial| {
        for _ in 0..times {
            trial.flows(100).await?;
            trial.strike();
            let pid = trial.fleet.members[0].pid()?;
            trial.fleet.members[0].signal("STOP")?;
            trial.falls_silent().await?;
            sleep(pause).await;
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let stopped = state
                .rsplit(") ")
                .next()
                .unwrap_or_default()
                .starts_with('T');
            trial.proof(
                stopped,
                format!("the process is in state T after {} s", pause.as_secs()),
            );
            trial.fleet.members[0].signal("CONT")?;
            trial.healed().await?;
        }
        let ended = trial.fleet.exits().len();
        trial.demand(ended == 0, "the worker went on as the same process");
        Ok(())
    })
    .await
}

/// The moment in which a message is in the database and still in the queue.
pub async fn after_commit(game: Game) -> anyhow::Result<Outcome> {
    let setup = Setup {
        options: vec!["--batch-max", "50"],
        failpoint: Some("after_commit:5".to_owned()),
        begin_ready: false,
        ..Setup::default()
    };
    let crashes = game.pick(30, 5);
    trial(&game, &setup, async |trial| {
        let begun = std::time::Instant::now();
        let mut struck = false;
        while trial.fleet.ended_by(SIGABRT) < crashes && begun.elapsed() < Duration::from_secs(300)
        {
            if !struck && trial.fleet.ended_by(SIGABRT) > 0 {
                trial.strike();
                struck = true;
            }
            sleep(Duration::from_millis(20)).await;
        }
        trial.fleet.members[0].failpoint(None);
        // The last one that has it dies of it.
        let last = trial.fleet.ended_by(SIGABRT);
        if trial.fleet.members[0].pid().is_ok() {
            trial.flows(1).await.ok();
        }
        trial.healed().await?;
        let died = trial.fleet.ended_by(SIGABRT);
        trial.injected(died);
        trial.proof(
            died >= crashes && died <= last + 1,
            format!("{died} processes ended by signal 6 between commit and acknowledgement"),
        );
        let copies = trial.redelivered().await?;
        trial.proof(
            copies >= i64::try_from(died)?,
            format!(
                "{copies} messages delivered again and recognised, at least one for each crash"
            ),
        );
        Ok(())
    })
    .await
}
