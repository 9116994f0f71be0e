//! Housekeeping: partitions for the days to come, rows whose parent never came, ledger, retention.

use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use acequia_store::{clock, housekeeping};
use sqlx::PgConnection;
use tokio::sync::Mutex;
use tracing::info;

use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// The housekeeping loop.
#[derive(Debug, Default)]
pub struct Maintain {
    /// When retention is due; none before the first round.
    retain_at: Mutex<Option<Instant>>,
}

impl PeriodicTask for Maintain {
    const NAME: &'static str = "maintain";

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let time_to_live = context.settings.orphan_ttl;
        // Work that belongs to no domain is done by one loop only.
        let is_first = context
            .domains
            .first()
            .is_some_and(|first| first.name == domain.name);
        if is_first {
            context.clock.read(connection).await?;
            let made = housekeeping::ensure_partitions(connection).await?;
            if made > 0 {
                info!(
                    event = "partitions.made",
                    partitions = made,
                    "partitions made ahead"
                );
            }
        }
        for (entity, code, rows) in
            housekeeping::expire_pending(connection, domain.name, time_to_live).await?
        {
            context
                .metrics
                .ingest
                .expired(domain.name, &entity, &code, rows);
        }
        let resolved = housekeeping::resolve_copies(connection, domain.name).await?;
        if resolved > 0 {
            info!(
                event = "quarantine.resolved",
                domain = domain.name,
                rows = resolved,
                "rows of quarantine resolved: copies of them were accepted"
            );
        }
        housekeeping::settle(connection, domain.name).await?;
        // Often enough that a short time to live means what it says.
        let pause = (time_to_live / 10).clamp(SHORTEST, LONGEST);
        if !is_first {
            return Ok(Poll::Idle(pause));
        }
        let mut retain_at = self.retain_at.lock().await;
        let at = retain_at.get_or_insert_with(|| Instant::now() + RETAIN_FIRST);
        let until = at.saturating_duration_since(Instant::now());
        if !until.is_zero() {
            return Ok(Poll::Idle(pause.min(until)));
        }
        if remove_old(connection, context).await? {
            return Ok(Poll::Again);
        }
        *at = Instant::now() + LONGEST;
        Ok(Poll::Idle(pause))
    }
}

/// A round of retention; whether time was up before everything had gone.
async fn remove_old(connection: &mut PgConnection, context: &WorkerContext) -> sqlx::Result<bool> {
    let at = clock::now(connection).await?;
    let periods = context.settings.periods();
    let retained = housekeeping::retain(connection, &periods, at, RETAIN_WITHIN).await?;
    for (what, removed) in retained.removed {
        info!(
            event = "retention.removed",
            what, removed, "retention ended"
        );
    }
    Ok(retained.more)
}

/// From the start of a worker to its first retention: the messages that wait come first.
const RETAIN_FIRST: Duration = Duration::from_secs(10);
/// Time limit of retention, after which the rest of housekeeping has a turn, and the worker may stop.
const RETAIN_WITHIN: Duration = Duration::from_secs(5);
/// Shortest and longest pause of housekeeping; the longest one is also that of retention.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);
