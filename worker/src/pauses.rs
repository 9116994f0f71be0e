//! The pauses loop: reads which streams operators have paused, and passes it on to the lanes.
//!
//! The state is in the database. The loop reads it before the first lane starts, at each announcement, and every `POLL_EVERY`.
//! While the database is away the last known state holds.

use std::collections::HashMap;

use acequia_contracts::Domain;
use acequia_store::pauses;
use sqlx::PgConnection;
use tokio::sync::watch;
use tracing::info;

use crate::context::WorkerContext;
use crate::queue_consumer::QueueConsumer;
use crate::worker_loop::{PeriodicTask, Poll};

/// Whether the stream of each domain is paused, as far as the process knows.
#[derive(Debug)]
pub struct Pauses {
    domains: HashMap<&'static str, watch::Sender<bool>>,
    /// Dead letters are of no domain: they are always taken.
    never: watch::Sender<bool>,
}

impl Pauses {
    /// Nothing is paused yet.
    #[must_use]
    pub fn new(domains: &[&'static Domain]) -> Self {
        let state = |domain: &&'static Domain| (domain.name, watch::channel(false).0);
        Self {
            domains: domains.iter().map(state).collect(),
            never: watch::channel(false).0,
        }
    }

    /// Follows the state of a lane's domain.
    #[must_use]
    pub fn of(&self, lane: &QueueConsumer) -> watch::Receiver<bool> {
        let state = lane.domain.and_then(|domain| self.domains.get(domain.name));
        state.unwrap_or(&self.never).subscribe()
    }

    /// Sets the state of a domain; whether it has changed.
    fn set(&self, domain: &str, paused: bool) -> bool {
        let set = |state: &mut bool| std::mem::replace(state, paused) != paused;
        (self.domains.get(domain)).is_some_and(|state| state.send_if_modified(set))
    }
}

/// Applies the state in the database to a domain.
pub fn learn(context: &WorkerContext, domain: &'static Domain, paused: &[String]) {
    let paused = paused.iter().any(|name| name == domain.name);
    if context.pauses.set(domain.name, paused) {
        let event = if paused {
            "stream.paused"
        } else {
            "stream.resumed"
        };
        info!(
            event,
            domain = domain.name,
            "an operator paused or resumed the domain (worker pause, worker resume)"
        );
    }
    for lane in QueueConsumer::of(&[domain]) {
        if lane.domain.is_some() {
            (context.metrics.ingest).stream_paused(&lane.queue, paused);
        }
    }
}

/// The loop.
#[derive(Debug)]
pub struct LearnPauses;

impl PeriodicTask for LearnPauses {
    const NAME: &'static str = "pauses";

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let paused = pauses::paused(connection).await?;
        learn(context, domain, &paused);
        Ok(Poll::Idle(context.settings.poll_every))
    }
}
