//! A cluster that loses a node.

use super::conclude;
use crate::cluster::Cluster;
use crate::environment::TestEnv;
use crate::kinds::DOMAIN;
use crate::report::Outcome;
use crate::scenario_run::ScenarioRun;
use crate::setup::{RunOptions, Setup};

/// The node of the queue's leader is killed and brought back; the other two go on.
pub async fn node_kill(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let times = run_options.pick(6, 1);
    let queue = format!("acequia.{DOMAIN}");
    let mut cluster = Cluster::start().await?;
    let mut environment = TestEnv::set(false).await?;
    environment.broker.url.clone_from(&cluster.url);
    let run = ScenarioRun::on(environment, &run_options, &Setup::default()).await?;
    conclude(run, async |run| {
        for _ in 0..times {
            run.flows(50).await?;
            let (leader, members) = cluster.leader(&queue).await?;
            run.strike();
            cluster.kill_node(leader).await?;
            // Two of three are a majority: messages flow on.
            if let Err(error) = run.flows(200).await {
                let publisher = run.load.progress();
                let queues = cluster.queues().await?;
                return Err(error.context(format!("publisher: {publisher}; queues: {queues}")));
            }
            let (new, _) = cluster.leader(&queue).await?;
            run.proof(
                members == 3 && new != leader,
                format!("{members} members; leader's node {leader} killed, node {new} leads, messages flow on"),
            );
            cluster.start_node(leader).await?;
            run.healed().await?;
        }
        Ok(())
    })
    .await
}
