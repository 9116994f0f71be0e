//! Columns of a mart.

use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

use super::Mart;

/// A column.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = MartColumn))]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type in PostgreSQL.
    pub sql_type: String,
    /// The same without its limits: what values are compared as.
    #[serde(skip)]
    pub plain_type: String,
    /// Name of a type that PostgreSQL brings along; empty for others.
    #[serde(skip)]
    pub type_name: String,
    /// Type in JSON: `number`, `integer`, `boolean`, `string`, `array` or `object`.
    pub json_type: String,
    /// What it holds and in which unit.
    pub about: Option<String>,
    /// Whether its values have an order, by which rows can be sorted and paged.
    pub sortable: bool,
    /// Whether it is part of the key of the rows; false where no key is known.
    pub key: bool,
}

/// A mart with its columns.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = MartSchema))]
pub struct Schema {
    /// The mart.
    #[serde(flatten)]
    pub mart: Mart,
    /// Its columns in their order.
    pub columns: Vec<Column>,
}

const COLUMNS: &str = "
select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as sql_type,
       format_type(a.atttypid, null) as plain_type,
       case when t.typnamespace = 'pg_catalog'::regnamespace then t.typname::text else '' end as type_name,
       case when t.typcategory = 'B' then 'boolean' when a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then 'integer'
            when t.typcategory = 'N' then 'number' when t.typcategory = 'A' then 'array'
            when a.atttypid in ('json'::regtype, 'jsonb'::regtype) or t.typtype = 'c' then 'object' else 'string' end as json_type,
       col_description(a.attrelid, a.attnum) as about,
       a.atttypid not in ('json'::regtype, 'xml'::regtype) and t.typcategory <> 'G' as sortable,
       coalesce((select bool_or(a.attnum = any (i.indkey::int2[])) from pg_catalog.pg_index i
                 where i.indrelid = a.attrelid and i.indisunique and i.indpred is null and i.indexprs is null), false) as key
from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped
order by a.attnum";

/// The columns of a mart.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn schema(connection: &mut PgConnection, mart: Mart) -> sqlx::Result<Schema> {
    let columns = sqlx::query_as(COLUMNS)
        .bind(&mart.mart)
        .fetch_all(connection)
        .await?;
    Ok(Schema { mart, columns })
}
