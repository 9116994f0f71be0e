//! The way from message type to mart.

use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

/// A message type and a mart that shows its rows.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lineage {
    /// Domain.
    pub domain: Option<String>,
    /// Message type as `<domain>.<entity>`; null for a table that no messages fill.
    pub message_type: Option<String>,
    /// Where its valid messages wait.
    pub staging_table: Option<String>,
    /// What merges them.
    pub merge_function: Option<String>,
    /// Where they are merged into.
    #[sqlx(rename = "core_table")]
    pub domain_table: Option<String>,
    /// Mart that reads this table, directly or through other marts; null when none does.
    pub mart: Option<String>,
    /// `view` or `materialized`.
    pub mart_kind: Option<String>,
}

/// The ways of domains, of all when `None`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    domains: Option<&[String]>,
) -> sqlx::Result<Vec<Lineage>> {
    sqlx::query_as("select l.* from core.lineage l where $1::text[] is null or l.domain = any ($1)")
        .bind(domains)
        .fetch_all(connection)
        .await
}
