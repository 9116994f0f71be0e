//! Metrics of the worker, defined in `prometheus/metrics.yml`. Every label value is
//! from the catalog or from a closed list, and every series exists from the start, so that rates
//! begin at zero.
//!
//! Each event is reported in one place: the method named after it counts it and writes its line of
//! the log, so that the two cannot disagree.

mod archive;
mod database;
mod ingest;
mod loops;
mod marts;
mod outbox;
mod promotion;
mod quality;
mod ticks;

use acequia_contracts::Domain;
use acequia_store::failure::Failure;
use acequia_telemetry::metrics::{Process, Registrar};
use prometheus::{IntCounterVec, Registry};

use crate::queue_consumer::QueueConsumer;

pub use archive::Archive;
pub use database::DatabaseGauges;
pub use ingest::Ingest;
pub use loops::{Loops, Open};
pub use marts::Marts;
pub use outbox::Outbox;
pub use promotion::Promotion;
pub use quality::Quality;
pub use ticks::Ticks;

/// Seconds from publishing on; 30 s is the objective and so a bucket's edge.
const LAG: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0,
    600.0, 1800.0, 3600.0,
];
/// Seconds until a server answers a question that costs it nothing.
const ANSWER: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds of work on a batch.
const WORK: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// The metrics of one process, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    process: Process,
    /// From the queue to staging.
    pub ingest: Ingest,
    /// From staging to the core.
    pub promotion: Promotion,
    /// Data quality.
    pub quality: Quality,
    /// Refreshes.
    pub marts: Marts,
    /// Messages of the outbox.
    pub outbox: Outbox,
    /// Ticks.
    pub ticks: Ticks,
    /// The life cycle of data.
    pub archive: Archive,
    /// Loops and connections.
    pub loops: Loops,
    /// State of the database, set at scrape time.
    pub database: DatabaseGauges,
}

impl Metrics {
    /// Registers everything and creates every series of the given domains.
    ///
    /// # Errors
    /// When a metric is registered twice.
    pub fn new(domains: &[&'static Domain]) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let registrar = Registrar::new(&registry);
        let lanes = QueueConsumer::of(domains);
        Ok(Self {
            process: Process::new(&registry, "worker", env!("CARGO_PKG_VERSION"))?,
            ingest: Ingest::new(&registrar, domains, &lanes)?,
            promotion: Promotion::new(&registrar, domains)?,
            quality: Quality::new(&registrar, domains)?,
            marts: Marts::register(&registrar)?,
            outbox: Outbox::new(&registrar, domains)?,
            ticks: Ticks::register(&registrar)?,
            archive: Archive::new(&registrar, domains)?,
            loops: Loops::new(&registrar, domains, &lanes)?,
            database: DatabaseGauges::register(&registrar)?,
            registry,
        })
    }

    /// The page in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn page(&self) -> prometheus::Result<String> {
        self.process.look();
        acequia_telemetry::metrics::page(&self.registry)
    }
}

/// Creates the series of every class of failure.
fn create_failures(counters: &IntCounterVec, subject: &str) {
    for failure in Failure::ALL {
        counters.with_label_values(&[subject, failure.as_str()]);
    }
}

/// A count of rows as a counter takes it.
fn positive(count: impl TryInto<u64>) -> u64 {
    count.try_into().unwrap_or(0)
}
