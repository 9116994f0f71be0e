//! How fresh, complete and trustworthy each mart is.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};
use sqlx_macros::FromRow;

/// A mart. All times are those of the database.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Freshness {
    /// Mart.
    pub mart: String,
    /// Its domain.
    pub domain: String,
    /// `view` or `materialized`.
    pub kind: String,
    /// `fresh`, `late`, `blocked`, `untrusted`, `unknown` or `empty`.
    pub status: String,
    /// Whether no rule of severity error fails on what it shows.
    pub trusted: Option<bool>,
    /// Publish time of the newest batch in it.
    pub data_as_of: Option<DateTime<Utc>>,
    /// Everything that was published until then, and could be promoted, is in it.
    pub complete_through: Option<DateTime<Utc>>,
    /// Messages that it lacks, however old.
    pub missing: Option<i64>,
    /// Since when.
    pub missing_since: Option<DateTime<Utc>>,
    /// Last refresh; the present for a view.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// Each of its rules has run since then.
    pub checked_at: Option<DateTime<Utc>>,
    /// How long it may lack what has arrived, in seconds.
    pub objective_s: f64,
    /// Since when it has lacked something that has arrived.
    pub behind_since: Option<DateTime<Utc>>,
    /// `open`, `closed`, `opened` or `none`.
    pub gate: String,
    /// Rules that fail on what it reads or shows.
    pub blocking_rules: Vec<String>,
    /// Last look at its queues.
    pub observed_at: Option<DateTime<Utc>>,
    /// Message that keeps `complete_through` back.
    pub held_by: Option<String>,
}

const COLUMNS: &str = "f.mart, f.domain, f.kind, f.status, f.trusted, f.data_as_of, f.complete_through, f.missing::bigint as missing,
    f.missing_since, f.refreshed_at, f.checked_at, f.objective_s, f.behind_since, f.gate, f.blocking_rules, f.observed_at,
    f.held_by::text as held_by";

/// The marts of domains, of all when `None`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    domains: Option<&[String]>,
) -> sqlx::Result<Vec<Freshness>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS} from marts.freshness f where $1::text[] is null or f.domain = any ($1)"
    )))
    .bind(domains)
    .fetch_all(connection)
    .await
}

/// One mart, if there is one of that name.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn of(connection: &mut PgConnection, mart: &str) -> sqlx::Result<Option<Freshness>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS} from marts.freshness f where f.mart = $1"
    )))
    .bind(mart)
    .fetch_optional(connection)
    .await
}
