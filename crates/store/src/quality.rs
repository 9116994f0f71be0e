//! Data quality: runs rules, each result kept.

use std::time::Duration;

use chrono::Utc;
use serde::Serialize;
use sqlx::postgres::types::PgInterval;
use sqlx::{Connection as _, PgConnection};

use crate::failure::describe;
use crate::interval;

/// The result of one rule.
#[derive(Debug, Clone, Serialize, sqlx_macros::FromRow)]
pub struct Checked {
    /// Rule.
    pub rule: String,
    /// `warn` or `error`.
    pub severity: String,
    /// `pass`, `warn`, `fail`, or `error` when the rule could not run.
    pub outcome: String,
    /// Failing rows.
    pub failing_count: Option<i64>,
    /// Duration in milliseconds.
    pub duration_ms: f64,
}

/// Runs every rule of a domain once, each for at most `rule_max`.
///
/// # Errors
/// Any error from PostgreSQL; a rule that fails or cannot run is a result, not an error.
pub async fn check(
    connection: &mut PgConnection,
    domain: &str,
    rule_max: Duration,
) -> sqlx::Result<Vec<Checked>> {
    let mut transaction = connection.begin().await?;
    let rules: Vec<String> = sqlx::query_scalar(
        "select rule from core.dq_rules where domain = $1 and enabled order by rule",
    )
    .bind(domain)
    .fetch_all(&mut *transaction)
    .await?;
    let results = run(&mut transaction, domain, &rules, rule_max).await?;
    transaction.commit().await?;
    Ok(results)
}

/// Runs every rule of a domain, unless that was done within the last `every` or another process is at it: then
/// `None`.
///
/// # Errors
/// Same as [`check`].
pub async fn check_when_due(
    connection: &mut PgConnection,
    domain: &str,
    every: Duration,
    rule_max: Duration,
) -> sqlx::Result<Option<Vec<Checked>>> {
    let mut transaction = connection.begin().await?;
    let rules: Option<Vec<String>> = sqlx::query_scalar("select core.due_rules($1, $2)")
        .bind(domain)
        .bind(interval(every))
        .fetch_one(&mut *transaction)
        .await?;
    let Some(rules) = rules else {
        transaction.rollback().await?;
        return Ok(None);
    };
    let results = run(&mut transaction, domain, &rules, rule_max).await?;
    transaction.commit().await?;
    Ok(Some(results))
}

/// Time until the rules of a domain are due, when they run once in `every`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn due_in(
    connection: &mut PgConnection,
    domain: &str,
    every: Duration,
) -> sqlx::Result<Duration> {
    let due_in: Option<PgInterval> = sqlx::query_scalar("select core.checks_due_in($1, $2)")
        .bind(domain)
        .bind(interval(every))
        .fetch_one(connection)
        .await?;
    let due_in = due_in.map_or(0, |due_in| due_in.microseconds);
    Ok(Duration::from_micros(u64::try_from(due_in).unwrap_or(0)))
}

/// Runs rules and closes the run.
async fn run(
    transaction: &mut PgConnection,
    domain: &str,
    rules: &[String],
    rule_max: Duration,
) -> sqlx::Result<Vec<Checked>> {
    let started = Utc::now();
    let results = run_rules(transaction, rules, rule_max).await?;
    let failed = results.iter().filter(|result| result.outcome != "pass");
    let failed = i64::try_from(failed.count()).unwrap_or(i64::MAX);
    sqlx::query("select core.checks_done($1, $2, $3, $4)")
        .bind(domain)
        .bind(started)
        .bind(i64::try_from(results.len()).unwrap_or(i64::MAX))
        .bind(failed)
        .execute(transaction)
        .await?;
    Ok(results)
}

/// Runs rules inside a transaction, one statement each: the server measures the time of a
/// statement, so each rule has `rule_max` for itself, whatever those before it took.
///
/// # Errors
/// Any error from PostgreSQL; a rule that fails or cannot run is a result, not an error.
pub async fn run_rules(
    transaction: &mut PgConnection,
    rules: &[String],
    rule_max: Duration,
) -> sqlx::Result<Vec<Checked>> {
    // 0 would be no limit.
    let limit = rule_max.as_millis().max(1);
    sqlx::query("select set_config('statement_timeout', $1, true)")
        .bind(limit.to_string())
        .execute(&mut *transaction)
        .await?;
    // The function keeps the failure of a rule, so one savepoint will mostly do for all.
    let mut savepoint = transaction.begin().await?;
    let results = match run_each(&mut savepoint, rules).await {
        Ok(results) => {
            savepoint.commit().await?;
            results
        }
        Err(sqlx::Error::Database(_)) => {
            savepoint.rollback().await?;
            run_one_by_one(&mut *transaction, rules).await?
        }
        Err(error) => return Err(error),
    };
    sqlx::raw_sql("set local statement_timeout to default")
        .execute(&mut *transaction)
        .await?;
    Ok(results)
}

async fn run_each(connection: &mut PgConnection, rules: &[String]) -> sqlx::Result<Vec<Checked>> {
    let mut results = Vec::with_capacity(rules.len());
    for rule in rules {
        results.push(check_rule(connection, rule).await?);
    }
    Ok(results)
}

async fn check_rule(connection: &mut PgConnection, rule: &str) -> sqlx::Result<Checked> {
    sqlx::query_as("select * from core.check_rule($1)")
        .bind(rule)
        .fetch_one(connection)
        .await
}

/// Runs each rule alone. An error that the function cannot catch, such as a timeout at the moment in which the
/// result is written, does not end the other rules.
async fn run_one_by_one(
    transaction: &mut PgConnection,
    rules: &[String],
) -> sqlx::Result<Vec<Checked>> {
    let mut results = Vec::with_capacity(rules.len());
    for rule in rules {
        let mut savepoint = transaction.begin().await?;
        match check_rule(&mut savepoint, rule).await {
            Ok(checked) => {
                savepoint.commit().await?;
                results.push(checked);
            }
            Err(error @ sqlx::Error::Database(_)) => {
                savepoint.rollback().await?;
                let kept = sqlx::query_as("select * from core.rule_did_not_run($1, $2)")
                    .bind(rule)
                    .bind(describe(&error))
                    .fetch_one(&mut *transaction)
                    .await?;
                results.push(kept);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(results)
}
