//! The ticks loop: calls the functions of a domain that are due by the clock (ADR 63).
//!
//! The state is in the database, so that any number of workers calls each function once in its interval. The loop sleeps until
//! the next one is due. A tick that fails is no failure of the loop.

use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use acequia_store::ticks::{self, Outcome};
use sqlx::PgConnection;

use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// Longest time between two looks at the registry, changes of which are announced.
const REGISTRY_EVERY: Duration = Duration::from_secs(60);
/// Pause while another worker runs what is due.
const BUSY: Duration = Duration::from_secs(1);
/// Added to a pause, so that the tick is due when a timer ends a little early.
const EARLY: Duration = Duration::from_millis(2);

/// The ticks loop.
#[derive(Debug)]
pub struct Ticks;

impl PeriodicTask for Ticks {
    const NAME: &'static str = "ticks";

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        match ticks::due_in(connection, domain.name).await? {
            None => return Ok(Poll::Idle(REGISTRY_EVERY)),
            Some(due_in) if !due_in.is_zero() => {
                return Ok(Poll::Idle(due_in.saturating_add(EARLY).min(REGISTRY_EVERY)));
            }
            Some(_) => {}
        }
        let begun = Instant::now();
        let Some(call) = ticks::call_next(connection, domain.name).await? else {
            return Ok(Poll::Idle(BUSY));
        };
        if matches!(call.outcome, Outcome::Done(changed) if changed > 0) {
            context.wakes.wake("ticked", domain.name);
        }
        context.metrics.ticks.called(&call, begun.elapsed());
        Ok(Poll::Again)
    }
}
