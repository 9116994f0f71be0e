//! A cluster that loses a node.

use super::conclude;
use crate::cluster::Cluster;
use crate::kinds::DOMAIN;
use crate::report::Outcome;
use crate::setup::{Game, Setup};
use crate::stage::Stage;
use crate::trial::Trial;

/// The node of the queue's leader is killed and brought back; the other two go on.
pub async fn node_kill(game: Game) -> anyhow::Result<Outcome> {
    let times = game.pick(6, 1);
    let queue = format!("acequia.{DOMAIN}");
    let mut cluster = Cluster::start().await?;
    let mut stage = Stage::set(false).await?;
    stage.broker.url.clone_from(&cluster.url);
    let trial = Trial::on(stage, &game, &Setup::default()).await?;
    conclude(trial, async |trial| {
        for _ in 0..times {
            trial.flows(50).await?;
            let (leader, members) = cluster.leader(&queue).await?;
            trial.strike();
            cluster.kill_node(leader).await?;
            // Two of three are a majority: messages flow on.
            if let Err(error) = trial.flows(200).await {
                let publisher = trial.load.progress();
                let queues = cluster.queues().await?;
                return Err(error.context(format!("publisher: {publisher}; queues: {queues}")));
            }
            let (new, _) = cluster.leader(&queue).await?;
            trial.proof(
                members == 3 && new != leader,
                format!("{members} members; leader's node {leader} killed, node {new} leads, messages flow on"),
            );
            cluster.start_node(leader).await?;
            trial.healed().await?;
        }
        Ok(())
    })
    .await
}
