//! Streams that people have paused.

use sqlx::PgConnection;

/// Domains whose messages stay in their queues.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn paused(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select domain from core.stream_pauses where resumed_at is null")
        .fetch_all(connection)
        .await
}
