//! What the lanes see of their queues, and the loop that writes it down.
//!
//! Messages that wait in a queue are in no table, and those without a publish time say nothing of
//! those behind them. So each lane looks at its queue every few seconds and says what it holds, and
//! `core.note_looks` concludes, from what all workers say, up to when everything that was in the
//! queue is staged.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::ingest::Lane;
use crate::run::Shared;
use crate::worker_loop::{Step, Work};

/// Time between two looks of a lane, and between two entries in the database.
pub const EVERY: Duration = Duration::from_secs(5);

/// A look at a queue, by a lane that consumes it.
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

/// The last look of each lane of the process.
#[derive(Debug)]
pub struct Looks {
    lanes: Mutex<BTreeMap<String, Seen>>,
    /// A lane looks for the first time: worth an entry at once.
    first: Notify,
}

impl Looks {
    /// No lane has looked yet.
    #[must_use]
    pub fn new(lanes: &[Lane]) -> Self {
        let lanes = lanes.iter().map(|lane| {
            let domain = lane.domain.map(|domain| domain.name);
            (lane.queue.clone(), (domain, None))
        });
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
    fn since(&self, mark: Instant) -> Value {
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

/// The observe loop: one for the process, whatever its domains.
#[derive(Debug, Default)]
pub struct Observe {
    /// A time of the database's clock, and an instant that is not before it.
    mark: Mutex<Option<(DateTime<Utc>, Instant)>>,
}

impl Observe {
    fn keep(&self, now: DateTime<Utc>) -> (DateTime<Utc>, Instant) {
        let mark = (now, Instant::now());
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
        mark
    }
}

impl Work for Observe {
    const NAME: &'static str = "observe";

    fn subject(_domain: &'static Domain) -> &'static str {
        "queues"
    }

    async fn step(
        &self,
        connection: &mut PgConnection,
        _domain: &'static Domain,
        shared: &Shared,
    ) -> sqlx::Result<Step> {
        // The clocks of workers may differ, so times are those of the database. One that is
        // reckoned from an earlier answer is never too late.
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let (clock, instant) = match mark {
            Some(mark) => mark,
            None => self.keep(
                sqlx::query_scalar("select clock_timestamp()")
                    .fetch_one(&mut *connection)
                    .await?,
            ),
        };
        let now = sqlx::query_scalar("select core.note_looks($1, $2, $3)")
            .bind(&shared.worker)
            .bind(clock)
            .bind(shared.looks.since(instant))
            .fetch_one(&mut *connection)
            .await
            .inspect_err(|_| {
                *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = None;
            })?;
        self.keep(now);
        Ok(Step::Idle(EVERY))
    }
}
