//! Data quality.

use serde::Serialize;

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
