//! Materialized marts: refreshed when their tables have changed and pass their rules.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};

use crate::failure::describe;
use crate::quality::run_rules;

/// Outcome for a mart that needs a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// It was refreshed and has this number of rows.
    Rows(i64),
    /// Not refreshed: these rules fail on the new rows.
    Blocked(Vec<String>),
    /// Another process is at it.
    Busy,
}

/// The materialized marts of a domain that show an older core than there is, in their order, with
/// the rules that block them. While more than `backlog` rows wait for promotion, a mart is left out
/// until it has lacked something for a quarter of its objective: what it showed would be old in a
/// moment, and reading the core again and again would keep the backlog from getting smaller.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn due(
    connection: &mut PgConnection,
    domain: &str,
    backlog: Option<i32>,
) -> sqlx::Result<Vec<(String, Option<Vec<String>>)>> {
    sqlx::query_as(
        "select mart, case when not due then blocking_rules end from core.mart_status
         where domain = $1 and needs_refresh
           and ($2 is null or coalesce(behind_since, '-infinity') <= now() - objective / 4 or core.staged_rows($1) <= $2)
         order by position",
    )
    .bind(domain)
    .bind(backlog)
    .fetch_all(connection)
    .await
}

/// Checks one mart, each rule for at most `rule_max`, and refreshes it. A failure is kept in the
/// refresh log.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn refresh(
    connection: &mut PgConnection,
    mart: &str,
    rule_max: Duration,
) -> sqlx::Result<Refreshed> {
    refresh_timed(connection, mart, rule_max, &mut Duration::default()).await
}

/// Like [`refresh`]; the time that the rules took is added to `audited`, also when the refresh fails.
///
/// # Errors
/// Same as [`refresh`].
pub async fn refresh_timed(
    connection: &mut PgConnection,
    mart: &str,
    rule_max: Duration,
    audited: &mut Duration,
) -> sqlx::Result<Refreshed> {
    let started = Utc::now();
    let refreshed = audit_and_publish(connection, mart, rule_max, audited).await;
    keep_failure(connection, mart, started, refreshed).await
}

async fn keep_failure<T>(
    connection: &mut PgConnection,
    mart: &str,
    started: DateTime<Utc>,
    refreshed: sqlx::Result<T>,
) -> sqlx::Result<T> {
    if let Err(failed) = &refreshed {
        sqlx::query("select core.refresh_failed($1, $2, $3)")
            .bind(mart)
            .bind(started)
            .bind(describe(failed))
            .execute(connection)
            .await?;
    }
    refreshed
}

/// One snapshot for both: the published rows are the checked ones, whatever is promoted meanwhile.
async fn audit_and_publish(
    connection: &mut PgConnection,
    mart: &str,
    rule_max: Duration,
    audited: &mut Duration,
) -> sqlx::Result<Refreshed> {
    let begun = Instant::now();
    let mut transaction = connection
        .begin_with("begin isolation level repeatable read")
        .await?;
    let rules: Option<Vec<String>> = sqlx::query_scalar("select core.due_audit($1)")
        .bind(mart)
        .fetch_one(&mut *transaction)
        .await?;
    let Some(rules) = rules else {
        transaction.rollback().await?;
        return Ok(Refreshed::Busy);
    };
    run_rules(&mut transaction, &rules, rule_max).await?;
    let blocking: Vec<String> = sqlx::query_scalar("select core.closed_gates($1)")
        .bind(mart)
        .fetch_one(&mut *transaction)
        .await?;
    *audited += begun.elapsed();
    let refreshed = if blocking.is_empty() {
        sqlx::query_scalar("select core.refresh_mart($1)")
            .bind(mart)
            .fetch_one(&mut *transaction)
            .await
            .map(|rows: Option<i64>| rows.map_or(Refreshed::Busy, Refreshed::Rows))?
    } else {
        Refreshed::Blocked(blocking)
    };
    // Of a mart that is blocked the results are kept.
    transaction.commit().await?;
    Ok(refreshed)
}

/// The newest spans of batches that the mart does not show yet.
const BATCHES: &str = "
select b.trace_context from core.marts m
join core.batches b on b.domain = m.domain and b.state = 'promoted' and b.trace_context is not null
where m.mart = $1 and b.promoted_at > coalesce((
    select r.promoted_through from core.mart_refresh_log r where r.mart = m.mart and r.status = 'ok' order by r.id desc limit 1
), '-infinity')
order by b.promoted_at desc limit $2";

/// Trace contexts of batches that the mart does not show yet, `most` at most, the newest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn spans_not_shown(
    connection: &mut PgConnection,
    mart: &str,
    most: usize,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(BATCHES)
        .bind(mart)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
}
