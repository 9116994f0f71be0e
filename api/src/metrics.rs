//! Metrics of the API, as /metrics shows them.

use std::collections::HashMap;
use std::time::Duration;

use acequia_telemetry::metrics::{Process, Registrar, page};
use prometheus::{
    GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result,
};

use crate::problem::Code;

/// Bucket limits in seconds; the largest ones are for calls that wait for an outcome.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Classes of answers.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// Label `route` for files of the console and unknown paths.
const NO_ROUTE: &str = "(none)";
/// Label `method` for methods that no route has.
const OTHER_METHOD: &str = "(other)";

/// Bulk actions that have not ended.
#[derive(Debug, Clone, Copy)]
pub struct Unfinished {
    /// Operations that no process has begun.
    pub queued: f64,
    /// Operations that a process has begun.
    pub running: f64,
    /// Time for which none of them has made progress.
    pub silence: Duration,
}

/// Method and path of a route.
pub type Route = (String, String);

/// Counters of the calls of a method and a route.
#[derive(Debug)]
struct Calls {
    /// In the order of [`CLASSES`].
    answers: [IntCounter; CLASSES.len()],
    seconds: Histogram,
}

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    process: Process,
    /// By path, then by method.
    calls: HashMap<String, HashMap<String, Calls>>,
    others: Calls,
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
    database_most: IntGaugeVec,
    operations: GaugeVec,
    silence: GaugeVec,
}

impl Metrics {
    /// Registers everything; `routes` are those of the OpenAPI document. Each series is there from the start: a counter that
    /// is born with its first event has no increase.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Result<Self> {
        let registry = Registry::new();
        let make = Registrar::new(&registry);
        let answers = make.counters(
            "acequia_api_calls_total",
            "Answered calls, by method, route and class of the status.",
            &["method", "route", "status"],
        )?;
        let seconds = make.histograms(
            "acequia_api_call_duration_seconds",
            "From the head of a call until its answer begins.",
            &["method", "route"],
            BUCKETS,
        )?;
        let of = |method: &str, route: &str| Calls {
            answers: CLASSES.map(|class| answers.with_label_values(&[method, route, class])),
            seconds: seconds.with_label_values(&[method, route]),
        };
        let mut calls: HashMap<String, HashMap<String, Calls>> = HashMap::new();
        let outside = ["/openapi.json", NO_ROUTE].map(|path| ("GET".to_owned(), path.to_owned()));
        for (method, path) in routes.into_iter().chain(outside) {
            let made = of(&method, &path);
            calls.entry(path).or_default().insert(method, made);
        }
        let metrics = Self {
            process: Process::new(&registry, "api", env!("CARGO_PKG_VERSION"))?,
            calls,
            others: of(OTHER_METHOD, NO_ROUTE),
            problems: make.counters(
                "acequia_api_problems_total",
                "Calls answered by a problem, by its code.",
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
                "Connections to PostgreSQL that calls use, by login.",
                &["login"],
            )?,
            database_most: make.int_gauges(
                "acequia_api_database_connections_max",
                "Connections to PostgreSQL that calls may use, by login.",
                &["login"],
            )?,
            operations: make.gauges(
                "acequia_api_operations",
                "Bulk actions that have not ended, by state.",
                &["state"],
            )?,
            silence: make.gauges(
                "acequia_api_operations_silence_seconds",
                "How long no bulk action on quarantine, or none on archives, has made progress although there are some that have not ended.",
                &[],
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

    /// Counts an answered call; `code` is the error code of the answer, if it is a problem.
    pub fn answered(
        &self,
        method: &str,
        route: Option<&str>,
        status: u16,
        code: Option<Code>,
        took: Duration,
    ) {
        // The answer of HEAD is that of GET without its body.
        let method = if method == "HEAD" { "GET" } else { method };
        let route = route.unwrap_or(NO_ROUTE);
        let known = self.calls.get(route).and_then(|of| of.get(method));
        let calls = known.unwrap_or(&self.others);
        let class = usize::from(status / 100).saturating_sub(2);
        calls.answers[class.min(CLASSES.len() - 1)].inc();
        calls.seconds.observe(took.as_secs_f64());
        if let Some(code) = code {
            self.problems.with_label_values(&[code.as_str()]).inc();
        }
    }

    /// Notes connections of a login: in use, and the limit.
    pub fn database(&self, login: &str, (used, most): (usize, usize)) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (gauges, count) in [(&self.database, used), (&self.database_most, most)] {
            gauges.with_label_values(&[login]).set(number(count));
        }
    }

    /// Notes the bulk actions that have not ended. If they could not be read, the metrics have no value instead of an old one.
    pub fn operations(&self, read: Option<&Unfinished>) {
        let Some(read) = read else {
            self.operations.reset();
            self.silence.reset();
            return;
        };
        for (state, count) in [("queued", read.queued), ("running", read.running)] {
            self.operations.with_label_values(&[state]).set(count);
        }
        let none: [&str; 0] = [];
        self.silence
            .with_label_values(&none)
            .set(read.silence.as_secs_f64());
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
