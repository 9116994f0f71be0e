//! What /metrics shows.

use std::time::Duration;

use acequia_telemetry::metrics::{Maker, Process, page};
use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result,
};

use crate::problem::Code;

/// Seconds; the last ones are those of calls that wait.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    process: Process,
    calls: IntCounterVec,
    seconds: HistogramVec,
    problems: IntCounterVec,
    /// Messages that the broker confirmed.
    pub published: IntCounterVec,
    /// Messages that broke their contract.
    pub refused: IntCounterVec,
    /// Connections of callers.
    pub connections: IntGauge,
    /// Listeners of the event stream.
    pub listeners: IntGauge,
    /// Listeners that were cut off because they read too slowly.
    pub slow_listeners: IntCounter,
    /// Entries of the record of calls that could not be written.
    pub unrecorded: IntCounter,
    database: IntGaugeVec,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let make = Maker::new(&registry);
        let metrics = Self {
            process: Process::new(&registry, "api", env!("CARGO_PKG_VERSION"))?,
            calls: make.counters(
                "acequia_api_calls_total",
                "Calls, by route and status.",
                &["method", "route", "status"],
            )?,
            seconds: make.histograms(
                "acequia_api_call_duration_seconds",
                "Time until the answer began.",
                &["method", "route"],
                BUCKETS,
            )?,
            problems: make.counters(
                "acequia_api_problems_total",
                "Refused calls, by code.",
                &["code"],
            )?,
            published: make.counters(
                "acequia_api_messages_published_total",
                "Messages that came by HTTP and that the broker confirmed.",
                &["domain"],
            )?,
            refused: make.counters(
                "acequia_api_messages_refused_total",
                "Messages that came by HTTP and broke their contract.",
                &["domain"],
            )?,
            connections: make
                .int_gauge("acequia_api_connections", "Open connections of callers.")?,
            listeners: make.int_gauge("acequia_api_event_listeners", "Open event streams.")?,
            slow_listeners: make.counter(
                "acequia_api_event_listeners_dropped_total",
                "Event streams that were ended because their reader was too slow.",
            )?,
            unrecorded: make.counter(
                "acequia_api_calls_unrecorded_total",
                "Calls that could not be written to core.api_calls.",
            )?,
            database: make.int_gauges(
                "acequia_api_database_connections",
                "Connections to the database in use, and their limit.",
                &["login", "of"],
            )?,
            registry,
        };
        for code in Code::ALL {
            metrics.problems.with_label_values(&[code.as_str()]);
        }
        for domain in acequia_contracts::catalog() {
            metrics.published.with_label_values(&[domain.name]);
            metrics.refused.with_label_values(&[domain.name]);
        }
        Ok(metrics)
    }

    /// Counts an answered call; `code` is that of its problem.
    pub fn answered(
        &self,
        method: &str,
        route: &str,
        status: u16,
        code: Option<Code>,
        took: Duration,
    ) {
        self.calls
            .with_label_values(&[method, route, &status.to_string()])
            .inc();
        self.seconds
            .with_label_values(&[method, route])
            .observe(took.as_secs_f64());
        if let Some(code) = code {
            self.problems.with_label_values(&[code.as_str()]).inc();
        }
    }

    /// Notes connections of a login: in use, and the most of them.
    pub fn database(&self, login: &str, (used, most): (usize, usize)) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.database
            .with_label_values(&[login, "used"])
            .set(number(used));
        self.database
            .with_label_values(&[login, "limit"])
            .set(number(most));
    }

    /// The page.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn page(&self) -> Result<String> {
        self.process.look();
        page(&self.registry)
    }
}
