//! Housekeeping: partitions for the days to come, rows whose parent never came, retention.

use std::time::Duration;

use acequia_contracts::Domain;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use tracing::info;

use crate::config::LoopArgs;
use crate::run::Shared;
use crate::worker_loop::{Step, Work};

/// Makes missing partitions; returns how many.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn ensure_partitions(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar("select core.ensure_partitions()")
        .fetch_one(connection)
        .await
}

/// Moves rows that waited too long for their parent, or for a range that was purged, to quarantine;
/// returns them per entity and code.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn expire_pending(
    connection: &mut PgConnection,
    domain: &str,
    older_than: Duration,
) -> sqlx::Result<Vec<(String, String, i64)>> {
    sqlx::query_as("select * from core.expire_pending($1, $2)")
        .bind(domain)
        .bind(interval(older_than))
        .fetch_all(connection)
        .await
}

/// Removes staged rows, quarantined messages and logs that are older than the settings say, a
/// bounded number at a time; returns what went, per table.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn retain(
    connection: &mut PgConnection,
    settings: &LoopArgs,
) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as("select * from core.retain($1, $2, $3)")
        .bind(interval(settings.staging_keep))
        .bind(interval(settings.quarantine_keep))
        .bind(interval(settings.log_keep))
        .fetch_all(connection)
        .await
}

/// A time span as PostgreSQL takes it.
#[must_use]
pub fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
        ..PgInterval::default()
    }
}

/// The housekeeping loop.
pub struct Maintain;

impl Work for Maintain {
    const NAME: &'static str = "maintain";

    async fn step(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        shared: &Shared,
    ) -> sqlx::Result<Step> {
        shared.clock.read(connection).await?;
        let time_to_live = shared.settings.orphan_ttl;
        let made = ensure_partitions(connection).await?;
        if made > 0 {
            info!(
                event = "partitions.made",
                partitions = made,
                "partitions made ahead"
            );
        }
        for (entity, code, rows) in expire_pending(connection, domain.name, time_to_live).await? {
            shared
                .metrics
                .ingest
                .expired(domain.name, &entity, &code, rows);
        }
        for (what, removed) in retain(connection, &shared.settings).await? {
            info!(
                event = "retention.removed",
                what, removed, "retention ended"
            );
        }
        // Often enough that a short time to live means what it says.
        Ok(Step::Idle((time_to_live / 10).clamp(SHORTEST, LONGEST)))
    }
}

/// Shortest and longest pause of housekeeping.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);
