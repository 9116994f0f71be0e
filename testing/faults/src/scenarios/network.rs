//! Faults of the network between the worker and its servers.

use std::time::Duration;

use acequia_testkit::Proxy;
use anyhow::Context as _;
use tokio::time::sleep;

use super::trial;
use crate::report::Outcome;
use crate::setup::{Game, Setup};
use crate::trial::Trial;

/// Which way is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Broker,
    Database,
}

impl Way {
    fn proxy(self, trial: &Trial) -> anyhow::Result<&Proxy> {
        let proxy = match self {
            Self::Broker => &trial.broker_proxy,
            Self::Database => &trial.database_proxy,
        };
        proxy.as_ref().context("a proxy")
    }

    fn setup(self) -> Setup {
        Setup {
            broker_proxy: self == Self::Broker,
            database_proxy: self == Self::Database,
            ..Setup::default()
        }
    }
}

/// The worker's way to the broker cut.
pub async fn broker_cut(game: Game) -> anyhow::Result<Outcome> {
    cut(game, Way::Broker).await
}

/// The worker's way to the database cut.
pub async fn database_cut(game: Game) -> anyhow::Result<Outcome> {
    cut(game, Way::Database).await
}

/// The broker's answers late.
pub async fn broker_latency(game: Game) -> anyhow::Result<Outcome> {
    latency(game, Way::Broker).await
}

/// The database's answers late.
pub async fn database_latency(game: Game) -> anyhow::Result<Outcome> {
    latency(game, Way::Database).await
}

async fn cut(game: Game, way: Way) -> anyhow::Result<Outcome> {
    let times = game.pick(10, 1);
    trial(&game, &way.setup(), async |trial| {
        for _ in 0..times {
            trial.flows(50).await?;
            trial.strike();
            let before = way.proxy(trial)?.broken();
            way.proxy(trial)?.cut(true);
            trial.tells(&["ingest"]).await?;
            let broken = way.proxy(trial)?.broken() - before;
            way.proxy(trial)?.cut(false);
            trial.proof(
                broken > 0,
                format!("{broken} connections broken or refused"),
            );
            trial.healed().await?;
        }
        Ok(())
    })
    .await
}

/// Slower is not broken: the worker is ready all the time.
async fn latency(game: Game, way: Way) -> anyhow::Result<Outcome> {
    let setup = Setup {
        // A transaction has some ten questions and answers.
        stall_after: 15,
        ..way.setup()
    };
    trial(&game, &setup, async |trial| {
        trial.flows(50).await?;
        trial.strike();
        way.proxy(trial)?.delay(Duration::from_millis(200));
        sleep(Duration::from_secs(game.pick(60, 6))).await;
        trial.flows(50).await?;
        let ready = trial.ready_all_along();
        trial.demand(ready, "late answers are answers: the worker is ready");
        way.proxy(trial)?.delay(Duration::ZERO);
        let delayed = way.proxy(trial)?.delayed();
        trial.proof(delayed > 0, format!("{delayed} answers came 200 ms late"));
        trial.healed().await?;
        Ok(())
    })
    .await
}
