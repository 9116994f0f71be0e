//! The check loop: data quality rules, each result kept.

use std::time::Duration;

use acequia_contracts::Domain;
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;

use crate::maintain::interval;
use crate::run::Shared;
use crate::worker_loop::{Step, Work};

/// The result of one rule.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
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

/// Runs every rule of a domain once.
///
/// # Errors
/// Whatever PostgreSQL answers; a rule that fails or cannot run is a result, not an error.
pub async fn check(connection: &mut PgConnection, domain: &str) -> sqlx::Result<Vec<Checked>> {
    sqlx::query_as("select * from core.run_checks($1)")
        .bind(domain)
        .fetch_all(connection)
        .await
}

/// While another worker is at the rules, the loop looks so many times in the usual interval.
const LOOKS: u32 = 10;

/// The check loop.
pub struct Check;

impl Work for Check {
    const NAME: &'static str = "check";
    const SHORT: bool = false;

    async fn step(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        shared: &Shared,
    ) -> sqlx::Result<Step> {
        let every = shared.settings.check_every;
        let results: Vec<Checked> = sqlx::query_as("select * from core.run_due_checks($1, $2)")
            .bind(domain.name)
            .bind(interval(every))
            .fetch_all(&mut *connection)
            .await?;
        if !results.is_empty() {
            shared.metrics.quality.checked(domain.name, &results);
            return Ok(Step::Idle(every));
        }
        // Another worker did it, or is at it.
        let due_in: Option<PgInterval> = sqlx::query_scalar("select core.checks_due_in($1, $2)")
            .bind(domain.name)
            .bind(interval(every))
            .fetch_one(connection)
            .await?;
        let due_in = due_in.map_or(0, |due_in| due_in.microseconds);
        let due_in = Duration::from_micros(u64::try_from(due_in).unwrap_or(0));
        Ok(Step::Idle(due_in.max(every / LOOKS)))
    }
}
