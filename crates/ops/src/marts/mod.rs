//! Marts: which there are, what their columns mean, and their rows.

mod parquet;
mod rows;
mod schema;

pub use parquet::{Table, Values, values};
pub use rows::{Compare, Filter, Format, Order, Position, Query, Refused, count, read};
pub use schema::{Column, Schema, schema};

use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

/// A mart.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = MartEntry))]
pub struct Mart {
    /// Name with its schema.
    pub mart: String,
    /// Domain.
    pub domain: String,
    /// `view`, which is always live, or `materialized`.
    pub kind: String,
    /// What its rows are.
    pub about: Option<String>,
    /// Tables that it reads.
    pub depends_on: Vec<String>,
    /// How long it may lack a message that has arrived, in seconds.
    pub objective_s: f64,
    /// Rows as the planner estimates them; null for a view.
    pub estimated_rows: Option<i64>,
}

const MARTS: &str = "
select m.mart, m.domain, m.kind, obj_description(to_regclass(m.mart), 'pg_class') as about, m.depends_on,
       extract(epoch from m.objective)::float8 as objective_s,
       case when m.kind = 'materialized' then nullif(c.reltuples, -1)::bigint end as estimated_rows
from core.marts m left join pg_catalog.pg_class c on c.oid = to_regclass(m.mart)
where ($1::text[] is null or m.domain = any ($1)) and ($2::text is null or m.mart = $2)
order by m.domain, m.position, m.mart";

/// The marts of domains, of all when `None`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    domains: Option<&[String]>,
) -> sqlx::Result<Vec<Mart>> {
    sqlx::query_as(MARTS)
        .bind(domains)
        .bind(None::<String>)
        .fetch_all(connection)
        .await
}

/// A mart by its name, with or without the schema `marts`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn find(connection: &mut PgConnection, name: &str) -> sqlx::Result<Option<Mart>> {
    let full = if name.contains('.') {
        name.to_owned()
    } else {
        format!("marts.{name}")
    };
    sqlx::query_as(MARTS)
        .bind(None::<Vec<String>>)
        .bind(full)
        .fetch_optional(connection)
        .await
}
