//! Observations of the queues, of which `core.note_looks` concludes up to when everything is staged (ADR 31).

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

/// Notes the observations of a worker, a list of queues whose times are seconds from `mark` on, a time of the
/// database's clock. Returns the time of that clock.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn note(
    connection: &mut PgConnection,
    worker: &str,
    mark: DateTime<Utc>,
    looks: Value,
) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("select core.note_looks($1, $2, $3)")
        .bind(worker)
        .bind(mark)
        .bind(looks)
        .fetch_one(connection)
        .await
}
