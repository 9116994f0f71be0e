//! Answers to calls with an Idempotency-Key: the same call gets the same answer for a day.

use sqlx::PgConnection;
use sqlx_macros::FromRow;

/// An answer that was given.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Type of the body.
    pub content_type: String,
    /// Body.
    pub body: Vec<u8>,
}

/// State of an idempotency key.
#[derive(Debug)]
pub enum Known {
    /// Nothing: the call is the first one.
    New,
    /// The same call has been answered.
    Answered(Answer),
    /// The same call is under way.
    InFlight,
    /// It came with another body.
    Other,
}

#[derive(FromRow)]
struct Row {
    mine: bool,
    same: bool,
    status: Option<i16>,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
}

// A call whose process died leaves its row without an answer: after a minute another one takes it over.
const BEGIN: &str = "
with over as (
    delete from core.api_idempotency i where i.created_at < now() - interval '1 day' and i.key_hash <> $1
), mine as (
    insert into core.api_idempotency as i (key_hash, fingerprint) values ($1, $2)
    on conflict (key_hash) do update
    set created_at = now(), fingerprint = excluded.fingerprint, status = null, content_type = null, body = null
    where i.created_at < now() - interval '1 day'
        or (i.status is null and i.fingerprint = excluded.fingerprint and i.created_at < now() - interval '1 minute')
    returning true as mine
)
select coalesce((select m.mine from mine m), false) as mine, coalesce(i.fingerprint = $2, true) as same, i.status, i.content_type, i.body
from (select 1) one left join core.api_idempotency i on i.key_hash = $1";

/// Begins a call.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn begin(
    connection: &mut PgConnection,
    key: &[u8; 32],
    fingerprint: &[u8; 32],
) -> sqlx::Result<Known> {
    let row: Row = sqlx::query_as(BEGIN)
        .bind(&key[..])
        .bind(&fingerprint[..])
        .fetch_one(connection)
        .await?;
    Ok(match row {
        Row { mine: true, .. } => Known::New,
        Row { same: false, .. } => Known::Other,
        Row {
            status: Some(status),
            content_type: Some(content_type),
            body: Some(body),
            ..
        } => Known::Answered(Answer {
            status: u16::try_from(status).unwrap_or(200),
            content_type,
            body,
        }),
        _ => Known::InFlight,
    })
}

/// Keeps the answer; without one (the call failed for a reason that may pass) the key is free again.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn end(
    connection: &mut PgConnection,
    key: &[u8; 32],
    answer: Option<&Answer>,
) -> sqlx::Result<()> {
    let Some(answer) = answer else {
        sqlx::query("delete from core.api_idempotency where key_hash = $1")
            .bind(&key[..])
            .execute(connection)
            .await?;
        return Ok(());
    };
    sqlx::query(
        "update core.api_idempotency set status = $2, content_type = $3, body = $4 where key_hash = $1",
    )
    .bind(&key[..])
    .bind(i16::try_from(answer.status).unwrap_or(200))
    .bind(&answer.content_type)
    .bind(&answer.body)
    .execute(connection)
    .await?;
    Ok(())
}
