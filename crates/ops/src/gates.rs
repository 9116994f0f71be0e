//! Gates: marts that failing rules block, and openings by operators.

use std::time::Duration;

use acequia_store::interval;
use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

/// A failing rule and a mart that it concerns.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gate {
    /// Mart.
    pub mart: String,
    /// `view` or `materialized`.
    pub kind: String,
    /// `open`, `closed`, or `opened` by somebody.
    pub gate: String,
    /// The rule that fails.
    pub rule: String,
    /// `fail`, or `error` when it could not run.
    pub outcome: String,
    /// Failing rows.
    pub failing_count: Option<i64>,
    /// Keys of some of them.
    pub sample_keys: Vec<String>,
    /// Failing since.
    pub failing_since: DateTime<Utc>,
    /// Time of the last check.
    pub check_time: DateTime<Utc>,
    /// What the rule says.
    pub details: Option<String>,
    /// When somebody opened it.
    pub opened_at: Option<DateTime<Utc>>,
    /// Until when; until the result changes where there is no time.
    pub opened_until: Option<DateTime<Utc>>,
    /// Who opened it.
    pub opened_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A mart and a rule that an action was done to.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = GateAction))]
pub struct Done {
    /// Mart.
    pub mart: String,
    /// Rule.
    pub rule: String,
    /// Until when, where there is a time.
    #[sqlx(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// Insists that there are marts of these names; `None`, which means all, when there is no name.
///
/// # Errors
/// When there is no such mart, or the database does not answer.
pub async fn known(
    connection: &mut PgConnection,
    marts: &[String],
) -> anyhow::Result<Option<Vec<String>>> {
    let known: Vec<String> = sqlx::query_scalar("select mart from core.marts order by mart")
        .fetch_all(connection)
        .await
        .context("database")?;
    if let Some(unknown) = marts.iter().find(|mart| !known.contains(mart)) {
        bail!("there is no mart {unknown}; there is {}", known.join(", "));
    }
    Ok((!marts.is_empty()).then(|| marts.to_vec()))
}

/// Failing rules and the marts that they concern; of all marts when `None`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    marts: Option<&[String]>,
) -> sqlx::Result<Vec<Gate>> {
    sqlx::query_as(
        "select * from core.gates where $1::text[] is null or mart = any ($1) order by mart, rule",
    )
    .bind(marts)
    .fetch_all(connection)
    .await
}

/// Opens gates although rules fail: for a time, or until the rules give other results.
/// Without an actor the audit log names the role of the database.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn open(
    connection: &mut PgConnection,
    marts: Option<&[String]>,
    period: Option<Duration>,
    who: Option<&str>,
    reason: &str,
) -> sqlx::Result<Vec<Done>> {
    sqlx::query_as("select * from core.open_gate($1, $2, $3, $4)")
        .bind(marts)
        .bind(period.map(interval))
        .bind(who)
        .bind(reason)
        .fetch_all(connection)
        .await
}

/// Withdraws openings.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn close(
    connection: &mut PgConnection,
    marts: Option<&[String]>,
    who: Option<&str>,
    reason: &str,
) -> sqlx::Result<Vec<Done>> {
    sqlx::query_as("select * from core.close_gate($1, $2, $3)")
        .bind(marts)
        .bind(who)
        .bind(reason)
        .fetch_all(connection)
        .await
}
