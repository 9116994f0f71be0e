//! Counts log lines. The log of a process is one, so these counters are, too: however many
//! registries show them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, OnceLock};

use prometheus::{IntCounter, IntCounterVec, Opts};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The counters; none when the library refuses their fixed names, which a test would notice.
static COUNTERS: LazyLock<Option<Counters>> = LazyLock::new(|| Counters::new().ok());

/// Lines that the queue in front of the log has dropped.
static QUEUE: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>> = OnceLock::new();

/// The counters of a process's log.
pub(crate) struct Counters {
    pub(crate) events: IntCounterVec,
    pub(crate) panics: IntCounter,
    pub(crate) dropped: IntCounter,
    warnings: IntCounter,
    errors: IntCounter,
}

impl Counters {
    fn new() -> prometheus::Result<Self> {
        let options = Opts::new(
            "acequia_log_events_total",
            "Warnings and errors logged, as far as the log's filter lets them through.",
        );
        let events = IntCounterVec::new(options, &["level"])?;
        Ok(Self {
            warnings: events.with_label_values(&["warn"]),
            errors: events.with_label_values(&["error"]),
            events,
            panics: IntCounter::new("acequia_panics_total", "Panics, caught or not.")?,
            dropped: IntCounter::new(
                "acequia_log_lines_dropped_total",
                "Lines of the log that could not be written.",
            )?,
        })
    }

    /// Adds the lines that the log's queue has dropped since the last call.
    pub(crate) fn look(&self) {
        /// Dropped lines that the counter holds already.
        static SEEN: AtomicU64 = AtomicU64::new(0);
        if let Some(queue) = QUEUE.get() {
            let now = queue();
            let before = SEEN.fetch_max(now, Ordering::Relaxed);
            self.dropped.inc_by(now.saturating_sub(before));
        }
    }

    pub(crate) fn of_process() -> Option<&'static Self> {
        COUNTERS.as_ref()
    }
}

/// Counts warnings and errors; a layer of the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountEvents;

impl<S: Subscriber> Layer<S> for CountEvents {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some(counters) = Counters::of_process() else {
            return;
        };
        match *event.metadata().level() {
            Level::WARN => counters.warnings.inc(),
            Level::ERROR => counters.errors.inc(),
            _ => {}
        }
    }
}

/// To be called by the process's panic hook.
pub fn panicked() {
    if let Some(counters) = Counters::of_process() {
        counters.panics.inc();
    }
}

/// A line of the log could not be written.
pub fn dropped_line() {
    if let Some(counters) = Counters::of_process() {
        counters.dropped.inc();
    }
}

/// Where to ask how many lines the queue in front of the log has dropped. The log of a process is
/// one: only the first call counts.
pub fn count_dropped_lines(queue: impl Fn() -> u64 + Send + Sync + 'static) {
    let _ = QUEUE.set(Box::new(queue));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn warnings_and_errors_are_counted_and_nothing_else() {
        let counters = Counters::of_process().unwrap();
        let counts = || (counters.warnings.get(), counters.errors.get());
        let before = counts();
        let log = tracing_subscriber::registry().with(CountEvents);
        tracing::subscriber::with_default(log, || {
            tracing::info!("one");
            tracing::warn!("two");
            tracing::error!("three");
            tracing::error!("four");
        });
        assert_eq!(counts(), (before.0 + 1, before.1 + 2));
    }
}
