//! Writes a decoded batch in one transaction: staged rows, quarantine, the batch's accounts.

use std::collections::HashMap;
use std::ops::Range;

use acequia_contracts::{Code, Entity, Values, Violation};
use chrono::{DateTime, Utc};
use lapin::message::Delivery;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Postgres};

use super::identity::Identity;
use super::quarantine::quarantine;
use super::sort::{EntityRows, Rejected, Sorted};
use crate::failure::Failure;

/// Name under which messages without a known entity are counted.
pub const UNKNOWN: &str = "(unknown)";

/// What became of the messages of one entity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken from the queue.
    pub received: i32,
    /// Seen before.
    pub duplicates: i32,
    /// New rows in staging.
    pub staged: i32,
    /// New rows in quarantine.
    pub quarantined: i32,
}

/// What one transaction wrote.
#[derive(Debug, Default)]
pub struct Written {
    /// Number of the batch.
    pub batch_id: i64,
    /// Counts per entity that occurred; [`UNKNOWN`] for messages without one.
    pub counts: Vec<(&'static str, Counts)>,
    /// Newly quarantined messages per code.
    pub codes: Vec<(Code, u64)>,
}

/// Whether a batch is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is committed.
    Keep,
    /// It is rolled back: only whether it could be written is of interest.
    Rehearse,
}

/// Writes batches; the statements are made once from the catalog.
pub struct Store {
    worker: String,
    inserts: HashMap<&'static str, String>,
}

impl Store {
    /// A store for one domain's entities, writing under the name of a worker process.
    #[must_use]
    pub fn new(worker: &str, domains: &[&'static acequia_contracts::Domain]) -> Self {
        let entities = domains.iter().flat_map(|domain| &domain.entities);
        Self {
            worker: worker.to_owned(),
            inserts: entities
                .map(|entity| (entity.staging, insert_statement(entity)))
                .collect(),
        }
    }

    /// Writes a batch in one transaction.
    ///
    /// Rows that PostgreSQL refuses are found by bisection and put in quarantine; only a
    /// transaction that was refused once pays for the savepoints which that takes.
    ///
    /// # Errors
    /// Whatever PostgreSQL answers other than a refused row. Nothing is written then.
    pub async fn write(
        &self,
        connection: &mut PgConnection,
        queue: &str,
        sorted: &Sorted,
        deliveries: &[Delivery],
        purpose: Purpose,
    ) -> sqlx::Result<Written> {
        let mut careful = false;
        loop {
            let mut transaction = connection.begin().await?;
            match self
                .fill(&mut transaction, queue, sorted, deliveries, careful)
                .await
            {
                Ok(written) => {
                    match purpose {
                        Purpose::Keep => transaction.commit().await?,
                        Purpose::Rehearse => transaction.rollback().await?,
                    }
                    return Ok(written);
                }
                Err(error) if !careful && Failure::of(&error) == Failure::BadData => {
                    transaction.rollback().await?;
                    careful = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn fill(
        &self,
        transaction: &mut PgConnection,
        queue: &str,
        sorted: &Sorted,
        deliveries: &[Delivery],
        careful: bool,
    ) -> sqlx::Result<Written> {
        let batch_id: i64 = sqlx::query_scalar("select nextval('core.batch_id')")
            .fetch_one(&mut *transaction)
            .await?;
        let mut counts: Vec<Counts> = vec![Counts::default(); sorted.good.len() + 1];
        let mut refused = Vec::new();
        for (position, rows) in sorted.good.iter().enumerate() {
            let len = rows.ids.len();
            if len == 0 {
                continue;
            }
            let statement = self
                .inserts
                .get(rows.entity.staging)
                .map_or("", String::as_str);
            let first_refused = refused.len();
            let staged = if careful {
                bisect(
                    &mut *transaction,
                    statement,
                    batch_id,
                    position,
                    rows,
                    &mut refused,
                )
                .await?
            } else {
                insert(&mut *transaction, statement, batch_id, rows, 0..len).await?
            };
            // The refused rows are counted with the rejected ones below.
            let accepted = count_of(len - (refused.len() - first_refused));
            let count = &mut counts[position];
            count.received = accepted;
            count.staged = i32::try_from(staged).unwrap_or(i32::MAX);
            count.duplicates = accepted - count.staged;
        }
        let rejected: Vec<&Rejected> = sorted.rejected.iter().chain(&refused).collect();
        let mut codes: HashMap<Code, u64> = HashMap::new();
        for part in by_bytes(&rejected, deliveries) {
            let added = quarantine(
                &mut *transaction,
                batch_id,
                queue,
                sorted,
                part,
                deliveries,
                &mut counts,
            )
            .await?;
            for (code, messages) in added {
                *codes.entry(code).or_default() += messages;
            }
        }
        let written = Written {
            batch_id,
            counts: named(sorted, &counts),
            codes: codes.into_iter().collect(),
        };
        account(transaction, queue, &self.worker, sorted, &written).await?;
        Ok(written)
    }
}

/// Parts of what is rejected whose bodies go in one statement: on its way to the server a body is
/// in memory about four times.
fn by_bytes<'a, 'b>(
    rejected: &'a [&'b Rejected],
    deliveries: &'b [Delivery],
) -> impl Iterator<Item = &'a [&'b Rejected]> {
    const AT_ONCE: usize = 4 * 1024 * 1024;
    let mut bytes = 0;
    rejected.chunk_by(move |_, next| {
        bytes += deliveries[next.delivery].data.len();
        let fits = bytes <= AT_ONCE;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

/// `insert into stg.x ... select from unnest(...)`; every name comes from the catalog.
fn insert_statement(entity: &Entity) -> String {
    let fields: Vec<&str> = entity.columns.iter().map(|column| column.name).collect();
    let arrays: Vec<String> = entity
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::{}[]", index + 6, column.kind.sql()))
        .collect();
    let (fields, arrays) = (fields.join(", "), arrays.join(", "));
    format!(
        "insert into {table} (message_id, day, batch_id, event_at, published_at, {fields}) \
         select t.message_id, t.day, $1, t.event_at, t.published_at, {selected} \
         from unnest($2::uuid[], $3::date[], $4::timestamptz[], $5::timestamptz[], {arrays}) \
         as t(message_id, day, event_at, published_at, {fields}) \
         on conflict do nothing",
        table = entity.staging,
        selected = entity
            .columns
            .iter()
            .map(|column| format!("t.{}", column.name))
            .collect::<Vec<_>>()
            .join(", "),
    )
}

/// Stages some of the rows; returns how many were new.
async fn insert(
    connection: &mut PgConnection,
    statement: &str,
    batch_id: i64,
    rows: &EntityRows,
    range: Range<usize>,
) -> sqlx::Result<u64> {
    // The text is made of the catalog's names alone.
    let mut query = sqlx::query(AssertSqlSafe(statement))
        .bind(batch_id)
        .bind(&rows.ids[range.clone()])
        .bind(&rows.days[range.clone()])
        .bind(&rows.event_at[range.clone()])
        .bind(&rows.published_at[range.clone()]);
    for values in &rows.fields {
        query = bind(query, values, range.clone());
    }
    Ok(query.execute(connection).await?.rows_affected())
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
/// refused, about 2 log2(n) statements for each.
async fn bisect(
    connection: &mut PgConnection,
    statement: &str,
    batch_id: i64,
    entity: usize,
    rows: &EntityRows,
    refused: &mut Vec<Rejected>,
) -> sqlx::Result<u64> {
    let mut staged = 0;
    let mut ranges = Vec::new();
    let mut next = Some(0..rows.ids.len());
    while let Some(range) = next.take().or_else(|| ranges.pop()) {
        let mut savepoint = connection.begin().await?;
        match insert(&mut savepoint, statement, batch_id, rows, range.clone()).await {
            Ok(new) => {
                savepoint.commit().await?;
                staged += new;
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

const ACCOUNT: &str = "
with batch as (
    insert into core.batches (batch_id, domain, queue, worker, published_at, state)
    select $1, $2, $3, $4, $5, case when sum(s) > 0 then 'staged' else 'promoted' end from unnest($9::integer[]) s
)
insert into core.batch_entities (batch_id, domain, entity, received, duplicates, staged, quarantined,
    oldest_published_at, newest_published_at)
select $1, $2, t.* from unnest($6::text[], $7::integer[], $8::integer[], $9::integer[], $10::integer[],
    $11::timestamptz[], $12::timestamptz[]) t";

async fn account(
    connection: &mut PgConnection,
    queue: &str,
    worker: &str,
    sorted: &Sorted,
    written: &Written,
) -> sqlx::Result<()> {
    let column = |pick: fn(&Counts) -> i32| -> Vec<i32> {
        written
            .counts
            .iter()
            .map(|(_, counts)| pick(counts))
            .collect()
    };
    sqlx::query(ACCOUNT)
        .bind(written.batch_id)
        .bind(sorted.domain.name)
        .bind(queue)
        .bind(worker)
        .bind(sorted.oldest)
        .bind(
            written
                .counts
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>(),
        )
        .bind(column(|counts| counts.received))
        .bind(column(|counts| counts.duplicates))
        .bind(column(|counts| counts.staged))
        .bind(column(|counts| counts.quarantined))
        .bind(span(sorted, written, |rows| rows.oldest))
        .bind(span(sorted, written, |rows| rows.newest))
        .execute(connection)
        .await?;
    Ok(())
}

/// Publish times per counted entity; none for those without a valid message.
fn span(
    sorted: &Sorted,
    written: &Written,
    pick: fn(&EntityRows) -> Option<DateTime<Utc>>,
) -> Vec<Option<DateTime<Utc>>> {
    let of = |name| sorted.good.iter().find(|rows| rows.entity.name == name);
    let names = written.counts.iter().map(|(name, _)| *name);
    names.map(|name| of(name).and_then(pick)).collect()
}

fn named(sorted: &Sorted, counts: &[Counts]) -> Vec<(&'static str, Counts)> {
    let names = sorted.good.iter().map(|rows| rows.entity.name);
    names
        .chain([UNKNOWN])
        .zip(counts.iter().copied())
        .filter(|(_, counts)| counts.received > 0)
        .collect()
}

/// Batches are bounded far below what an `integer` holds.
fn count_of(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}
