//! The batches that this process acknowledged last, and whether the database still has them.
//!
//! A message is acknowledged when its batch is committed. A server that takes over without the last
//! commits of the one before (an asynchronous standby, a primary that was not fenced) loses what nobody
//! sends again: the broker has forgotten it, and in the database nothing is missing from any ledger.
//! Only those who acknowledged it know. So they remember, and look whenever they meet a server.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acequia_net::SecretUrl;
use acequia_store::db::{Attention, Session, attended};
use acequia_store::failure::{Failure, describe};
use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::{FromRow, PgConnection};
use tokio::time::Instant;
use tracing::{error, warn};
use uuid::Uuid;

use crate::metrics::Ingest;

/// How long a batch is remembered. Retention keeps the rows of batches for longer.
const KEEP: Duration = Duration::from_secs(3600);
/// Most batches that are remembered.
const MOST: usize = 10_000;
/// How long the look may take.
const WITHIN: Duration = Duration::from_secs(30);
/// Numbers of batches that the log names.
const NAMED: usize = 20;

/// A batch that was committed and acknowledged.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Its number.
    pub batch_id: i64,
    /// What its number is not, unique.
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

/// What a process remembers.
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
struct Server {
    system_identifier: i64,
    timeline: i32,
    is_new: bool,
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

    fn young(&self) -> Vec<Acknowledged> {
        let inner = self.inner();
        let young = inner
            .batches
            .iter()
            .filter(|(since, _)| since.elapsed() <= KEEP);
        young.map(|(_, batch)| batch.clone()).collect()
    }

    fn forget(&self, identities: &HashSet<Uuid>) {
        let known = |(_, batch): &(_, Acknowledged)| !identities.contains(&batch.identity);
        self.inner().batches.retain(known);
    }

    /// Puts another server in the place of the one seen before, and returns that one.
    fn meets(&self, server: Server) -> Option<Server> {
        self.inner().server.replace(server)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that looks for what it acknowledged.
pub struct Process<'a> {
    /// Its name in `core.batches`.
    pub worker: &'a str,
    /// PostgreSQL.
    pub database: &'a SecretUrl,
    /// What it remembers.
    pub memory: &'a Memory,
    /// Where losses are counted.
    pub metrics: &'a Ingest,
}

/// Looks, on a new connection, whether the server has what this process acknowledged. What it does not have is
/// logged, counted, and noted in `core.lost_batches`, once.
///
/// # Errors
/// When the database does not answer or refuses: the next call looks again.
pub async fn look(session: &mut Session, process: &Process<'_>) -> sqlx::Result<()> {
    let attention = Attention {
        database: process.database,
        backend: session.backend,
        under_way: Duration::ZERO,
        within: WITHIN,
        tell: &|_| {},
    };
    attended(&attention, compare(session, process)).await
}

async fn compare(connection: &mut PgConnection, process: &Process<'_>) -> sqlx::Result<()> {
    const MISSING: &str = "select t.identity from unnest($1::bigint[], $2::uuid[]) t (batch_id, identity) \
        where not exists (select from core.batches b where b.batch_id = t.batch_id and b.identity = t.identity)";
    let server: Option<Server> = sqlx::query_as("select * from core.note_server()")
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(server) = server {
        greet(server, process.memory.meets(server));
    }
    let young = process.memory.young();
    if young.is_empty() {
        return Ok(());
    }
    let missing: Vec<Uuid> = sqlx::query_scalar(MISSING)
        .bind(column(&young, |batch| batch.batch_id))
        .bind(column(&young, |batch| batch.identity))
        .fetch_all(&mut *connection)
        .await?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing: HashSet<Uuid> = missing.into_iter().collect();
    let mut lost = young;
    lost.retain(|batch| missing.contains(&batch.identity));
    let noted = match note(connection, process.worker, &lost, server).await {
        Ok(noted) => noted.into_iter().collect(),
        // The loss is reported all the same.
        Err(refused) if Failure::of(&refused) == Failure::Broken => {
            error!(
                event = "batches.not_noted",
                error = describe(&refused),
                "core.lost_batches could not be written"
            );
            missing.clone()
        }
        Err(refused) => return Err(refused),
    };
    process.memory.forget(&missing);
    // Another loop may have been faster.
    lost.retain(|batch| noted.contains(&batch.identity));
    tell(&lost, server, process.metrics);
    Ok(())
}

/// Says that the database is somewhere else than before.
fn greet(server: Server, before: Option<Server>) {
    let moved = before.filter(|before| {
        (before.system_identifier, before.timeline) != (server.system_identifier, server.timeline)
    });
    if moved.is_some() || (before.is_none() && server.is_new) {
        warn!(
            event = "database.moved",
            system_identifier = server.system_identifier,
            timeline = server.timeline,
            timeline_before = moved.map(|before| before.timeline),
            "the database has another server or timeline than before: a failover, or a restored backup"
        );
    }
}

async fn note(
    connection: &mut PgConnection,
    worker: &str,
    lost: &[Acknowledged],
    server: Option<Server>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
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
    .await
}

/// One line for each queue, and the count of its messages.
fn tell(lost: &[Acknowledged], server: Option<Server>, metrics: &Ingest) {
    let mut queues: BTreeMap<(&str, &str), Vec<&Acknowledged>> = BTreeMap::new();
    for batch in lost {
        let key = (batch.domain, batch.queue.as_str());
        queues.entry(key).or_default().push(batch);
    }
    for ((domain, queue), batches) in queues {
        let messages: i64 = batches.iter().map(|batch| batch.messages).sum();
        let published = || batches.iter().filter_map(|batch| batch.published);
        let ids: Vec<String> = batches
            .iter()
            .map(|batch| batch.batch_id.to_string())
            .collect();
        error!(
            event = "batches.lost",
            domain,
            queue,
            batches = batches.len(),
            messages,
            batch_ids = ids[..ids.len().min(NAMED)].join(" "),
            last_batch_id = ids.last(),
            published_from = published().map(|(oldest, _)| oldest).min().map(text),
            published_until = published().map(|(_, newest)| newest).max().map(text),
            acknowledged_from = batches.iter().map(|batch| batch.at).min().map(text),
            acknowledged_until = batches.iter().map(|batch| batch.at).max().map(text),
            timeline = server.map(|server| server.timeline),
            remedy = "Have the publishers send again what they published in that time; the same ids do no harm. \
                      docs/runbooks/AcequiaMessagesLost.md",
            "acknowledged messages are lost: the database took over without them"
        );
        metrics.lost(domain, messages);
    }
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
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
