//! What the parts of a worker process share.

use std::collections::HashMap;
use std::sync::Arc;

use acequia_contracts::Domain;
use acequia_net::SecretUrl;
use acequia_store::clock::Clock;
use acequia_telemetry::Traces;
use tokio::sync::Notify;

use crate::acknowledged::{Memory, Process};
use crate::config::LoopArgs;
use crate::health::Health;
use crate::look::{Looks, OBSERVE};
use crate::metrics::Metrics;

/// What the loops of a process share. They meet in the database only: waking the promote loop
/// after staging is a hint that saves a poll.
pub struct Shared {
    /// Name of the process in `core.batches`.
    pub worker: String,
    /// PostgreSQL.
    pub database: SecretUrl,
    /// RabbitMQ.
    pub broker: SecretUrl,
    /// Settings.
    pub settings: LoopArgs,
    /// Domains worked for.
    pub domains: Vec<&'static Domain>,
    /// Metrics.
    pub metrics: Metrics,
    /// State of the loops.
    pub health: Health,
    /// The time, by the database's clock.
    pub clock: Clock,
    /// What was acknowledged last.
    pub acknowledged: Memory,
    /// What the lanes see of their queues.
    pub looks: Arc<Looks>,
    /// Where spans go, when tracing is on.
    pub traces: Option<Traces>,
    /// Wakes the promote loop of a domain.
    pub staged: HashMap<&'static str, Notify>,
}

impl Shared {
    /// Tells the promote loop of a domain that rows are staged.
    pub fn wake(&self, domain: &str) {
        if let Some(notify) = self.staged.get(domain) {
            notify.notify_one();
        }
    }

    /// Returns when the loop is woken; loops that nobody wakes wait for ever.
    pub async fn woken(&self, name: &str, domain: &str) {
        if name == OBSERVE {
            return self.looks.first().await;
        }
        match self.staged.get(domain) {
            Some(notify) if name == "promote" => notify.notified().await,
            _ => std::future::pending().await,
        }
    }

    /// The process as it looks for what it acknowledged.
    #[must_use]
    pub const fn process(&self) -> Process<'_> {
        Process {
            worker: self.worker.as_str(),
            database: &self.database,
            memory: &self.acknowledged,
            metrics: &self.metrics.ingest,
        }
    }
}
