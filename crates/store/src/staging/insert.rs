//! Inserts the rows of an entity into staging, in one statement or by bisection.

use std::ops::Range;

use crate::failure::Failure;
use acequia_contracts::{Code, Entity, Values, Violation};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Postgres};

use super::copies::unstaged;
use super::decode::{EntityRows, Rejected};

/// The statements that stage rows of an entity.
pub struct Insert {
    all: String,
    some: String,
}

impl Insert {
    /// `insert into stg.x ... select from unnest(...)`; every name comes from the catalog. (A copy costs PostgreSQL a fifth
    /// less. But sqlx leaves Nagle's algorithm on, and the end of a copy then waits up to 40 ms for an acknowledgement.)
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
        let insert = |mask: &str, column: &str| {
            format!(
                "insert into {table} (message_id, day, batch_id, event_at, published_at, body_hash, {fields}) \
                 select t.message_id, t.day, $1, t.event_at, t.published_at, t.body_hash, {selected} \
                 from unnest($2::uuid[], $3::date[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], {arrays}{mask}) \
                 as t(message_id, day, event_at, published_at, body_hash, {fields}{column})",
                table = entity.staging,
                selected = selected.join(", "),
            )
        };
        let mask = format!(", ${}::boolean[]", 7 + columns.len());
        Self {
            all: insert("", ""),
            some: insert(&mask, ", wanted") + " where t.wanted",
        }
    }
}

/// The rows of an entity in a batch, on their way into its staging table.
pub struct Part<'a> {
    /// The entity's statements.
    pub statement: &'a Insert,
    /// Number of the batch.
    pub batch_id: i64,
    /// Position of the entity in the batch.
    pub entity: usize,
    /// Its rows.
    pub rows: &'a EntityRows,
}

impl Part<'_> {
    /// Stages the rows; returns how many. Those that are `doubtful`, in ascending order, are looked up and passed over
    /// if their ids are staged. Those under the id of another message, and with `isolate` those that PostgreSQL
    /// refuses, are filed under `refused`.
    ///
    /// # Errors
    /// A unique violation when an id is staged that is not doubtful; any other error from PostgreSQL.
    pub async fn stage(
        &self,
        connection: &mut PgConnection,
        mut doubtful: Vec<usize>,
        isolate: bool,
        refused: &mut Vec<Rejected>,
    ) -> sqlx::Result<usize> {
        let len = self.rows.ids.len();
        if doubtful.is_empty() {
            let query = query(&self.statement.all, self.batch_id, self.rows, 0..len);
            query.execute(connection).await?;
            return Ok(len);
        }
        let mut known = doubtful.iter().peekable();
        let others = (0..len).filter(|row| known.next_if_eq(&row).is_none());
        let others: Vec<usize> = others.collect();
        self.insert(connection, &others).await?;
        let mut staged = others.len();
        // Mostly once; again for what shares its id with an earlier message of the batch.
        while !doubtful.is_empty() {
            let unstaged = unstaged(connection, self.entity, self.rows, &doubtful, refused).await?;
            staged += if isolate {
                self.isolate_rejects(connection, &unstaged.firsts, refused)
                    .await?
            } else {
                self.insert(connection, &unstaged.firsts).await?;
                unstaged.firsts.len()
            };
            doubtful = unstaged.later;
        }
        Ok(staged)
    }

    /// Stages some rows, in ascending order, as new ones.
    async fn insert(&self, connection: &mut PgConnection, some: &[usize]) -> sqlx::Result<()> {
        let (Some(&first), Some(&last)) = (some.first(), some.last()) else {
            return Ok(());
        };
        let mut wanted = vec![false; last + 1 - first];
        for row in some {
            wanted[row - first] = true;
        }
        let range = first..last + 1;
        query(&self.statement.some, self.batch_id, self.rows, range)
            .bind(wanted)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Stages those of some rows that PostgreSQL takes and files the others: halves until a single row is
    /// refused, about 2 log2(n) statements for each. Returns how many it staged.
    async fn isolate_rejects(
        &self,
        connection: &mut PgConnection,
        some: &[usize],
        refused: &mut Vec<Rejected>,
    ) -> sqlx::Result<usize> {
        let mut staged = 0;
        let mut parts = vec![some];
        while let Some(part) = parts.pop() {
            let Some(&first) = part.first() else {
                continue;
            };
            let mut savepoint = connection.begin().await?;
            match self.insert(&mut savepoint, part).await {
                Ok(()) => {
                    savepoint.commit().await?;
                    staged += part.len();
                }
                Err(error) if Failure::of(&error) == Failure::BadData => {
                    savepoint.rollback().await?;
                    if part.len() > 1 {
                        let (before, after) = part.split_at(part.len() / 2);
                        parts.extend([after, before]);
                    // Another worker may have staged it since it was looked up.
                    } else if !is_copy(&error)
                        || !unstaged(connection, self.entity, self.rows, part, refused)
                            .await?
                            .firsts
                            .is_empty()
                    {
                        refused.push(refusal(&error, self.entity, self.rows, first));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(staged)
    }
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

/// Whether a row is refused because one with its id is there.
pub fn is_copy(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(DatabaseError::is_unique_violation)
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
    let violation = Violation::field(Code::RefusedByDatabase, column.to_owned(), message);
    rows.reject(entity, row, violation, code)
}
