//! The check loop: data quality rules, each result kept.

use acequia_contracts::Domain;
use serde::Serialize;
use sqlx::PgConnection;

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
        let results = check(connection, domain.name).await?;
        shared.metrics.quality.checked(domain.name, &results);
        Ok(Step::Idle(shared.settings.check_every))
    }
}
