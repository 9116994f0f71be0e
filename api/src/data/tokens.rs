//! Tokens of programs.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use utoipa::ToSchema;

use crate::auth::Role;
use crate::auth::secret::Secret;

/// A token, without its secret.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Token {
    /// Its number.
    pub token_id: i64,
    /// Name of the program; `app_id` of the messages that it sends.
    pub name: String,
    /// First characters of the token.
    pub hint: String,
    /// Role.
    pub role: Role,
    /// Domains that the role is for; null: all.
    pub domains: Option<Vec<String>>,
    /// Calls per second; null: the default of the API.
    pub rate: Option<i32>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
    /// End of its validity.
    pub expires_at: DateTime<Utc>,
    /// Last call, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// By whom.
    pub revoked_by: Option<String>,
}

/// A token that is to be made.
#[derive(Debug)]
pub struct New<'a> {
    /// Name of the program.
    pub name: &'a str,
    /// Role.
    pub role: Role,
    /// Domains; `None`: all.
    pub domains: Option<&'a [String]>,
    /// Calls per second.
    pub rate: Option<i32>,
    /// Days of validity.
    pub days: i32,
    /// Name of the person who creates it.
    pub by: &'a str,
}

const COLUMNS: &str = "token_id, name, hint, role, domains, rate, created_at, created_by, expires_at, last_used_at, revoked_at, revoked_by";

/// Makes a token. A valid one of the same name is an error (SQLSTATE 23505).
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn create(
    connection: &mut PgConnection,
    new: &New<'_>,
    secret: &Secret,
) -> sqlx::Result<Token> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "insert into core.api_tokens (name, hint, token_hash, role, domains, rate, created_by, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(days => $8)) returning {COLUMNS}"
    )))
    .bind(new.name)
    .bind(secret.hint())
    .bind(&secret.hash[..])
    .bind(new.role.as_str())
    .bind(new.domains)
    .bind(new.rate)
    .bind(new.by)
    .bind(new.days)
    .fetch_one(connection)
    .await
}

/// Every token, the newest first; with `all` those too that were revoked or have expired.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(connection: &mut PgConnection, all: bool) -> sqlx::Result<Vec<Token>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from core.api_tokens
         where $1 or (revoked_at is null and expires_at > now()) order by token_id desc limit 1000"
    )))
    .bind(all)
    .fetch_all(connection)
    .await
}

/// Revokes the valid tokens of a name, and the one of a number; returns those that were revoked.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn revoke(
    connection: &mut PgConnection,
    name: Option<&str>,
    id: Option<i64>,
    by: &str,
) -> sqlx::Result<Vec<Token>> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "update core.api_tokens set revoked_at = now(), revoked_by = $3
         where revoked_at is null and (name = $1 or token_id = $2) returning {COLUMNS}"
    )))
    .bind(name)
    .bind(id)
    .bind(by)
    .fetch_all(connection)
    .await
}
