//! Gauges that describe the database: the same from every worker, read when Prometheus asks.

use acequia_telemetry::metric_set;

use super::ANSWER;

metric_set! {
    /// Gauges that describe the database, not the process: the same from every worker.
    pub struct DatabaseGauges {
        pub up: gauge("acequia_database_readable", "1 when the gauges that describe the database could be read."),
        pub read_seconds: gauge(
            "acequia_database_read_duration_seconds",
            "How long the last reading of the gauges that describe the database took.",
        ),
        pub pings: histogram(
            "acequia_database_ping_duration_seconds",
            "From an empty query to PostgreSQL's answer, one before each reading of the gauges that describe it.",
            ANSWER,
        ),
        pub staged_rows: gauges("acequia_staged_rows", "Rows that wait for promotion.", &["domain"]),
        pub oldest_staged: gauges(
            "acequia_oldest_staged_age_seconds",
            "Age of the oldest staged batch.",
            &["domain"],
        ),
        pub pending_rows: gauges("acequia_pending_rows", "Rows that wait for the row they refer to.", &["domain"]),
        pub quarantine_open: gauges(
            "acequia_quarantine_open_rows",
            "Messages in quarantine with status open.",
            &["domain"],
        ),
        pub unaccounted: gauges(
            "acequia_unaccounted_messages",
            "Messages that are not accounted for; must be 0.",
            &["domain"],
        ),
        pub written_off: gauges(
            "acequia_written_off_messages",
            "Messages whose rows were removed from staging before their promotion, given up by worker ledger write-off.",
            &["domain"],
        ),
        pub outbox_waiting: gauges(
            "acequia_outbox_waiting_messages",
            "Messages of the outbox that wait for the broker.",
            &["domain"],
        ),
        pub outbox_oldest: gauges(
            "acequia_outbox_oldest_age_seconds",
            "Age of the oldest message of the outbox that waits for the broker.",
            &["domain"],
        ),
        pub mart_refreshed: gauges(
            "acequia_mart_refreshed_timestamp_seconds",
            "Last refresh of the mart.",
            &["mart"],
        ),
        pub mart_data_as_of: gauges(
            "acequia_mart_data_as_of_timestamp_seconds",
            "Newest publish time of what the mart shows.",
            &["mart"],
        ),
        pub mart_complete_through: gauges(
            "acequia_mart_complete_through_timestamp_seconds",
            "Everything published until then is in the mart, except messages that it counts as missing.",
            &["mart"],
        ),
        pub mart_missing: gauges(
            "acequia_mart_missing_messages",
            "Messages that the mart lacks: they wait for a row they refer to, or are open in quarantine.",
            &["mart"],
        ),
        pub mart_staleness: gauges(
            "acequia_mart_staleness_seconds",
            "How long the mart has lacked something that has arrived; 0 when it shows everything.",
            &["mart"],
        ),
        pub mart_objective: gauges(
            "acequia_mart_objective_seconds",
            "How long the mart may lack what has arrived.",
            &["mart"],
        ),
        pub mart_gate_closed: gauges(
            "acequia_mart_gate_closed",
            "1 while a failed rule of severity error blocks the refresh of the mart.",
            &["mart"],
        ),
        pub mart_trusted: gauges(
            "acequia_mart_trusted",
            "0 while a rule of severity error fails on what the mart shows.",
            &["mart"],
        ),
        pub dq_failing: gauges(
            "acequia_dq_failing_rows",
            "Failing rows at the last run of the rule.",
            &["rule", "severity"],
        ),
        pub dq_passed: gauges("acequia_dq_passed", "1 when the rule passed at its last run.", &["rule", "severity"]),
        pub dq_last_run: gauges("acequia_dq_last_run_timestamp_seconds", "Last run of the rule.", &["rule"]),
        pub dq_rule_errors: gauges(
            "acequia_dq_rule_errors",
            "1 when the rule could not run the last time.",
            &["rule", "severity"],
        ),
        pub dq_duration: gauges(
            "acequia_dq_last_duration_seconds",
            "Duration of the last run of the rule.",
            &["rule"],
        ),
        pub archived_rows: gauges(
            "acequia_archived_rows",
            "Rows of the table that are in the object store only.",
            &["table"],
        ),
        pub archived_hot: gauges(
            "acequia_archived_hot_bytes",
            "What the archived rows took in the database, with indexes.",
            &["table"],
        ),
        pub archived_bytes: gauges(
            "acequia_archived_bytes",
            "What the archived rows take in the object store.",
            &["table"],
        ),
        pub archive_last_run: gauges(
            "acequia_archive_last_success_timestamp_seconds",
            "End of the last run of the archive schedule that ended well; 0 before the first.",
            &["domain"],
        ),
        pub archive_failed: gauges(
            "acequia_archive_failed",
            "1 while the last run that archived or restored for the domain is one that failed.",
            &["domain"],
        ),
        pub archive_late: gauges(
            "acequia_archive_late_rows",
            "Rows that came late and wait until the range that they belong to is restored.",
            &["domain"],
        ),
        pub tick_lag: gauges(
            "acequia_tick_lag_seconds",
            "How long ago the tick should have succeeded; 0 when it is on time.",
            &["tick"],
        ),
        pub tick_interval: gauges("acequia_tick_interval_seconds", "Interval between two calls of the tick.", &["tick"]),
        pub tick_failures: gauges(
            "acequia_tick_failures",
            "Calls of the tick that failed since its last success.",
            &["tick"],
        ),
    }
}

impl DatabaseGauges {
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
            &self.tick_lag,
            &self.tick_interval,
            &self.tick_failures,
        ] {
            gauge.reset();
        }
    }
}
