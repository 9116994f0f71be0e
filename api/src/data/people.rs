//! People and their sessions.

use std::time::Duration;

use acequia_store::interval;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};
use sqlx_macros::FromRow;
use utoipa::ToSchema;

use crate::auth::Role;

/// A person.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Person {
    /// Login name.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Domains that the role is for; null: all.
    pub domains: Option<Vec<String>>,
    /// When the person was added.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
    /// When the password was set.
    pub password_at: DateTime<Utc>,
    /// Last login.
    pub last_login_at: Option<DateTime<Utc>>,
    /// Sessions that have not ended.
    pub sessions: i64,
    /// Another one for each state that an edit may be made from.
    #[serde(skip)]
    pub revision: String,
}

const COLUMNS: &str = "p.name, p.role, p.domains, p.created_at, p.created_by, p.password_at, p.last_login_at,
    (select count(*) from core.api_sessions s where s.name = p.name and s.expires_at > now()) as sessions";

/// Of a person `p`. A login does not change it.
const REVISION: &str =
    "md5(concat_ws('|', p.name, extract(epoch from p.created_at), p.role, p.domains::text,
    extract(epoch from p.password_at)))";

/// Adds a person. One of the same name is an error (SQLSTATE 23505).
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn add(
    connection: &mut PgConnection,
    name: &str,
    hash: &str,
    role: Role,
    domains: Option<&[String]>,
    by: &str,
) -> sqlx::Result<Person> {
    sqlx::query_as(AssertSqlSafe(format!(
        "insert into core.api_people as p (name, password_hash, role, domains, created_by)
         values ($1, $2, $3, $4, $5) returning {COLUMNS}, {REVISION} as revision"
    )))
    .bind(name)
    .bind(hash)
    .bind(role.as_str())
    .bind(domains)
    .bind(by)
    .fetch_one(connection)
    .await
}

/// Everybody, by name.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(connection: &mut PgConnection) -> sqlx::Result<Vec<Person>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS}, {REVISION} as revision from core.api_people p order by p.name limit 1000"
    )))
    .fetch_all(connection)
    .await
}

/// One person.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn find(connection: &mut PgConnection, name: &str) -> sqlx::Result<Option<Person>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS}, {REVISION} as revision from core.api_people p where p.name = $1"
    )))
    .bind(name)
    .fetch_optional(connection)
    .await
}

/// Sets a password and ends the person's sessions; returns whether there is such a person, of that revision if one is given.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn set_password(
    connection: &mut PgConnection,
    name: &str,
    hash: &str,
    revision: Option<&str>,
) -> sqlx::Result<bool> {
    let changed = sqlx::query(AssertSqlSafe(format!(
        "with changed as (
            update core.api_people p set password_hash = $2, password_at = now()
            where p.name = $1 and ($3::text is null or {REVISION} = $3) returning p.name
        ), ended as (
            delete from core.api_sessions s using changed c where s.name = c.name
        )
        select 1 from changed"
    )))
    .bind(name)
    .bind(hash)
    .bind(revision)
    .fetch_optional(connection)
    .await?;
    Ok(changed.is_some())
}

/// Removes a person with all sessions; returns whether there was one.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn remove(connection: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    let removed = sqlx::query("delete from core.api_people where name = $1")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(removed.rows_affected() > 0)
}

/// The password hash of a person.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn password_hash(
    connection: &mut PgConnection,
    name: &str,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select password_hash from core.api_people where name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await
}

/// Opens a session, and deletes those whose time is over; returns its end.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn open_session(
    connection: &mut PgConnection,
    name: &str,
    hash: &[u8; 32],
    lasts: Duration,
) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar(
        "with over as (
            delete from core.api_sessions s where s.expires_at < now()
        ), seen as (
            update core.api_people set last_login_at = now() where name = $1
        )
        insert into core.api_sessions (session_hash, name, expires_at) values ($2, $1, now() + $3) returning expires_at",
    )
    .bind(name)
    .bind(&hash[..])
    .bind(interval(lasts))
    .fetch_one(connection)
    .await
}

/// Ends a session.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn end_session(connection: &mut PgConnection, hash: &[u8; 32]) -> sqlx::Result<()> {
    sqlx::query("delete from core.api_sessions where session_hash = $1")
        .bind(&hash[..])
        .execute(connection)
        .await?;
    Ok(())
}
