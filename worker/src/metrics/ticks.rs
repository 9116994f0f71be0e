//! Metrics of ticks. How late they are is a gauge of the database.

use std::time::Duration;

use acequia_store::ticks::{Call, Outcome};
use acequia_telemetry::metric_set;
use tracing::{debug, info, warn};

use super::{WORK, positive};

metric_set! {
    /// Metrics of the ticks loop.
    pub struct Ticks {
        seconds: histograms("acequia_tick_duration_seconds", "One call of a tick.", &["tick"], WORK),
        calls: counters("acequia_tick_calls_total", "Calls of ticks, by outcome.", &["tick", "outcome"]),
        changed: counters("acequia_tick_changed_rows_total", "Rows that ticks report as changed.", &["tick"]),
    }
}

impl Ticks {
    /// Creates the series of a tick, which only the database knows.
    pub fn create(&self, tick: &str) {
        self.seconds.with_label_values(&[tick]);
        self.changed.with_label_values(&[tick]);
        for outcome in ["ok", "failed"] {
            self.calls.with_label_values(&[tick, outcome]);
        }
    }

    /// A tick was called.
    pub fn called(&self, call: &Call, took: Duration) {
        let tick = call.function.as_str();
        let duration_s = took.as_secs_f64();
        let outcome = match &call.outcome {
            &Outcome::Done(rows) => {
                if rows > 0 {
                    info!(event = "tick.done", tick, rows, duration_s, "called");
                } else {
                    debug!(tick, duration_s, "called, nothing to change");
                }
                let changed = self.changed.with_label_values(&[tick]);
                changed.inc_by(positive(rows));
                "ok"
            }
            Outcome::Failed { failures, error } => {
                warn!(
                    event = "tick.failed",
                    tick,
                    failures,
                    error,
                    duration_s,
                    "nothing of the call is left; it is tried again after 1 s to 5 minutes"
                );
                "failed"
            }
        };
        self.calls.with_label_values(&[tick, outcome]).inc();
        self.seconds.with_label_values(&[tick]).observe(duration_s);
    }
}
