//! Data quality rules and their results.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

/// A rule with its last result.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rule {
    /// Name.
    pub rule: String,
    /// Domain.
    pub domain: String,
    /// Table that it watches.
    pub table_name: String,
    /// Kind of test: `not_null`, `unique`, `relationships`, `accepted_range` and so on.
    pub test: String,
    /// `warn`, or `error`: the marts on this table are not to be trusted while it fails.
    pub severity: String,
    /// What holds when it passes.
    pub description: String,
    /// What to do when it fails.
    pub remedy: String,
    /// Whether it runs.
    pub enabled: bool,
    /// The rule passes when the measure is at most this.
    pub threshold: String,
    /// `pass`, `warn`, `fail`, `error` when it could not run, or `never run`.
    pub outcome: String,
    /// Measured value, all digits.
    pub measured: Option<String>,
    /// Failing rows.
    pub failing_count: Option<i64>,
    /// Keys of up to five of them; none for callers who may not see payloads.
    pub sample_keys: Vec<String>,
    /// When it was checked.
    pub check_time: Option<DateTime<Utc>>,
    /// The result in words.
    pub details: Option<String>,
    /// Outcomes of its last twenty runs, the newest last.
    pub history: Vec<String>,
}

/// The rules of domains, of all when `None`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn rules(
    connection: &mut PgConnection,
    domains: Option<&[String]>,
) -> sqlx::Result<Vec<Rule>> {
    sqlx::query_as(
        "select r.rule, r.domain, r.schema_name || '.' || r.table_name as table_name, r.test, r.severity, r.description, r.remedy,
                r.enabled, r.threshold::text as threshold, coalesce(l.outcome, 'never run') as outcome, l.measured::text as measured,
                l.failing_count, coalesce(l.sample_keys, '{}') as sample_keys, l.check_time, l.details,
                coalesce(h.history, '{}') as history
         from core.dq_rules r
         left join lateral (
             select d.* from core.dq_results d where d.check_name = r.rule order by d.id desc limit 1
         ) l on true
         left join lateral (
             select array_agg(d.outcome order by d.id) as history
             from (select d.id, d.outcome from core.dq_results d where d.check_name = r.rule order by d.id desc limit 20) d
         ) h on true
         where $1::text[] is null or r.domain = any ($1)
         order by r.domain, r.severity, r.rule",
    )
    .bind(domains)
    .fetch_all(connection)
    .await
}

/// A result.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = RuleResult))]
pub struct Outcome {
    /// Its number.
    pub id: i64,
    /// Rule.
    pub rule: String,
    /// Domain.
    pub domain: String,
    /// Table that it watches.
    pub table_name: String,
    /// Severity of the rule at the time.
    pub severity: String,
    /// `pass`, `warn`, `fail`, or `error` when the rule could not run.
    pub outcome: String,
    /// Measured value, all digits.
    pub measured: Option<String>,
    /// Limit at the time, all digits.
    pub threshold: Option<String>,
    /// Failing rows.
    pub failing_count: Option<i64>,
    /// Keys of up to five of them; none for callers who may not see payloads.
    pub sample_keys: Vec<String>,
    /// When it was checked.
    pub check_time: DateTime<Utc>,
    /// Duration of the check in milliseconds.
    pub duration_ms: Option<f64>,
    /// The result in words.
    pub details: Option<String>,
}

/// Which results are meant; all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Domains; `None`: all.
    pub domains: Option<Vec<String>>,
    /// Rules; none: all.
    pub rules: Vec<String>,
    /// Outcomes; none: all.
    pub outcomes: Vec<String>,
    /// Checked at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Numbers below this one.
    pub before: Option<i64>,
}

/// The results that match, the newest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn results(
    connection: &mut PgConnection,
    which: &Which,
    limit: i64,
) -> sqlx::Result<Vec<Outcome>> {
    sqlx::query_as(
        "select d.id, d.check_name as rule, d.domain, d.schema_name || '.' || d.table_name as table_name, d.severity, d.outcome,
                d.measured::text as measured, d.threshold::text as threshold, d.failing_count, d.sample_keys, d.check_time,
                d.duration_ms, d.details
         from core.dq_results d
         where ($1::text[] is null or d.domain = any ($1)) and ($2::text[] = '{}' or d.check_name = any ($2))
           and ($3::text[] = '{}' or d.outcome = any ($3)) and ($4::timestamptz is null or d.check_time >= $4)
           and ($5::bigint is null or d.id < $5)
         order by d.id desc limit $6",
    )
    .bind(&which.domains)
    .bind(&which.rules)
    .bind(&which.outcomes)
    .bind(which.since)
    .bind(which.before)
    .bind(limit)
    .fetch_all(connection)
    .await
}
