//! Observations of the queues by their lanes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Notify;

/// Time between two looks of a lane, and between two entries in the database.
pub const EVERY: Duration = Duration::from_secs(5);

/// An observation of a queue by a lane that consumes it.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// When the consumer began.
    pub since: Instant,
    /// When the broker was asked.
    pub asked: Instant,
    /// Messages ready in the queue.
    pub ready: u32,
    /// Consumers of the queue.
    pub consumers: u32,
    /// Messages that this consumer was given since it began.
    pub arrived: u64,
    /// Arrival of the oldest of them that is not acknowledged.
    pub held_since: Option<Instant>,
}

/// Domain of a queue, if it has one, and the last look at it.
type Seen = (Option<&'static str>, Option<Look>);

/// The last observation of each lane of the process.
#[derive(Debug)]
pub struct Looks {
    lanes: Mutex<BTreeMap<String, Seen>>,
    /// A lane looks for the first time: worth an entry at once.
    first: Notify,
}

impl Looks {
    /// Lanes by their queues, each with its domain if it has one. None has looked yet.
    #[must_use]
    pub fn new(queues: impl IntoIterator<Item = (String, Option<&'static str>)>) -> Self {
        let queues = queues.into_iter();
        let lanes = queues.map(|(queue, domain)| (queue, (domain, None)));
        Self {
            lanes: Mutex::new(lanes.collect()),
            first: Notify::new(),
        }
    }

    /// A lane has looked.
    pub fn seen(&self, queue: &str, look: Look) {
        if self.set(queue, Some(look)).is_none() {
            self.first.notify_one();
        }
    }

    /// A lane has lost its consumer.
    pub fn lost(&self, queue: &str) {
        self.set(queue, None);
    }

    /// Returns when a lane has looked for the first time since it began to consume.
    pub async fn first(&self) {
        self.first.notified().await;
    }

    fn set(&self, queue: &str, look: Option<Look>) -> Option<Look> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, kept) = lanes.get_mut(queue)?;
        std::mem::replace(kept, look)
    }

    /// As `core.note_looks` takes it: times in seconds from an instant on.
    #[must_use]
    pub fn since(&self, mark: Instant) -> Value {
        let seconds = |at: Instant| match at.checked_duration_since(mark) {
            Some(later) => later.as_secs_f64(),
            None => -mark.duration_since(at).as_secs_f64(),
        };
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = lanes.iter().map(|(queue, (domain, look))| match look {
            None => json!({ "queue": queue, "domain": domain }),
            Some(look) => json!({
                "queue": queue,
                "domain": domain,
                "since": seconds(look.since),
                "asked": seconds(look.asked),
                "ready": look.ready,
                "consumers": look.consumers,
                "arrived": look.arrived,
                "held": look.held_since.map(seconds),
            }),
        });
        looks.collect()
    }
}
