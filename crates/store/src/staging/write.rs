//! Writes a decoded batch in one transaction: staged rows, quarantine, the batch's ledger rows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;
use acequia_contracts::Code;
use acequia_contracts::envelope::UNKNOWN;
use chrono::{DateTime, Utc};
use lapin::message::Delivery;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::decode::{DecodedBatch, EntityRows, Rejected};
use super::insert::{Insert, Part, is_copy};
use super::quarantine::quarantine;
use super::recent::RecentIds;
use super::{copies, corrections};

/// Outcome of the messages of one entity.
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

/// Result of one staging transaction.
#[derive(Debug, Default)]
pub struct Written {
    /// Number of the batch.
    pub batch_id: i64,
    /// Distinguishes it from a batch of another server with the same number.
    pub identity: Uuid,
    /// Counts per entity that occurred; [`UNKNOWN`] for messages without one.
    pub counts: Vec<(&'static str, Counts)>,
    /// Newly quarantined messages per code.
    pub codes: Vec<(Code, u64)>,
}

/// Whether a batch is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// It is committed.
    Commit,
    /// It is rolled back: a test whether it can be written.
    DryRun,
}

/// How the rows of a batch are inserted. Each mode costs more than the one before it, and is used
/// when that one was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InsertMode {
    /// As if all messages were new that are not suspected to be copies, which spares PostgreSQL a look-up for each row.
    InsertOnly,
    /// All messages are looked up, and those that are there already are passed over.
    SkipDuplicates,
    /// The same, and rows that PostgreSQL refuses are found by bisection.
    IsolateRejects,
}

/// Batches that are written with [`InsertMode::SkipDuplicates`] after one that held a message seen before:
/// where one copy comes, others may follow.
const COPIES_FOLLOW: u32 = 100;

/// Writes batches; the statements are made once from the catalog.
pub struct Store {
    worker: String,
    inserts: HashMap<&'static str, Insert>,
    /// Batches for which copies are still expected. A lane that begins expects some: what was
    /// not acknowledged comes again.
    copies_expected: AtomicU32,
    recent: Mutex<RecentIds>,
}

impl Store {
    /// A store for one domain's entities, writing under the name of a worker process.
    #[must_use]
    pub fn new(worker: &str, domains: &[&'static acequia_contracts::Domain]) -> Self {
        let entities = domains.iter().flat_map(|domain| &domain.entities);
        Self {
            worker: worker.to_owned(),
            inserts: entities
                .map(|entity| (entity.staging, Insert::of(entity)))
                .collect(),
            copies_expected: AtomicU32::new(1),
            recent: Mutex::default(),
        }
    }

    /// Rows, by entity, whose ids this store seems to have written before.
    fn suspects(&self, decoded: &DecodedBatch) -> Vec<Vec<usize>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of = |rows: &EntityRows| {
            let ids = rows.ids.iter().enumerate();
            ids.filter_map(|(row, id)| recent.note(*id).then_some(row))
                .collect()
        };
        decoded.good.iter().map(&mut of).collect()
    }

    /// Writes a batch in one transaction.
    ///
    /// A batch that was refused is written again with the next [`InsertMode`]; rows that PostgreSQL refuses
    /// go to quarantine in the end.
    ///
    /// # Errors
    /// Any error from PostgreSQL other than a refused row. Nothing is written then.
    pub async fn write(
        &self,
        connection: &mut PgConnection,
        queue: &str,
        decoded: &DecodedBatch,
        deliveries: &[Delivery],
        write_mode: WriteMode,
    ) -> sqlx::Result<Written> {
        let redelivered = deliveries.iter().any(|delivery| delivery.redelivered);
        let expected = self.copies_expected.load(Ordering::Relaxed);
        self.copies_expected
            .store(expected.saturating_sub(1), Ordering::Relaxed);
        let mut insert_mode = if redelivered || expected > 0 {
            InsertMode::SkipDuplicates
        } else {
            InsertMode::InsertOnly
        };
        let suspects = self.suspects(decoded);
        loop {
            let mut transaction = connection.begin().await?;
            match self
                .fill(
                    &mut transaction,
                    queue,
                    decoded,
                    deliveries,
                    &suspects,
                    insert_mode,
                )
                .await
            {
                Ok(written) => {
                    match write_mode {
                        WriteMode::Commit => transaction.commit().await?,
                        WriteMode::DryRun => transaction.rollback().await?,
                    }
                    return Ok(written);
                }
                Err(error)
                    if insert_mode != InsertMode::IsolateRejects
                        && Failure::of(&error) == Failure::BadData =>
                {
                    transaction.rollback().await?;
                    insert_mode = if is_copy(&error) && insert_mode == InsertMode::InsertOnly {
                        self.copies_expected.store(COPIES_FOLLOW, Ordering::Relaxed);
                        InsertMode::SkipDuplicates
                    } else {
                        InsertMode::IsolateRejects
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn fill(
        &self,
        transaction: &mut PgConnection,
        queue: &str,
        decoded: &DecodedBatch,
        deliveries: &[Delivery],
        suspects: &[Vec<usize>],
        insert_mode: InsertMode,
    ) -> sqlx::Result<Written> {
        let batch_id: i64 = sqlx::query_scalar("select nextval('core.batch_id')")
            .fetch_one(&mut *transaction)
            .await?;
        let mut counts: Vec<Counts> = vec![Counts::default(); decoded.good.len() + 1];
        let mut refused = Vec::new();
        for (position, rows) in decoded.good.iter().enumerate() {
            let len = rows.ids.len();
            if len == 0 {
                continue;
            }
            let first_refused = refused.len();
            let doubtful = if insert_mode == InsertMode::InsertOnly {
                suspects[position].clone()
            } else {
                (0..len).collect()
            };
            let part = Part {
                statement: &self.inserts[rows.entity.staging],
                batch_id,
                entity: position,
                rows,
            };
            let isolate = insert_mode == InsertMode::IsolateRejects;
            let staged = part
                .stage(&mut *transaction, doubtful, isolate, &mut refused)
                .await?;
            // The refused rows are counted with the rejected ones below.
            let accepted = count_of(len - (refused.len() - first_refused));
            let count = &mut counts[position];
            count.received = accepted;
            count.staged = count_of(staged);
            count.duplicates = accepted - count.staged;
        }
        let all: Vec<&Rejected> = decoded.rejected.iter().chain(&refused).collect();
        let copies = copies::accepted(&mut *transaction, decoded, &all, deliveries).await?;
        let mut rejected: Vec<&Rejected> = Vec::new();
        for (reject, is_copy) in all.into_iter().zip(copies) {
            if is_copy {
                let count = &mut counts[reject.entity.unwrap_or(decoded.good.len())];
                count.received += 1;
                count.duplicates += 1;
            } else {
                rejected.push(reject);
            }
        }
        let mut codes: HashMap<Code, u64> = HashMap::new();
        let size = |reject: &&Rejected| deliveries[reject.delivery].data.len();
        for part in by_bytes(&rejected, size) {
            let added = quarantine(
                &mut *transaction,
                batch_id,
                queue,
                decoded,
                part,
                deliveries,
                &mut counts,
            )
            .await?;
            for (code, messages) in added {
                *codes.entry(code).or_default() += messages;
            }
        }
        // After the rejected ones: a message that was refused and its correction may have come together.
        corrections::settle(&mut *transaction, batch_id, decoded, &counts).await?;
        let written = Written {
            batch_id,
            identity: Uuid::now_v7(),
            counts: named(decoded, &counts),
            codes: codes.into_iter().collect(),
        };
        account(transaction, queue, &self.worker, decoded, &written).await?;
        Ok(written)
    }
}

/// Parts of the messages whose bodies go in one statement: on its way to the server a body is
/// in memory about four times.
fn by_bytes<T>(messages: &[T], size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut bytes = messages.first().map_or(0, &size);
    messages.chunk_by(move |_, next| {
        bytes += size(next);
        let fits = bytes <= AT_ONCE;
        if !fits {
            bytes = size(next);
        }
        fits
    })
}

/// Bytes of bodies in one statement; a larger body goes alone.
const AT_ONCE: usize = 4 * 1024 * 1024;

const ACCOUNT: &str = "
with batch as (
    insert into core.batches (batch_id, domain, queue, worker, published_at, trace_context, identity, first_day, last_day, state)
    select $1, $2, $3, $4, $5, $13, $14, $15, $16, case when sum(s) > 0 then 'staged' else 'promoted' end from unnest($9::integer[]) s
)
insert into core.batch_entities (batch_id, domain, entity, received, duplicates, staged, quarantined,
    oldest_published_at, newest_published_at)
select $1, $2, t.* from unnest($6::text[], $7::integer[], $8::integer[], $9::integer[], $10::integer[],
    $11::timestamptz[], $12::timestamptz[]) t";

async fn account(
    connection: &mut PgConnection,
    queue: &str,
    worker: &str,
    decoded: &DecodedBatch,
    written: &Written,
) -> sqlx::Result<()> {
    let column = |pick: fn(&Counts) -> i32| -> Vec<i32> {
        written
            .counts
            .iter()
            .map(|(_, counts)| pick(counts))
            .collect()
    };
    let days = || decoded.good.iter().flat_map(|rows| rows.days.iter());
    sqlx::query(ACCOUNT)
        .bind(written.batch_id)
        .bind(decoded.domain.name)
        .bind(queue)
        .bind(worker)
        .bind(decoded.oldest)
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
        .bind(span(decoded, written, |rows| rows.oldest))
        .bind(span(decoded, written, |rows| rows.newest))
        .bind(&decoded.trace)
        .bind(written.identity)
        .bind(days().min().copied())
        .bind(days().max().copied())
        .execute(connection)
        .await?;
    Ok(())
}

/// Publish times per counted entity; none for those without a valid message.
fn span(
    decoded: &DecodedBatch,
    written: &Written,
    pick: fn(&EntityRows) -> Option<DateTime<Utc>>,
) -> Vec<Option<DateTime<Utc>>> {
    let of = |name| decoded.good.iter().find(|rows| rows.entity.name == name);
    let names = written.counts.iter().map(|(name, _)| *name);
    names.map(|name| of(name).and_then(pick)).collect()
}

fn named(decoded: &DecodedBatch, counts: &[Counts]) -> Vec<(&'static str, Counts)> {
    let names = decoded.good.iter().map(|rows| rows.entity.name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_go_together_up_to_the_limit() {
        let quarters = |sizes: &[usize]| -> Vec<usize> {
            let parts = by_bytes(sizes, |quarter| quarter * AT_ONCE / 4);
            parts.map(<[usize]>::len).collect()
        };
        assert_eq!(quarters(&[]), [0; 0]);
        assert_eq!(quarters(&[1; 9]), [4, 4, 1]);
        // The first body counts, too.
        assert_eq!(quarters(&[3, 3, 3]), [1, 1, 1]);
        assert_eq!(quarters(&[9, 1, 1, 2, 1]), [1, 3, 1]);
        assert_eq!(quarters(&[1, 9, 1]), [1, 1, 1]);
    }
}
