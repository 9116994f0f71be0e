//! Metrics of mart refreshes. Freshness itself is a gauge of the database.

use std::time::Duration;

use acequia_store::failure::describe;
use acequia_telemetry::metric_set;
use tracing::{error, info};

use super::WORK;

metric_set! {
    /// Metrics of the refresh loop.
    pub struct Marts {
        seconds: histograms("acequia_refresh_duration_seconds", "One refresh of a mart.", &["mart"], WORK),
        failures: counters("acequia_refresh_failures_total", "Refreshes that failed.", &["mart"]),
    }
}

impl Marts {
    /// Creates the series of a materialized mart, which only the database knows.
    pub fn create(&self, mart: &str) {
        self.seconds.with_label_values(&[mart]);
        self.failures.with_label_values(&[mart]);
    }

    /// A mart was refreshed.
    pub fn refreshed(&self, mart: &str, rows: i64, took: Duration) {
        let duration_s = took.as_secs_f64();
        info!(
            event = "mart.refreshed",
            mart, rows, duration_s, "refreshed"
        );
        self.seconds.with_label_values(&[mart]).observe(duration_s);
    }

    /// A refresh failed.
    pub fn failed(&self, mart: &str, failed: &sqlx::Error) {
        error!(
            event = "mart.failed",
            mart,
            error = describe(failed),
            "refresh failed"
        );
        self.failures.with_label_values(&[mart]).inc();
    }
}
