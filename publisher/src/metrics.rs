//! Metrics of a long run, defined in
//! `prometheus/metrics.yml`. The counts are those of the summary, so the two cannot disagree.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acequia_contracts::catalog;
use acequia_telemetry::metrics::{CONTENT_TYPE, Process, Registrar};
use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};
use tokio::net::TcpListener;

use crate::loss::Loss;
use crate::summary::Summary;

/// Domain or entity that the catalog does not know: such a name may be anything.
const UNKNOWN: &str = "(unknown)";

/// Seconds until a confirm.
const CONFIRM: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    process: Process,
    messages: IntCounterVec,
    bytes: IntCounter,
    refusals: IntCounterVec,
    retries: IntCounter,
    bad_lines: IntCounter,
    confirm_seconds: Histogram,
    unconfirmed: IntGauge,
    connected: IntGauge,
    blocked: IntGauge,
    attempts: IntCounterVec,
    disconnects: IntCounterVec,
}

impl Metrics {
    /// Registers everything and creates every series.
    ///
    /// # Errors
    /// When a metric is registered twice.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let registrar = Registrar::new(&registry);
        let metrics = Self {
            process: Process::new(&registry, "publisher", env!("CARGO_PKG_VERSION"))?,
            messages: registrar.counters(
                "acequia_publisher_messages_total",
                "Messages by what became of them in the end.",
                &["domain", "entity", "outcome"],
            )?,
            bytes: registrar.counter(
                "acequia_publisher_bytes_total",
                "Body bytes of the confirmed messages.",
            )?,
            refusals: registrar.counters(
                "acequia_publisher_refusals_total",
                "Publishes that came back because no queue takes them (returned) or that the broker refused (nacked).",
                &["reason"],
            )?,
            retries: registrar.counter(
                "acequia_publisher_retries_total",
                "Publishes beyond the first of a message.",
            )?,
            bad_lines: registrar.counter(
                "acequia_publisher_bad_lines_total",
                "Lines of the input that cannot be sent.",
            )?,
            confirm_seconds: registrar.histogram(
                "acequia_publisher_confirm_duration_seconds",
                "From a publish to its confirm.",
                CONFIRM,
            )?,
            unconfirmed: registrar.int_gauge(
                "acequia_publisher_unconfirmed_messages",
                "Publishes that wait for their confirm.",
            )?,
            connected: registrar.int_gauge(
                "acequia_publisher_connection_up",
                "1 while the publisher is connected.",
            )?,
            blocked: registrar.int_gauge(
                "acequia_publisher_blocked",
                "1 while the broker takes no messages.",
            )?,
            attempts: registrar.counters(
                "acequia_publisher_connection_attempts_total",
                "Attempts to connect to the broker.",
                &["outcome"],
            )?,
            disconnects: registrar.counters(
                "acequia_publisher_disconnects_total",
                "Lost connections and channels, by reason.",
                &["reason"],
            )?,
            registry,
        };
        metrics.create_series();
        Ok(metrics)
    }

    fn create_series(&self) {
        let known = catalog().iter().flat_map(|domain| {
            let entities = domain.entities.iter().map(|entity| entity.name);
            entities
                .chain([UNKNOWN])
                .map(|entity| (domain.name, entity))
        });
        for (domain, entity) in known.chain([(UNKNOWN, UNKNOWN)]) {
            for outcome in ["confirmed", "failed"] {
                self.messages.with_label_values(&[domain, entity, outcome]);
            }
        }
        for reason in ["returned", "nacked"] {
            self.refusals.with_label_values(&[reason]);
        }
        for outcome in ["success", "failure"] {
            self.attempts.with_label_values(&[outcome]);
        }
        for reason in Loss::REASONS {
            self.disconnects.with_label_values(&[reason]);
        }
    }

    /// Counts the difference between a summary and an earlier one of the same run.
    pub(crate) fn count(&self, now: &Summary, before: &Summary) {
        for (label, counts) in &now.entities {
            let (domain, entity) = known(label);
            let earlier = before.entities.get(label).cloned().unwrap_or_default();
            for (outcome, more) in [
                ("confirmed", counts.confirmed - earlier.confirmed),
                ("failed", counts.failed - earlier.failed),
            ] {
                self.messages
                    .with_label_values(&[domain, entity, outcome])
                    .inc_by(more);
            }
        }
        for (reason, more) in [
            ("returned", now.returned - before.returned),
            ("nacked", now.nacked - before.nacked),
        ] {
            self.refusals.with_label_values(&[reason]).inc_by(more);
        }
        self.retries.inc_by(now.retried - before.retried);
        self.bytes.inc_by(now.bytes - before.bytes);
    }

    /// How things are: publishes without an answer, whether there is a connection, whether the
    /// broker takes messages.
    pub(crate) fn look(&self, unconfirmed: usize, connected: bool, blocked: bool) {
        self.unconfirmed
            .set(i64::try_from(unconfirmed).unwrap_or(i64::MAX));
        self.connected.set(connected.into());
        self.blocked.set(blocked.into());
    }

    /// A confirm came after so long.
    pub(crate) fn confirmed(&self, after: Duration) {
        self.confirm_seconds.observe(after.as_secs_f64());
    }

    /// An attempt to connect was made.
    pub(crate) fn attempted(&self, success: bool) {
        let outcome = if success { "success" } else { "failure" };
        self.attempts.with_label_values(&[outcome]).inc();
    }

    /// A connection or channel was lost.
    pub(crate) fn lost(&self, loss: &Loss) {
        self.disconnects.with_label_values(&[loss.reason()]).inc();
    }

    /// A line of the input cannot be sent.
    pub(crate) fn bad_line(&self) {
        self.bad_lines.inc();
    }

    fn page(&self) -> prometheus::Result<String> {
        self.process.look();
        acequia_telemetry::metrics::page(&self.registry)
    }
}

/// Domain and entity of a name `<domain>.<entity>`, as far as the catalog knows them.
fn known(label: &str) -> (&'static str, &'static str) {
    let (domain, entity) = label.split_once('.').unwrap_or((label, ""));
    let Some(domain) = acequia_contracts::domain(domain) else {
        return (UNKNOWN, UNKNOWN);
    };
    let entity = domain.entities.iter().find(|known| known.name == entity);
    (domain.name, entity.map_or(UNKNOWN, |entity| entity.name))
}

/// Metrics, if they are switched on.
#[derive(Debug, Clone, Default)]
pub(crate) struct OptionalMetrics(pub(crate) Option<Arc<Metrics>>);

impl OptionalMetrics {
    pub(crate) fn with(&self, act: impl FnOnce(&Metrics)) {
        if let Some(metrics) = &self.0 {
            act(metrics);
        }
    }
}

/// Serves /metrics at an address until the runtime ends.
///
/// # Errors
/// When the address is taken.
pub(crate) async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; choose another address with --http-addr")
    })?;
    let page = async move || -> Response {
        match metrics.page() {
            Ok(page) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    };
    let router = Router::new().route("/metrics", get(page));
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_catalog_are_told() {
        let domain = &catalog()[0];
        let entity = domain.entities[0].name;
        let name = domain.name;
        assert_eq!(known(&format!("{name}.{entity}")), (name, entity));
        assert_eq!(known(&format!("{name}.x")), (name, UNKNOWN));
        assert_eq!(known(name), (name, UNKNOWN));
        assert_eq!(known("x.y"), (UNKNOWN, UNKNOWN));
    }
}
