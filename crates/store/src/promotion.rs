//! From staging to the core.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use crate::failure::Failure;

/// Batches that one promotion takes at most, see `core.next_batches`.
const MOST_BATCHES: i32 = 1000;

/// The remedy for slow promotion.
pub const SLOW_REMEDY: &str =
    "as superuser: grant set on parameter session_replication_role to acequia_worker";

/// Result of a promotion for one entity.
#[derive(Debug, Clone, Serialize, sqlx_macros::FromRow)]
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
    /// Keys that are gone.
    pub deleted: i64,
    /// Rows that the core refused, which are in quarantine now.
    #[sqlx(default)]
    pub refused: i64,
}

impl Promoted {
    /// Rows that are done: all but those that wait for a parent.
    #[must_use]
    pub const fn rows(&self) -> i64 {
        self.inserted + self.updated + self.unchanged + self.deleted + self.stale
    }
}

/// Whether a promotion of at most `most` rows may have left some of those it found. Rows that came
/// later were announced.
#[must_use]
pub fn left_some(promoted: &[Promoted], most: i32) -> bool {
    // A row that waited and is done now counts once as done, and once less as waiting.
    let taken = promoted
        .iter()
        .map(|entity| entity.rows() + entity.pending + entity.refused);
    taken.sum::<i64>() >= most.into()
        || promoted
            .iter()
            // Released rows were taken, of which there may be more than a merge takes at once.
            .any(|entity| {
                entity.batches >= MOST_BATCHES || entity.refused > 0 || entity.pending < 0
            })
}

/// Merges all staged rows of some batches together.
const TOGETHER: &str = "select * from core.promote_domain($1, $2)";
/// Merges them in parts, down to the rows that are refused, which go to quarantine.
const IN_PARTS: &str = "select * from core.isolate($1, $2)";

/// Merges the oldest staged batches of a domain, up to about `max_rows` rows. Rows that a table of
/// the core refuses go to quarantine.
///
/// # Errors
/// Any error of PostgreSQL other than a refused row; and when more rows are refused than bad
/// data can explain (SQLSTATE AQ001): nothing is promoted then.
pub async fn promote(
    connection: &mut PgConnection,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<Vec<Promoted>> {
    match merge(connection, TOGETHER, domain, max_rows).await {
        Err(error) if Failure::of(&error) == Failure::BadData => {
            merge(connection, IN_PARTS, domain, max_rows).await
        }
        outcome => outcome,
    }
}

async fn merge(
    connection: &mut PgConnection,
    way: &'static str,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<Vec<Promoted>> {
    sqlx::query_as(way)
        .bind(domain)
        .bind(max_rows)
        .fetch_all(connection)
        .await
}

/// The batches of this transaction: it has the lock of the domain, but others may have promoted
/// while it waited for it.
const PROMOTED_NOW: &str = "
select b.batch_id, b.trace_context from core.batches b
where b.domain = $1 and b.state = 'promoted' and b.promoted_at >= now()
  and b.xmin::text::bigint = pg_current_xact_id()::text::bigint % 4294967296
order by b.batch_id";

/// Like [`promote`]; also returns the batches that were promoted, by number, with their trace contexts.
///
/// # Errors
/// Same as [`promote`].
pub async fn promote_and_list(
    connection: &mut PgConnection,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<(Vec<Promoted>, Vec<(i64, Option<String>)>)> {
    match merge_and_list(connection, TOGETHER, domain, max_rows).await {
        Err(error) if Failure::of(&error) == Failure::BadData => {
            merge_and_list(connection, IN_PARTS, domain, max_rows).await
        }
        outcome => outcome,
    }
}

/// Promotes in one way and lists the batches with their spans.
async fn merge_and_list(
    connection: &mut PgConnection,
    way: &'static str,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<(Vec<Promoted>, Vec<(i64, Option<String>)>)> {
    // Dropped after an error, it is rolled back before the next statement.
    let mut transaction = connection.begin().await?;
    let promoted = merge(&mut transaction, way, domain, max_rows).await?;
    let batches = if promoted.is_empty() {
        Vec::new()
    } else {
        sqlx::query_as(PROMOTED_NOW)
            .bind(domain)
            .fetch_all(&mut *transaction)
            .await?
    };
    transaction.commit().await?;
    Ok((promoted, batches))
}

/// Lets the triggers of `core.guard_references` check the foreign keys, all rows of a statement at
/// once, in place of PostgreSQL's own, which go row by row. `false` when the role may not do so.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn check_references_per_statement(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select case when has_parameter_privilege('session_replication_role', 'set') \
         then set_config('session_replication_role', 'replica', false) = 'replica' else false end",
    )
    .fetch_one(connection)
    .await
}

/// Rows of a domain that wait for promotion.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn staged_rows(connection: &mut PgConnection, domain: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("select core.staged_rows($1)")
        .bind(domain)
        .fetch_one(connection)
        .await
}
