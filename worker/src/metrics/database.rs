//! Gauges that describe the database: the same from every worker, read when Prometheus asks.

use acequia_telemetry::metrics::Registrar;
use prometheus::{Gauge, GaugeVec, Histogram};

use super::ANSWER;

/// Gauges that describe the database, not the process: the same from every worker.
#[derive(Debug)]
pub struct DatabaseGauges {
    /// 1 when the last reading succeeded.
    pub up: Gauge,
    /// How long it took, seconds.
    pub read_seconds: Gauge,
    /// How long it takes to answer a question that costs it nothing, seconds.
    pub pings: Histogram,
    /// Rows that wait for promotion, per domain.
    pub staged_rows: GaugeVec,
    /// Age of the oldest of them, seconds.
    pub oldest_staged: GaugeVec,
    /// Rows that wait for their parent.
    pub pending_rows: GaugeVec,
    /// Open rows of quarantine.
    pub quarantine_open: GaugeVec,
    /// Messages unaccounted for; must be 0.
    pub unaccounted: GaugeVec,
    /// Messages whose rows were removed by hand and written off by an operator.
    pub written_off: GaugeVec,
    /// Messages of the outbox that wait for the broker.
    pub outbox_waiting: GaugeVec,
    /// Age of the oldest of them, seconds.
    pub outbox_oldest: GaugeVec,
    /// Last refresh, Unix seconds, per mart.
    pub mart_refreshed: GaugeVec,
    /// Newest publish time of the rows in the mart, Unix seconds.
    pub mart_data_as_of: GaugeVec,
    /// Everything published up to then is in it, Unix seconds.
    pub mart_complete_through: GaugeVec,
    /// Messages that it lacks, however old.
    pub mart_missing: GaugeVec,
    /// How long the mart has lacked something that has arrived, seconds.
    pub mart_staleness: GaugeVec,
    /// How long it may, seconds.
    pub mart_objective: GaugeVec,
    /// 1 while a failed rule blocks the refresh of the mart.
    pub mart_gate_closed: GaugeVec,
    /// 0 while a rule fails on the rows that it shows.
    pub mart_trusted: GaugeVec,
    /// Failing rows at the last run, per rule and severity.
    pub dq_failing: GaugeVec,
    /// 1 when the rule passed at its last run.
    pub dq_passed: GaugeVec,
    /// 1 when the rule could not run the last time.
    pub dq_rule_errors: GaugeVec,
    /// Last run, Unix seconds, per rule.
    pub dq_last_run: GaugeVec,
    /// How long it took, seconds.
    pub dq_duration: GaugeVec,
    /// Rows in the archive, per table.
    pub archived_rows: GaugeVec,
    /// Their size in the database, bytes.
    pub archived_hot: GaugeVec,
    /// Their size in the object store, bytes.
    pub archived_bytes: GaugeVec,
    /// Last run of the schedule that ended well, Unix seconds, per domain.
    pub archive_last_run: GaugeVec,
    /// 1 when the last run of the archive loop failed, per domain.
    pub archive_failed: GaugeVec,
    /// Rows that wait for their range to be restored, per domain.
    pub archive_late: GaugeVec,
}

impl DatabaseGauges {
    /// Makes and registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registrar: &Registrar<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            up: registrar.gauge(
                "acequia_database_readable",
                "1 when the gauges that describe the database could be read.",
            )?,
            read_seconds: registrar.gauge(
                "acequia_database_read_duration_seconds",
                "How long the last reading of the gauges that describe the database took.",
            )?,
            pings: registrar.histogram(
                "acequia_database_ping_duration_seconds",
                "From an empty query to PostgreSQL's answer, one before each reading of the gauges that describe it.",
                ANSWER,
            )?,
            staged_rows: registrar.gauges(
                "acequia_staged_rows",
                "Rows that wait for promotion.",
                &["domain"],
            )?,
            oldest_staged: registrar.gauges(
                "acequia_oldest_staged_age_seconds",
                "Age of the oldest staged batch.",
                &["domain"],
            )?,
            pending_rows: registrar.gauges(
                "acequia_pending_rows",
                "Rows that wait for the row they refer to.",
                &["domain"],
            )?,
            quarantine_open: registrar.gauges(
                "acequia_quarantine_open_rows",
                "Messages in quarantine with status open.",
                &["domain"],
            )?,
            unaccounted: registrar.gauges(
                "acequia_unaccounted_messages",
                "Messages that are not accounted for; must be 0.",
                &["domain"],
            )?,
            written_off: registrar.gauges(
                "acequia_written_off_messages",
                "Messages whose rows were removed from staging before their promotion, given up by worker ledger write-off.",
                &["domain"],
            )?,
            outbox_waiting: registrar.gauges(
                "acequia_outbox_waiting_messages",
                "Messages of the outbox that wait for the broker.",
                &["domain"],
            )?,
            outbox_oldest: registrar.gauges(
                "acequia_outbox_oldest_age_seconds",
                "Age of the oldest message of the outbox that waits for the broker.",
                &["domain"],
            )?,
            mart_refreshed: registrar.gauges(
                "acequia_mart_refreshed_timestamp_seconds",
                "Last refresh of the mart.",
                &["mart"],
            )?,
            mart_data_as_of: registrar.gauges(
                "acequia_mart_data_as_of_timestamp_seconds",
                "Newest publish time of what the mart shows.",
                &["mart"],
            )?,
            mart_complete_through: registrar.gauges(
                "acequia_mart_complete_through_timestamp_seconds",
                "Everything that was published up to then is in the mart, but for what is missing.",
                &["mart"],
            )?,
            mart_missing: registrar.gauges(
                "acequia_mart_missing_messages",
                "Messages that the mart lacks: they wait for a row they refer to, or are open in quarantine.",
                &["mart"],
            )?,
            mart_staleness: registrar.gauges(
                "acequia_mart_staleness_seconds",
                "How long the mart has lacked something that has arrived; 0 when it shows everything.",
                &["mart"],
            )?,
            mart_objective: registrar.gauges(
                "acequia_mart_objective_seconds",
                "How long the mart may lack what has arrived.",
                &["mart"],
            )?,
            mart_gate_closed: registrar.gauges(
                "acequia_mart_gate_closed",
                "1 while a failed rule of severity error blocks the refresh of the mart.",
                &["mart"],
            )?,
            mart_trusted: registrar.gauges(
                "acequia_mart_trusted",
                "0 while a rule of severity error fails on what the mart shows.",
                &["mart"],
            )?,
            dq_failing: registrar.gauges(
                "acequia_dq_failing_rows",
                "Failing rows at the last run of the rule.",
                &["rule", "severity"],
            )?,
            dq_passed: registrar.gauges(
                "acequia_dq_passed",
                "1 when the rule passed at its last run.",
                &["rule", "severity"],
            )?,
            dq_last_run: registrar.gauges(
                "acequia_dq_last_run_timestamp_seconds",
                "Last run of the rule.",
                &["rule"],
            )?,
            dq_rule_errors: registrar.gauges(
                "acequia_dq_rule_errors",
                "1 when the rule could not run the last time.",
                &["rule", "severity"],
            )?,
            dq_duration: registrar.gauges(
                "acequia_dq_last_duration_seconds",
                "Duration of the last run of the rule.",
                &["rule"],
            )?,
            archived_rows: registrar.gauges(
                "acequia_archived_rows",
                "Rows of the table that are in the object store only.",
                &["table"],
            )?,
            archived_hot: registrar.gauges(
                "acequia_archived_hot_bytes",
                "What the archived rows took in the database, with indexes.",
                &["table"],
            )?,
            archived_bytes: registrar.gauges(
                "acequia_archived_bytes",
                "What the archived rows take in the object store.",
                &["table"],
            )?,
            archive_last_run: registrar.gauges(
                "acequia_archive_last_success_timestamp_seconds",
                "End of the last run of the archive schedule that ended well; 0 before the first.",
                &["domain"],
            )?,
            archive_failed: registrar.gauges(
                "acequia_archive_failed",
                "1 while the last run that archived or restored for the domain is one that failed.",
                &["domain"],
            )?,
            archive_late: registrar.gauges(
                "acequia_archive_late_rows",
                "Rows that came late and wait until the range that they belong to is restored.",
                &["domain"],
            )?,
        })
    }

    /// Takes all values back, so that nothing is shown that the database no longer has.
    pub fn reset(&self) {
        for gauge in [
            &self.staged_rows,
            &self.oldest_staged,
            &self.pending_rows,
            &self.quarantine_open,
            &self.unaccounted,
            &self.written_off,
            &self.outbox_waiting,
            &self.outbox_oldest,
            &self.mart_refreshed,
            &self.mart_data_as_of,
            &self.mart_complete_through,
            &self.mart_missing,
            &self.mart_staleness,
            &self.mart_objective,
            &self.dq_failing,
            &self.dq_passed,
            &self.dq_last_run,
            &self.dq_rule_errors,
            &self.dq_duration,
            &self.mart_gate_closed,
            &self.mart_trusted,
            &self.archived_rows,
            &self.archived_hot,
            &self.archived_bytes,
            &self.archive_last_run,
            &self.archive_failed,
            &self.archive_late,
        ] {
            gauge.reset();
        }
    }
}
