//! Inserts the rows of an entity into staging, in one statement or by bisection.

use std::ops::Range;

use crate::failure::Failure;
use acequia_contracts::envelope::Identity;
use acequia_contracts::{Code, Entity, Values, Violation};
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Postgres, Row as _};
use uuid::Uuid;

use super::decode::{EntityRows, Rejected};

/// The statements that stage rows of an entity.
pub struct Insert {
    /// Refuses all rows when one is there already.
    insert_only: String,
    /// Passes over rows that are there already.
    skip_duplicates: String,
}

impl Insert {
    /// `insert into stg.x ... select from unnest(...)`; every name comes from the catalog.
    pub fn of(entity: &Entity) -> Self {
        // Only tables of entities whose keys may go have the column.
        let deleted = entity.merge_spec.deletes.then_some(("deleted", "boolean"));
        let columns = entity
            .columns
            .iter()
            .map(|column| (column.name, column.kind.sql()));
        let columns: Vec<_> = columns.chain(deleted).collect();
        let fields: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let arrays: Vec<String> = (7..)
            .zip(&columns)
            .map(|(number, (_, sql))| format!("${number}::{sql}[]"))
            .collect();
        let selected: Vec<String> = fields.iter().map(|name| format!("t.{name}")).collect();
        let (fields, arrays) = (fields.join(", "), arrays.join(", "));
        let insert_only = format!(
            "insert into {table} (message_id, day, batch_id, event_at, published_at, body_hash, {fields}) \
         select t.message_id, t.day, $1, t.event_at, t.published_at, t.body_hash, {selected} \
         from unnest($2::uuid[], $3::date[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], {arrays}) \
         as t(message_id, day, event_at, published_at, body_hash, {fields})",
            table = entity.staging,
            selected = selected.join(", "),
        );
        Self {
            skip_duplicates: format!("{insert_only} on conflict do nothing returning message_id"),
            insert_only,
        }
    }
}

/// Stages all rows as new ones.
///
/// # Errors
/// A unique violation when one is there already; whatever else PostgreSQL answers.
pub async fn insert_only(
    connection: &mut PgConnection,
    statement: &Insert,
    batch_id: i64,
    rows: &EntityRows,
) -> sqlx::Result<()> {
    query(&statement.insert_only, batch_id, rows, 0..rows.ids.len())
        .execute(connection)
        .await?;
    Ok(())
}

/// Stages those of some rows that are not there already; returns their ids.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn insert_skipping_duplicates(
    connection: &mut PgConnection,
    statement: &Insert,
    batch_id: i64,
    rows: &EntityRows,
    range: Range<usize>,
) -> sqlx::Result<Vec<Uuid>> {
    use futures_util::TryStreamExt as _;

    let mut staged = Vec::with_capacity(range.len());
    let mut answer = query(&statement.skip_duplicates, batch_id, rows, range).fetch(connection);
    while let Some(row) = answer.try_next().await? {
        staged.push(row.try_get(0)?);
    }
    Ok(staged)
}

fn query<'q>(
    statement: &'q str,
    batch_id: i64,
    rows: &'q EntityRows,
    range: Range<usize>,
) -> Query<'q, Postgres, PgArguments> {
    // The text is made of the catalog's names alone.
    let mut query = sqlx::query(AssertSqlSafe(statement))
        .bind(batch_id)
        .bind(&rows.ids[range.clone()])
        .bind(&rows.days[range.clone()])
        .bind(&rows.event_at[range.clone()])
        .bind(&rows.published_at[range.clone()])
        .bind(&rows.hashes[range.clone()]);
    for values in &rows.fields {
        query = bind(query, values, range.clone());
    }
    if rows.entity.merge_spec.deletes {
        query = query.bind(&rows.deleted[range]);
    }
    query
}

fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    values: &'q Values,
    range: Range<usize>,
) -> Query<'q, Postgres, PgArguments> {
    match values {
        Values::Int(values) => query.bind(&values[range]),
        Values::BigInt(values) => query.bind(&values[range]),
        Values::Float(values) => query.bind(&values[range]),
        Values::Bool(values) => query.bind(&values[range]),
        Values::Text(values) => query.bind(&values[range]),
        Values::Decimal(values) => query.bind(&values[range]),
        Values::Date(values) => query.bind(&values[range]),
        Values::Timestamp(values) => query.bind(&values[range]),
    }
}

/// Stages all rows that PostgreSQL takes and files the others: halves until a single row is
/// refused, about 2 log2(n) statements for each. Returns the ids of those that were not there already.
pub async fn isolate_rejects(
    connection: &mut PgConnection,
    statement: &Insert,
    batch_id: i64,
    entity: usize,
    rows: &EntityRows,
    refused: &mut Vec<Rejected>,
) -> sqlx::Result<Vec<Uuid>> {
    let mut staged = Vec::new();
    let mut ranges = Vec::new();
    let mut next = Some(0..rows.ids.len());
    while let Some(range) = next.take().or_else(|| ranges.pop()) {
        let mut savepoint = connection.begin().await?;
        match insert_skipping_duplicates(&mut savepoint, statement, batch_id, rows, range.clone())
            .await
        {
            Ok(new) => {
                savepoint.commit().await?;
                staged.extend(new);
            }
            Err(error) if Failure::of(&error) == Failure::BadData => {
                savepoint.rollback().await?;
                if range.len() == 1 {
                    refused.push(refusal(&error, entity, rows, range.start));
                } else {
                    let middle = range.start + range.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(staged)
}

/// PostgreSQL's own text may hold the value, so only the names in its answer are kept.
fn refusal(error: &sqlx::Error, entity: usize, rows: &EntityRows, row: usize) -> Rejected {
    let database = error.as_database_error();
    let code = database.and_then(|error| error.code().map(|code| code.to_string()));
    let constraint = database.and_then(|error| error.constraint());
    let column = database
        .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
        .and_then(|error| error.column())
        .unwrap_or("");
    let message = match constraint {
        Some(constraint) => format!("PostgreSQL refused the row: constraint {constraint}"),
        None => format!(
            "PostgreSQL refused the row: SQLSTATE {}",
            code.as_deref().unwrap_or("unknown")
        ),
    };
    Rejected {
        delivery: rows.deliveries[row],
        entity: Some(entity),
        identity: Identity {
            id: rows.ids[row],
            day: rows.days[row],
        },
        violations: vec![Violation::field(
            Code::RefusedByDatabase,
            column.to_owned(),
            message,
        )],
        sqlstate: code,
    }
}
