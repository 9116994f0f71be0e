//! Rows that the ledger has and the tables have not.

use acequia_contracts::Domain;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

/// Rows of a batch that wait by the ledger and are not in staging.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
pub struct Lost {
    /// Entity.
    pub entity: String,
    /// Batch they came in.
    pub batch_id: i64,
    /// Its queue.
    pub queue: Option<String>,
    /// Process that took it.
    pub worker: Option<String>,
    /// When it was staged.
    pub received_at: Option<DateTime<Utc>>,
    /// Rows that waited for promotion.
    pub staged: i32,
    /// Rows that waited for the row they refer to.
    pub pending: i32,
}

/// Rows of a domain that wait by the ledger and are not in staging, of all batches when `None`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn lost(
    connection: &mut PgConnection,
    domain: &Domain,
    batches: Option<&[i64]>,
) -> sqlx::Result<Vec<Lost>> {
    sqlx::query_as("select * from core.lost_rows($1, $2)")
        .bind(domain.name)
        .bind(batches)
        .fetch_all(connection)
        .await
}

/// Gives up rows that were removed from staging before their promotion, of all batches when `None`. The
/// database decides which ones are missing. Without an actor the audit log names the role of the database.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn write_off(
    connection: &mut PgConnection,
    domain: &Domain,
    batches: Option<&[i64]>,
    who: Option<&str>,
    reason: &str,
) -> sqlx::Result<Vec<Lost>> {
    sqlx::query_as("select * from core.write_off($1, $2, $3, $4)")
        .bind(domain.name)
        .bind(batches)
        .bind(who)
        .bind(reason)
        .fetch_all(connection)
        .await
}
