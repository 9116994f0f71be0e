//! The caller to whom a secret belongs.

use std::time::Duration;

use acequia_store::interval;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx_macros::FromRow;

use crate::auth::{Caller, Role};

/// Result of looking up a secret.
#[derive(Debug)]
pub enum Found {
    /// It is valid.
    Valid(Caller),
    /// Its time is over.
    Expired,
    /// It belongs to no caller.
    Unknown,
}

#[derive(FromRow)]
struct Row {
    name: String,
    role: Role,
    domains: Option<Vec<String>>,
    rate: Option<i32>,
    expires_at: DateTime<Utc>,
    expired: bool,
}

// The use of a secret is noted once a minute: calls must not queue for its row.
const TOKEN: &str = "
with used as (
    update core.api_tokens t set last_used_at = now()
    where t.token_hash = $1 and t.revoked_at is null and t.expires_at > now()
      and (t.last_used_at is null or t.last_used_at < now() - interval '1 minute')
)
select t.name, t.role, t.domains, t.rate, t.expires_at, t.expires_at <= now() as expired
from core.api_tokens t where t.token_hash = $1 and t.revoked_at is null";

const SESSION: &str = "
with seen as (
    update core.api_sessions s set last_seen_at = now()
    where s.session_hash = $1 and s.expires_at > now() and s.last_seen_at > now() - $2::interval
      and s.last_seen_at < now() - interval '1 minute'
)
select p.name, p.role, p.domains, null::integer as rate, s.expires_at,
       s.expires_at <= now() or s.last_seen_at <= now() - $2::interval as expired
from core.api_sessions s join core.api_people p on p.name = s.name where s.session_hash = $1";

/// The program of a token.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn of_token(connection: &mut PgConnection, hash: &[u8; 32]) -> sqlx::Result<Found> {
    let row: Option<Row> = sqlx::query_as(TOKEN)
        .bind(&hash[..])
        .fetch_optional(connection)
        .await?;
    Ok(found(row, false))
}

/// The person of a session, which ends when it is idle for so long.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn of_session(
    connection: &mut PgConnection,
    hash: &[u8; 32],
    idle: Duration,
) -> sqlx::Result<Found> {
    let row: Option<Row> = sqlx::query_as(SESSION)
        .bind(&hash[..])
        .bind(interval(idle))
        .fetch_optional(connection)
        .await?;
    Ok(found(row, true))
}

fn found(row: Option<Row>, is_person: bool) -> Found {
    match row {
        None => Found::Unknown,
        Some(row) if row.expired => Found::Expired,
        Some(row) => Found::Valid(Caller {
            name: row.name,
            is_person,
            role: row.role,
            domains: row.domains,
            rate: row.rate.and_then(|rate| u32::try_from(rate).ok()),
            expires_at: row.expires_at,
        }),
    }
}
