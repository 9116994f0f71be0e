//! Places of the messages of each entity: every message in exactly one place.

use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

/// The messages of an entity. `received = duplicates + staged + promoted + stale + pending + quarantined + written_off`.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Account {
    /// Domain.
    pub domain: String,
    /// Entity; (unknown) when it could not be determined.
    pub entity: String,
    /// Messages taken from the queue.
    pub received: i64,
    /// Messages seen before.
    pub duplicates: i64,
    /// Rows that wait for promotion.
    pub staged: i64,
    /// Rows merged: inserted, updated, unchanged or deleted.
    pub promoted: i64,
    /// Rows that made a new row of the domain table.
    pub inserted: i64,
    /// Rows that changed one.
    pub updated: i64,
    /// Newer versions with the same values.
    pub unchanged: i64,
    /// Rows that deleted their key (`_op: delete`).
    pub deleted: i64,
    /// Rows superseded by a newer version.
    pub stale: i64,
    /// Rows that wait for the row they refer to.
    pub pending: i64,
    /// Messages put in quarantine.
    pub quarantined: i64,
    /// Rows that were removed before their promotion and given up by an operator.
    pub written_off: i64,
    /// Messages that are not accounted for: always 0.
    pub unaccounted: i64,
}

/// The accounts of domains, of all when `None`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    domains: Option<&[String]>,
) -> sqlx::Result<Vec<Account>> {
    sqlx::query_as(
        "select c.* from core.conservation c
         where $1::text[] is null or c.domain = any ($1) order by c.domain, c.entity",
    )
    .bind(domains)
    .fetch_all(connection)
    .await
}
