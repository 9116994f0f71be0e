//! The batches that this process acknowledged last, and whether the database still has them.
//!
//! A message is acknowledged when its batch is committed. A server that takes over without the last
//! commits of the one before (an asynchronous standby, a primary that was not fenced) loses messages that
//! are not sent again: the broker has forgotten them, and the ledger of the new server balances without them.
//! Only the process that acknowledged them knows. So it remembers them, and checks after each new connection whether
//! the server has them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use tokio::time::Instant;
use uuid::Uuid;

/// Time for which a batch is remembered. Retention keeps the rows of batches for longer.
const KEEP: Duration = Duration::from_secs(3600);
/// Maximum number of remembered batches.
const MOST: usize = 10_000;

/// A batch that was committed and acknowledged.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Its number.
    pub batch_id: i64,
    /// Unique, unlike its number.
    pub identity: Uuid,
    /// Its domain.
    pub domain: &'static str,
    /// The queue it came from.
    pub queue: String,
    /// Messages in it.
    pub messages: i64,
    /// When the first and the last of its valid messages were published.
    pub published: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// When it was acknowledged.
    pub at: DateTime<Utc>,
}

/// The batches that a process remembers, and its server.
#[derive(Debug, Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    batches: VecDeque<(Instant, Acknowledged)>,
    server: Option<Server>,
}

/// A server, as `core.note_server` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Server {
    /// Made with the cluster; its standbys have the same.
    pub system_identifier: i64,
    /// Grows with each promotion of a standby.
    pub timeline: i32,
    /// Whether it was not recorded before, while others were.
    pub is_new: bool,
}

impl Memory {
    /// Remembers a batch.
    pub fn add(&self, batch: Acknowledged) {
        let mut inner = self.inner();
        inner.batches.push_back((Instant::now(), batch));
        while inner.batches.len() > MOST
            || (inner.batches.front()).is_some_and(|(since, _)| since.elapsed() > KEEP)
        {
            inner.batches.pop_front();
        }
    }

    /// The batches that are remembered.
    #[must_use]
    pub fn young(&self) -> Vec<Acknowledged> {
        let inner = self.inner();
        let young = inner
            .batches
            .iter()
            .filter(|(since, _)| since.elapsed() <= KEEP);
        young.map(|(_, batch)| batch.clone()).collect()
    }

    /// Forgets batches, by identity.
    pub fn forget(&self, identities: &HashSet<Uuid>) {
        let known = |(_, batch): &(_, Acknowledged)| !identities.contains(&batch.identity);
        self.inner().batches.retain(known);
    }

    /// Records the current server and returns the previous one.
    pub fn meets(&self, server: Server) -> Option<Server> {
        self.inner().server.replace(server)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes which server the connection leads to, and says so; `None` when the role may not know.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn note_server(connection: &mut PgConnection) -> sqlx::Result<Option<Server>> {
    sqlx::query_as("select * from core.note_server()")
        .fetch_optional(connection)
        .await
}

/// Identities of those batches that the database does not have.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn missing(
    connection: &mut PgConnection,
    batches: &[Acknowledged],
) -> sqlx::Result<HashSet<Uuid>> {
    const MISSING: &str = "select t.identity from unnest($1::bigint[], $2::uuid[]) t (batch_id, identity) \
        where not exists (select from core.batches b where b.batch_id = t.batch_id and b.identity = t.identity)";
    let missing: Vec<Uuid> = sqlx::query_scalar(MISSING)
        .bind(column(batches, |batch| batch.batch_id))
        .bind(column(batches, |batch| batch.identity))
        .fetch_all(connection)
        .await?;
    Ok(missing.into_iter().collect())
}

/// Notes in `core.lost_batches` that a worker's batches are lost. Returns the identities that were not recorded yet.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn note_lost(
    connection: &mut PgConnection,
    worker: &str,
    lost: &[Acknowledged],
    server: Option<Server>,
) -> sqlx::Result<HashSet<Uuid>> {
    let noted: Vec<Uuid> = sqlx::query_scalar(
        "select core.note_lost_batches($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(worker)
    .bind(column(lost, |batch| batch.identity))
    .bind(column(lost, |batch| batch.batch_id))
    .bind(column(lost, |batch| batch.domain))
    .bind(column(lost, |batch| batch.queue.clone()))
    .bind(column(lost, |batch| batch.messages))
    .bind(column(lost, |batch| batch.at))
    .bind(column(lost, |batch| {
        batch.published.map(|(oldest, _)| oldest)
    }))
    .bind(column(lost, |batch| {
        batch.published.map(|(_, newest)| newest)
    }))
    .bind(server.map(|server| server.system_identifier))
    .bind(server.map(|server| server.timeline))
    .fetch_all(connection)
    .await?;
    Ok(noted.into_iter().collect())
}

fn column<T>(batches: &[Acknowledged], pick: impl Fn(&Acknowledged) -> T) -> Vec<T> {
    batches.iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_forgets_what_was_told() {
        let memory = Memory::default();
        let batch = |batch_id| Acknowledged {
            batch_id,
            identity: Uuid::from_u128(batch_id.unsigned_abs().into()),
            domain: "d",
            queue: "acequia.d".to_owned(),
            messages: 1,
            published: None,
            at: Utc::now(),
        };
        let most = i64::try_from(MOST).unwrap_or(0);
        for id in 1..=most + 5 {
            memory.add(batch(id));
        }
        let young = memory.young();
        assert_eq!(young.len(), MOST);
        assert_eq!(young.first().map(|batch| batch.batch_id), Some(6));
        memory.forget(&HashSet::from([Uuid::from_u128(6)]));
        assert_eq!(memory.young().first().map(|batch| batch.batch_id), Some(7));
    }
}
