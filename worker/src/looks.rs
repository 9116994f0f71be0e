//! The observe loop: writes the lanes' observations of their queues to the database.
//!
//! Messages that wait in a queue are in no table, and those without a publish time say nothing of
//! those behind them. So each lane looks at its queue every few seconds and says what it holds, and
//! `core.note_looks` concludes, from what all workers say, up to when everything that was in the
//! queue is staged.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use acequia_contracts::Domain;
use acequia_messaging::look::EVERY;
use acequia_store::{clock, observations};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// Name of the loop.
pub const OBSERVE: &str = "observe";

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

impl PeriodicTask for Observe {
    const NAME: &'static str = OBSERVE;

    fn subject(_domain: &'static Domain) -> &'static str {
        "queues"
    }

    async fn poll(
        &self,
        connection: &mut PgConnection,
        _domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        // The clocks of workers may differ, so times are those of the database. One that is
        // reckoned from an earlier answer is never too late.
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let (time, instant) = match mark {
            Some(mark) => mark,
            None => self.keep(clock::now(connection).await?),
        };
        let looks = context.looks.since(instant);
        let now = observations::note(connection, &context.worker, time, looks)
            .await
            .inspect_err(|_| {
                *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = None;
            })?;
        self.keep(now);
        Ok(Poll::Idle(EVERY))
    }
}
