//! The check loop: data quality rules, each result kept.

use acequia_contracts::Domain;
use acequia_store::quality;
use sqlx::PgConnection;

use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// While another worker runs the rules, the loop looks this many times in the usual interval.
const LOOKS: u32 = 10;

/// The check loop.
pub struct Check;

impl PeriodicTask for Check {
    const NAME: &'static str = "check";
    const SHORT: bool = false;

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let every = context.settings.check_every;
        let rule_max = context.settings.rules.rule_max;
        let checked = quality::check_when_due(connection, domain.name, every, rule_max).await?;
        if let Some(results) = checked {
            context.metrics.quality.checked(domain.name, &results);
            return Ok(Poll::Idle(every));
        }
        // Another worker did it, or is at it.
        let due_in = quality::due_in(connection, domain.name, every).await?;
        Ok(Poll::Idle(due_in.max(every / LOOKS)))
    }
}
