//! State that all loops of a worker process share.

use std::sync::Arc;

use acequia_contracts::Domain;
use acequia_messaging::Declarations;
use acequia_messaging::look::Looks;
use acequia_net::SecretUrl;
use acequia_store::acknowledged::Memory;
use acequia_store::clock::Clock;
use acequia_telemetry::Traces;
use acequia_telemetry::health::Health;

use crate::acknowledged::Process;
use crate::config::LoopArgs;
use crate::ingest::writers::Writers;
use crate::looks::OBSERVE;
use crate::metrics::Metrics;
use crate::pauses::Pauses;
use crate::wakes::Wakes;

/// State that the loops of a process share. Correctness needs the database only: a loop that is not woken finds its work by itself a
/// little later.
pub struct WorkerContext {
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
    /// Batches acknowledged last.
    pub acknowledged: Memory,
    /// Exchanges and queues of the process.
    pub declarations: Declarations,
    /// Observations of the queues.
    pub looks: Arc<Looks>,
    /// The destination of spans, when tracing is on.
    pub traces: Option<Traces>,
    /// The connections that lanes write by.
    pub writers: Writers,
    /// Streams that are paused.
    pub pauses: Pauses,
    /// Wakes the loops.
    pub wakes: Wakes,
}

impl WorkerContext {
    /// Returns when the loop is woken, which some never are.
    pub async fn woken(&self, name: &str, domain: &str) {
        if name == OBSERVE {
            return self.looks.first().await;
        }
        self.wakes.woken(name, domain).await;
    }

    /// The process, as the check for acknowledged batches names it.
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
