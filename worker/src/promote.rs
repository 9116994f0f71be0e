//! The promote loop: from staging to the core, one transaction of merge functions at a time.

use std::time::Instant;

use acequia_contracts::Domain;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tracing::warn;

use crate::run::Shared;
use crate::worker_loop::{Step, Work};

/// What a promotion did for one entity.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Promoted {
    /// Entity.
    pub entity: String,
    /// New core rows.
    pub inserted: i64,
    /// Changed core rows.
    pub updated: i64,
    /// Newer versions with the same values.
    pub unchanged: i64,
    /// Superseded versions.
    pub stale: i64,
    /// Change in the number of rows that wait for a parent.
    pub pending: i64,
    /// Batches in the promotion.
    pub batches: i32,
    /// Publish time of the oldest message in it.
    pub oldest_published_at: Option<DateTime<Utc>>,
}

impl Promoted {
    /// Rows that are done: all but those that wait for a parent.
    #[must_use]
    pub const fn rows(&self) -> i64 {
        self.inserted + self.updated + self.unchanged + self.stale
    }
}

/// Merges the oldest staged batches of a domain, up to about `max_rows` rows.
///
/// # Errors
/// Whatever PostgreSQL answers; nothing is promoted then.
pub async fn promote(
    connection: &mut PgConnection,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<Vec<Promoted>> {
    sqlx::query_as("select * from core.promote($1, $2)")
        .bind(domain)
        .bind(max_rows)
        .fetch_all(connection)
        .await
}

/// What makes promotion fast where it is not.
pub const SLOW_REMEDY: &str =
    "as superuser: grant set on parameter session_replication_role to acequia_worker";

/// Lets the triggers of `core.guard_references` check the foreign keys, all rows of a statement at
/// once, in place of PostgreSQL's own, which go row by row. `false` when the role may not do so.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn check_references_per_statement(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select case when has_parameter_privilege('session_replication_role', 'set') \
         then set_config('session_replication_role', 'replica', false) = 'replica' else false end",
    )
    .fetch_one(connection)
    .await
}

/// The promote loop.
pub struct Promote;

impl Work for Promote {
    const NAME: &'static str = "promote";

    async fn prepare(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if !check_references_per_statement(connection).await? {
            warn!(
                event = "promote.slow",
                remedy = SLOW_REMEDY,
                "foreign keys are checked row by row, which halves the speed of promotion"
            );
        }
        Ok(())
    }

    async fn step(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        shared: &Shared,
    ) -> sqlx::Result<Step> {
        let begun = Instant::now();
        let promoted = promote(connection, domain.name, shared.settings.promote_max).await?;
        if promoted.is_empty() {
            return Ok(Step::Idle(shared.settings.poll_every));
        }
        shared
            .metrics
            .promotion
            .promoted(domain.name, &promoted, begun.elapsed());
        Ok(Step::Again)
    }
}
