//! Faults of the network between the worker and its servers.

use std::time::Duration;

use acequia_testkit::Proxy;
use anyhow::Context as _;
use tokio::time::sleep;

use super::run_scenario;
use crate::report::Outcome;
use crate::scenario_run::ScenarioRun;
use crate::setup::{RunOptions, Setup};

/// The connection that the fault affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Broker,
    Database,
}

impl Way {
    fn proxy(self, run: &ScenarioRun) -> anyhow::Result<&Proxy> {
        let proxy = match self {
            Self::Broker => &run.broker_proxy,
            Self::Database => &run.database_proxy,
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
pub async fn broker_cut(run_options: RunOptions) -> anyhow::Result<Outcome> {
    cut(run_options, Way::Broker).await
}

/// The worker's way to the database cut.
pub async fn database_cut(run_options: RunOptions) -> anyhow::Result<Outcome> {
    cut(run_options, Way::Database).await
}

/// The broker's answers late.
pub async fn broker_latency(run_options: RunOptions) -> anyhow::Result<Outcome> {
    latency(run_options, Way::Broker).await
}

/// The database's answers late.
pub async fn database_latency(run_options: RunOptions) -> anyhow::Result<Outcome> {
    latency(run_options, Way::Database).await
}

async fn cut(run_options: RunOptions, way: Way) -> anyhow::Result<Outcome> {
    let times = run_options.pick(10, 1);
    run_scenario(&run_options, &way.setup(), async |run| {
        for _ in 0..times {
            run.flows(50).await?;
            run.strike();
            let before = way.proxy(run)?.broken();
            way.proxy(run)?.cut(true);
            run.tells(&["ingest"]).await?;
            let broken = way.proxy(run)?.broken() - before;
            way.proxy(run)?.cut(false);
            run.proof(
                broken > 0,
                format!("{broken} connections broken or refused"),
            );
            run.healed().await?;
        }
        Ok(())
    })
    .await
}

/// Slower is not broken: the worker is ready all the time.
async fn latency(run_options: RunOptions, way: Way) -> anyhow::Result<Outcome> {
    let setup = Setup {
        // A transaction has some ten questions and answers.
        stall_after: 15,
        ..way.setup()
    };
    run_scenario(&run_options, &setup, async |run| {
        run.flows(50).await?;
        run.strike();
        way.proxy(run)?.delay(Duration::from_millis(200));
        sleep(Duration::from_secs(run_options.pick(60, 6))).await;
        run.flows(50).await?;
        let ready = run.ready_all_along();
        run.demand(ready, "late answers are answers: the worker is ready");
        way.proxy(run)?.delay(Duration::ZERO);
        let delayed = way.proxy(run)?.delayed();
        run.proof(delayed > 0, format!("{delayed} answers came 200 ms late"));
        run.healed().await?;
        Ok(())
    })
    .await
}
