//! The row of a key in its domain table, and the marts that show it.

use acequia_contracts::{Entity, MergeKind, catalog};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection};
use sqlx_macros::FromRow;
use uuid::Uuid;

/// A row of the core.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DomainRow))]
pub struct CoreRow {
    /// Core table.
    pub table: &'static str,
    /// Key columns and their values.
    pub key: serde_json::Value,
    /// Message of the version that the row shows.
    pub message_id: Uuid,
    /// Event time of that version.
    pub event_at: DateTime<Utc>,
    /// When its key went, for a row whose key is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
    /// Batch it came in.
    pub batch_id: i64,
    /// When the version was in the core at the latest: the promotion of its batch, or of the
    /// rows it refers to, for which it may have waited. Null once the rows of these batches
    /// are deleted.
    pub in_core_by: Option<DateTime<Utc>>,
    /// Marts that read the table.
    pub marts: Vec<Mart>,
    /// Its columns, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub values: Option<Box<RawValue>>,
}

/// A mart that reads a core table.
#[derive(Debug, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TracedMart))]
pub struct Mart {
    /// Its name.
    pub mart: String,
    /// `view` or `materialized`.
    pub kind: String,
    /// Last refresh; the present for a view.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// Whether it was refreshed since the version came into the core, and has a row of the key where
    /// its rows are by that key.
    pub shows_it: bool,
    /// Whether it has a row of the key; null when its rows are not by that key: a sum, an average.
    #[sqlx(default)]
    pub has_row: Option<bool>,
}

#[derive(FromRow)]
struct Row {
    key: serde_json::Value,
    message_id: Uuid,
    event_at: DateTime<Utc>,
    batch_id: i64,
    deleted_at: Option<DateTime<Utc>>,
    in_core_by: Option<DateTime<Utc>>,
    columns: String,
}

/// PostgreSQL's type of a key column.
fn sql_type(entity: &Entity, name: &str) -> &'static str {
    let column = entity.columns.iter().find(|column| column.name == name);
    column.map_or("text", |column| column.kind.sql())
}

/// The core's row of a key, if there is one; of many, as an entity that appends has them, the row of the
/// message, else the newest. The names in its statements come from the catalog
/// and, quoted, from PostgreSQL's.
pub async fn find(
    connection: &mut PgConnection,
    entity: &Entity,
    key: &[String],
    message: Option<Uuid>,
    values: bool,
) -> sqlx::Result<Option<CoreRow>> {
    let names = key_columns(entity);
    let kinds = entity.key.iter().map(|name| sql_type(entity, name));
    let mut conditions: Vec<_> = (1..)
        .zip(names.iter().zip(kinds))
        .map(|(number, (name, sql))| format!("c.{name} = ${number}::{sql}"))
        .collect();
    let message = message.filter(|_| entity.merge_spec.kind == MergeKind::Append);
    if message.is_some() {
        conditions.push(format!("c.message_id = ${}", key.len() + 1));
    }
    let pairs = names.iter().zip(entity.key);
    let pairs: Vec<_> = pairs
        .map(|(name, key)| format!("'{key}', c.{name}"))
        .collect();
    let statement = format!(
        "select jsonb_build_object({}) as key, c.message_id, c.event_at, c.batch_id, {deleted_at} as deleted_at, row_to_json(c)::text as columns,
                greatest({}) as in_core_by
         from {} c where {} order by c.event_at desc, c.message_id desc limit 1",
        pairs.join(", "),
        promotions(connection, entity).await?.join(", "),
        entity.core,
        conditions.join(" and "),
        deleted_at = if entity.merge_spec.deletes {
            "c.deleted_at"
        } else {
            "null::timestamptz"
        },
    );
    let mut query = sqlx::query_as(AssertSqlSafe(statement));
    for part in key {
        query = query.bind(part);
    }
    if let Some(message) = message {
        query = query.bind(message);
    }
    let row: Option<Row> = query.fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(CoreRow {
        table: entity.core,
        key: row.key,
        message_id: row.message_id,
        event_at: row.event_at,
        batch_id: row.batch_id,
        deleted_at: row.deleted_at,
        in_core_by: row.in_core_by,
        marts: marts(connection, entity, key, row.in_core_by).await?,
        values: values
            .then(|| RawValue::from_string(row.columns).ok())
            .flatten(),
    }))
}

/// The core's names for the catalog's key columns, quoted.
fn key_columns(entity: &Entity) -> Vec<String> {
    let fields = entity.key.iter();
    let columns = fields.map(|field| entity.merge_spec.key_column(field));
    columns.map(|column| format!("\"{column}\"")).collect()
}

const PARENTS: &str = "
select f.confrelid::regclass::text,
       string_agg(format('p.%I = c.%I', pa.attname, ca.attname), ' and ')
from pg_constraint f
cross join unnest(f.conkey, f.confkey) as k (child, parent)
join pg_attribute ca on ca.attrelid = f.conrelid and ca.attnum = k.child
join pg_attribute pa on pa.attrelid = f.confrelid and pa.attnum = k.parent
where f.conrelid = $1::regclass and f.contype = 'f' and f.conparentid = 0
group by f.oid, f.confrelid";

/// Expressions for the promotions that a core row may have had to wait for: its own batch's and
/// its parents'.
async fn promotions(connection: &mut PgConnection, entity: &Entity) -> sqlx::Result<Vec<String>> {
    let parents: Vec<(String, String)> = sqlx::query_as(PARENTS)
        .bind(entity.core)
        .fetch_all(connection)
        .await?;
    let own = "(select b.promoted_at from core.batches b where b.batch_id = c.batch_id)".to_owned();
    let of_catalog = |table: &str| {
        let mut entities = catalog().iter().flat_map(|domain| &domain.entities);
        entities.any(|entity| entity.core == table)
    };
    let parents = parents.into_iter().filter(|(table, _)| of_catalog(table));
    let parents = parents.map(|(table, condition)| {
        format!(
            "(select b.promoted_at from {table} p join core.batches b on b.batch_id = p.batch_id where {condition})"
        )
    });
    Ok([own].into_iter().chain(parents).collect())
}

/// A mart that was refreshed after the promotion shows what was promoted; so does one that lacks
/// nothing.
const MARTS: &str = "
select s.mart, s.kind, s.refreshed_at,
       (s.kind = 'view' or not s.needs_refresh or coalesce(s.promoted_through >= $2, false)) as shows_it
from core.mart_status s
join core.marts m on m.mart = s.mart
where $1 = any (m.depends_on)
order by s.position, s.mart";

async fn marts(
    connection: &mut PgConnection,
    entity: &Entity,
    key: &[String],
    in_core_by: Option<DateTime<Utc>>,
) -> sqlx::Result<Vec<Mart>> {
    let mut marts: Vec<Mart> = sqlx::query_as(MARTS)
        .bind(entity.core)
        .bind(in_core_by)
        .fetch_all(&mut *connection)
        .await?;
    for mart in &mut marts {
        mart.has_row = has_row(connection, entity, key, &mart.mart).await?;
        mart.shows_it &= mart.has_row != Some(false);
    }
    Ok(marts)
}

/// The mart's columns that are named as a column of the key, quoted.
const MART_COLUMNS: &str = "
select a.attname::text, quote_ident(a.attname)
from pg_attribute a
where a.attrelid = to_regclass($1) and a.attname = any ($2) and a.attnum > 0 and not a.attisdropped";

/// Whether a mart has a row of the key; none when a column of the key is missing in it.
async fn has_row(
    connection: &mut PgConnection,
    entity: &Entity,
    key: &[String],
    mart: &str,
) -> sqlx::Result<Option<bool>> {
    let columns: Vec<(String, String)> = sqlx::query_as(MART_COLUMNS)
        .bind(mart)
        .bind(entity.key)
        .fetch_all(&mut *connection)
        .await?;
    if columns.len() < entity.key.len() {
        return Ok(None);
    }
    let conditions: Vec<_> = (1..)
        .zip(entity.key)
        .filter_map(|(number, name)| {
            let (_, quoted) = columns.iter().find(|(column, _)| column == name)?;
            Some(format!(
                "m.{quoted} = ${number}::{}",
                sql_type(entity, name)
            ))
        })
        .collect();
    // The mart's name stands in core.marts, which worker migrate writes.
    let statement = format!(
        "select exists (select from {mart} m where {})",
        conditions.join(" and ")
    );
    let mut query = sqlx::query_scalar(AssertSqlSafe(statement));
    for part in key {
        query = query.bind(part);
    }
    query.fetch_one(connection).await.map(Some)
}
