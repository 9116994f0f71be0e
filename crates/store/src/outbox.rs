//! The outbox: messages that merges and quarantine have written in their transactions, on their way to the broker (ADR 32, 53).

use sqlx::PgConnection;
use sqlx_macros::FromRow;
use uuid::Uuid;

/// A message that waits.
#[derive(Debug, FromRow)]
pub struct Waiting {
    /// Its number: of two messages with one key, the one with the greater number is the newer.
    pub id: i64,
    /// Its id.
    pub message_id: Uuid,
    /// Exchange that it is published on.
    pub exchange: String,
    /// Routing key.
    pub routing_key: String,
    /// Body, JSON.
    pub body: String,
    /// Ordering key: messages with the same key keep their order.
    pub key: String,
    /// Times that it was refused.
    pub attempts: i32,
}

/// Seconds until a message of a domain is to be published; null when none waits.
const DUE_IN: &str = "
select case when exists (
        select from core.outbox o
        where o.domain = $1 and o.published_at is null and (o.retry_at is null or o.retry_at <= clock_timestamp())) then 0
    else (
        select extract(epoch from min(o.retry_at) - clock_timestamp())
        from core.outbox o where o.domain = $1 and o.published_at is null and o.retry_at is not null)
    end::float8";

/// Seconds until a message of a domain is to be published, 0 when one is due; `None` when none waits.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn due_in(connection: &mut PgConnection, domain: &str) -> sqlx::Result<Option<f64>> {
    sqlx::query_scalar(DUE_IN)
        .bind(domain)
        .fetch_one(connection)
        .await
}

/// Locks the domain's outbox for the transaction and returns the messages that are due, `most` at most, in order;
/// none while another worker has the lock.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn due(
    transaction: &mut PgConnection,
    domain: &str,
    most: i32,
) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as("select * from core.outbox_waiting($1, $2)")
        .bind(domain)
        .bind(most)
        .fetch_all(transaction)
        .await
}

/// Marks messages as published.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn mark_published(transaction: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("select core.outbox_published($1)")
        .bind(ids)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Marks messages as refused, each with its reason; they are tried again later.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn mark_refused(
    transaction: &mut PgConnection,
    ids: &[i64],
    reasons: &[&str],
) -> sqlx::Result<()> {
    sqlx::query("select core.outbox_refused($1, $2)")
        .bind(ids)
        .bind(reasons)
        .execute(transaction)
        .await?;
    Ok(())
}
