//! Gauges that describe the database: the same from every worker, read when Prometheus asks.

use prometheus::{Gauge, GaugeVec};

use crate::metrics::Maker;

/// Gauges that describe the database, not the process: the same from every worker.
pub struct DatabaseGauges {
    /// 1 when the last reading succeeded.
    pub up: Gauge,
    /// Rows that wait for promotion, per domain.
    pub staged_rows: GaugeVec,
    /// Age of the oldest of them, seconds.
    pub oldest_staged: GaugeVec,
    /// Rows that wait for their parent.
    pub pending_rows: GaugeVec,
    /// Open rows of quarantine.
    pub quarantine_open: GaugeVec,
    /// Messages unaccounted for; must be 0.
    pub conservation: GaugeVec,
    /// Last refresh, Unix seconds, per mart.
    pub mart_refreshed: GaugeVec,
    /// Core state that the mart shows, Unix seconds.
    pub mart_data_as_of: GaugeVec,
    /// How long the mart has lacked a change of the core, seconds.
    pub mart_behind: GaugeVec,
    /// How old the mart's data may be, seconds.
    pub mart_objective: GaugeVec,
    /// Failing rows at the last run, per rule and severity.
    pub dq_failing: GaugeVec,
    /// 1 when the rule passed at its last run.
    pub dq_passed: GaugeVec,
    /// Last run, Unix seconds, per rule.
    pub dq_last_run: GaugeVec,
}

impl DatabaseGauges {
    /// Makes and registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            up: make.register(Gauge::new(
                "acequia_database_readable",
                "1 when the gauges that describe the database could be read.",
            )?)?,
            staged_rows: make.gauge(
                "acequia_staged_rows",
                "Rows that wait for promotion.",
                &["domain"],
            )?,
            oldest_staged: make.gauge(
                "acequia_oldest_staged_age_seconds",
                "Age of the oldest staged batch.",
                &["domain"],
            )?,
            pending_rows: make.gauge(
                "acequia_pending_rows",
                "Rows that wait for the row they refer to.",
                &["domain"],
            )?,
            quarantine_open: make.gauge(
                "acequia_quarantine_open_rows",
                "Messages in quarantine with status open.",
                &["domain"],
            )?,
            conservation: make.gauge(
                "acequia_conservation_difference",
                "Messages that are not accounted for; must be 0.",
                &["domain"],
            )?,
            mart_refreshed: make.gauge(
                "acequia_mart_refreshed_timestamp_seconds",
                "Last refresh of the mart.",
                &["mart"],
            )?,
            mart_data_as_of: make.gauge(
                "acequia_mart_data_as_of_timestamp_seconds",
                "Last change of the core that the mart shows.",
                &["mart"],
            )?,
            mart_behind: make.gauge(
                "acequia_mart_behind_seconds",
                "How long the mart has lacked a change of the core; 0 when it shows everything.",
                &["mart"],
            )?,
            mart_objective: make.gauge(
                "acequia_mart_objective_seconds",
                "How old the data of the mart may be.",
                &["mart"],
            )?,
            dq_failing: make.gauge(
                "acequia_dq_failing_rows",
                "Failing rows at the last run of the rule.",
                &["rule", "severity"],
            )?,
            dq_passed: make.gauge(
                "acequia_dq_passed",
                "1 when the rule passed at its last run.",
                &["rule", "severity"],
            )?,
            dq_last_run: make.gauge(
                "acequia_dq_last_run_timestamp_seconds",
                "Last run of the rule.",
                &["rule"],
            )?,
        })
    }

    /// Takes all values back: what is gone from the database must not be shown for ever.
    pub fn reset(&self) {
        for gauge in [
            &self.staged_rows,
            &self.oldest_staged,
            &self.pending_rows,
            &self.quarantine_open,
            &self.conservation,
            &self.mart_refreshed,
            &self.mart_data_as_of,
            &self.mart_behind,
            &self.mart_objective,
            &self.dq_failing,
            &self.dq_passed,
            &self.dq_last_run,
        ] {
            gauge.reset();
        }
    }
}
