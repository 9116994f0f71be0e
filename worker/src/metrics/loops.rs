//! Metrics of the loops and their connections.

use acequia_contracts::Domain;
use acequia_store::failure::{Failure, describe, remedy};
use acequia_telemetry::health::LoopReport;
use acequia_telemetry::metric_set;
use acequia_telemetry::metrics::Registrar;
use chrono::TimeDelta;
use prometheus::{IntGauge, Result};
use tracing::{error, warn};

use super::create_failures;
use crate::queue_consumer::QueueConsumer;

/// The loops over the database.
const LOOPS: [&str; 8] = [
    "promote",
    "check",
    "refresh",
    "maintain",
    "outbox_relay",
    "archive",
    "pauses",
    "ticks",
];
/// Users of connections to the database: loops with their own, and the pool that the others share.
const CONNECTIONS: [&str; 5] = ["ingest", "promote", "pool", "listen", "metrics"];

metric_set! {
    /// Metrics of the loops.
    pub struct Loops {
        ready: int_gauges(
            "acequia_ready",
            "1 while the loop makes progress, as /readyz says.",
            &["loop", "subject"],
        ),
        failures: counters(
            "acequia_loop_failures_total",
            "Failed steps of the loops over the database, by class of failure.",
            &["loop", "failure"],
        ),
        connections: int_gauges(
            "acequia_database_connections",
            "Connections to PostgreSQL that the process holds, by who uses them.",
            &["loop"],
        ),
        attempts: counters(
            "acequia_database_connection_attempts_total",
            "Attempts to connect to PostgreSQL, by who uses the connection.",
            &["loop", "outcome"],
        ),
        clock_ahead: gauge(
            "acequia_clock_ahead_seconds",
            "How far this machine's clock is ahead of the database's; negative when it is behind.",
        ),
    }
}

/// A connection that counts as open for as long as this lives.
#[derive(Debug)]
pub struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Loops {
    pub(super) fn new(
        registrar: &Registrar<'_>,
        domains: &[&'static Domain],
        lanes: &[QueueConsumer],
    ) -> Result<Self> {
        let metrics = Self::register(registrar)?;
        for lane in lanes {
            metrics.ready.with_label_values(&["ingest", &lane.queue]);
        }
        metrics.ready.with_label_values(&["observe", "queues"]);
        create_failures(&metrics.failures, "observe");
        for name in LOOPS {
            create_failures(&metrics.failures, name);
            for domain in domains {
                metrics.ready.with_label_values(&[name, domain.name]);
            }
        }
        for name in CONNECTIONS {
            metrics.connections.with_label_values(&[name]);
            for outcome in ["success", "failure"] {
                metrics.attempts.with_label_values(&[name, outcome]);
            }
        }
        Ok(metrics)
    }

    /// The machine's clock is so far ahead.
    pub fn clock(&self, ahead: TimeDelta) {
        self.clock_ahead.set(ahead.as_seconds_f64());
    }

    /// Sets the gauges of readiness to the reports of /readyz.
    pub fn ready(&self, reports: &[LoopReport]) {
        for report in reports {
            self.ready
                .with_label_values(&[&report.name, &report.subject])
                .set(i64::from(report.ready));
        }
    }

    /// A step of a loop over the database failed.
    pub fn failed(&self, name: &str, domain: &str, failed: &sqlx::Error) {
        let failure = Failure::of(failed);
        if failure == Failure::Broken || failure == Failure::BadData {
            error!(
                event = "loop.failed",
                loop_name = name,
                domain,
                failure = failure.as_str(),
                error = describe(failed),
                remedy = remedy(failed),
                "step failed"
            );
        } else {
            warn!(
                event = "loop.failed",
                loop_name = name,
                domain,
                failure = failure.as_str(),
                error = describe(failed),
                remedy = remedy(failed),
                "step failed"
            );
        }
        self.failures
            .with_label_values(&[name, failure.as_str()])
            .inc();
    }

    /// Counts an attempt to connect to the database; a connection with the proof that it is open.
    ///
    /// # Errors
    /// Errors of the attempt.
    pub fn connected<C>(&self, name: &str, attempt: sqlx::Result<C>) -> sqlx::Result<(C, Open)> {
        let outcome = if attempt.is_ok() {
            "success"
        } else {
            "failure"
        };
        self.attempts.with_label_values(&[name, outcome]).inc();
        let connection = attempt?;
        let open = self.connections.with_label_values(&[name]);
        open.inc();
        Ok((connection, Open(open)))
    }
}
