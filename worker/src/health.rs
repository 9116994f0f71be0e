//! Whether each loop gets on, for /readyz and /metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// The state of every loop of the process.
#[derive(Debug, Default, Clone)]
pub struct Health {
    loops: Arc<Mutex<BTreeMap<(String, String), State>>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    last_success: Option<Instant>,
    failing_since: Option<Instant>,
    error: Option<String>,
}

/// One loop's entry.
#[derive(Debug, Clone)]
pub struct LoopHealth {
    health: Health,
    key: (String, String),
}

/// What /readyz says of a loop.
#[derive(Debug, Clone, Serialize)]
pub struct LoopReport {
    /// ingest, promote, check, refresh or maintain.
    #[serde(rename = "loop")]
    pub name: String,
    /// Queue or domain it works for.
    pub subject: String,
    /// Whether it gets on.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
}

impl Health {
    /// The entry of a loop; it is not ready until its first success.
    #[must_use]
    pub fn of(&self, name: &str, subject: &str) -> LoopHealth {
        let key = (name.to_owned(), subject.to_owned());
        self.with(|loops| {
            loops.entry(key.clone()).or_default();
        });
        LoopHealth {
            health: self.clone(),
            key,
        }
    }

    /// Every loop: ready once it succeeded and while it has not been failing for `stall_after`.
    #[must_use]
    pub fn report(&self, stall_after: Duration) -> Vec<LoopReport> {
        self.with(|loops| {
            loops
                .iter()
                .map(|((name, subject), state)| {
                    let stalled = state
                        .failing_since
                        .is_some_and(|since| since.elapsed() >= stall_after);
                    let ready = state.last_success.is_some() && !stalled;
                    let reason = if ready {
                        None
                    } else {
                        Some(state.error.clone().unwrap_or_else(|| "starting".to_owned()))
                    };
                    LoopReport {
                        name: name.clone(),
                        subject: subject.clone(),
                        ready,
                        reason,
                    }
                })
                .collect()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<(String, String), State>) -> T) -> T {
        act(&mut self.loops.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LoopHealth {
    /// The loop did what it is there for, or found nothing to do.
    pub fn succeeded(&self) {
        self.health.with(|loops| {
            loops.insert(
                self.key.clone(),
                State {
                    last_success: Some(Instant::now()),
                    ..State::default()
                },
            );
        });
    }

    /// The loop could not do its work.
    pub fn failed(&self, error: String) {
        self.health.with(|loops| {
            let state = loops.entry(self.key.clone()).or_default();
            state.failing_since.get_or_insert_with(Instant::now);
            state.error = Some(error);
        });
    }
}
