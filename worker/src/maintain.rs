//! Housekeeping: partitions for the days to come, rows whose parent never came, ledger, retention.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use acequia_store::interval;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tracing::{debug, info};

use crate::config::LoopArgs;
use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// Makes missing partitions; returns how many. One that somebody keeps it from is made later.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn ensure_partitions(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar("select core.ensure_partitions()")
        .fetch_one(connection)
        .await
}

/// Moves rows that waited too long for their parent, or for a range that was purged, to quarantine;
/// returns them per entity and code.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn expire_pending(
    connection: &mut PgConnection,
    domain: &str,
    older_than: Duration,
) -> sqlx::Result<Vec<(String, String, i64)>> {
    sqlx::query_as("select * from core.expire_pending($1, $2)")
        .bind(domain)
        .bind(interval(older_than))
        .fetch_all(connection)
        .await
}

/// Resolves rows of quarantine of which a copy was accepted by a worker that ran beside; returns how
/// many.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn resolve_copies(connection: &mut PgConnection, domain: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("select core.resolve_copies($1)")
        .bind(domain)
        .fetch_one(connection)
        .await
}

/// What a round of retention did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// What went, per table.
    pub removed: Vec<(String, i64)>,
    /// Time was up before everything had gone.
    pub more: bool,
}

/// Removes staged rows, quarantined messages, batches and logs that are older than the settings
/// say, as seen at an instant of the server's clock, in short transactions one after the other,
/// until nothing is left or `within` is over.
///
/// # Errors
/// Whatever PostgreSQL answers, except that somebody holds a lock: then it goes another time.
pub async fn retain(
    connection: &mut PgConnection,
    settings: &LoopArgs,
    at: DateTime<Utc>,
    within: Duration,
) -> sqlx::Result<Retained> {
    let begun = Instant::now();
    let keep = [
        settings.staging_keep,
        settings.quarantine_keep,
        settings.log_keep,
    ]
    .map(interval);
    let [staging, quarantine, logs] = &keep;
    let steps: Vec<(String, String)> =
        sqlx::query_as("select * from core.retention_steps($1, $2, $3)")
            .bind(staging)
            .bind(quarantine)
            .bind(at)
            .fetch_all(&mut *connection)
            .await?;
    let mut removed: BTreeMap<String, i64> = BTreeMap::new();
    let mut more = false;
    'steps: for (step, what) in steps {
        let (mut from, mut attempts) = (None::<i64>, 0);
        loop {
            if begun.elapsed() >= within {
                more = true;
                break 'steps;
            }
            let step_begun = Instant::now();
            let done: sqlx::Result<(i64, Option<i64>)> =
                sqlx::query_as("select * from core.retain_step($1, $2, $3, $4, $5, $6, $7)")
                    .bind(&step)
                    .bind(&what)
                    .bind(staging)
                    .bind(quarantine)
                    .bind(logs)
                    .bind(at)
                    .bind(from)
                    .fetch_one(&mut *connection)
                    .await;
            let next = match done {
                Ok((rows, next)) => {
                    if rows > 0 {
                        *removed.entry(name_of(&step, &what)).or_default() += rows;
                    }
                    next
                }
                Err(error) if is_locked(&error) && attempts < LOCK_ATTEMPTS => {
                    attempts += 1;
                    // Who waits behind the last attempt goes first.
                    tokio::time::sleep(LOCK_PAUSE).await;
                    continue;
                }
                Err(error) if is_locked(&error) => {
                    debug!(what, "somebody reads or writes it for long: kept for now");
                    None
                }
                Err(error) => return Err(error),
            };
            let Some(next) = next else { break };
            from = Some(next);
            // Half of the time at most is taken from the messages.
            tokio::time::sleep(step_begun.elapsed()).await;
        }
    }
    Ok(Retained {
        removed: removed.into_iter().collect(),
        more,
    })
}

/// The name of a step in the log: the table that rows went from, or the partition that went.
fn name_of(step: &str, what: &str) -> String {
    match step {
        "batches" => "core.batches".to_owned(),
        "thin" => format!("core.{what} (thinned)"),
        "day" => format!("{what} (partition)"),
        _ => what.to_owned(),
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// The housekeeping loop.
pub struct Maintain;

impl PeriodicTask for Maintain {
    const NAME: &'static str = "maintain";

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let time_to_live = context.settings.orphan_ttl;
        // Work that belongs to no domain is done by one loop only.
        let is_first = context
            .domains
            .first()
            .is_some_and(|first| first.name == domain.name);
        if is_first {
            context.clock.read(connection).await?;
            let made = ensure_partitions(connection).await?;
            if made > 0 {
                info!(
                    event = "partitions.made",
                    partitions = made,
                    "partitions made ahead"
                );
            }
        }
        for (entity, code, rows) in expire_pending(connection, domain.name, time_to_live).await? {
            context
                .metrics
                .ingest
                .expired(domain.name, &entity, &code, rows);
        }
        let resolved = resolve_copies(connection, domain.name).await?;
        if resolved > 0 {
            info!(
                event = "quarantine.resolved",
                domain = domain.name,
                rows = resolved,
                "rows of quarantine resolved: copies of them were accepted"
            );
        }
        settle(connection, domain.name).await?;
        if is_first && remove_old(connection, context).await? {
            return Ok(Poll::Again);
        }
        // Often enough that a short time to live means what it says.
        Ok(Poll::Idle((time_to_live / 10).clamp(SHORTEST, LONGEST)))
    }
}

/// A round of retention; whether time was up before everything had gone.
async fn remove_old(connection: &mut PgConnection, context: &WorkerContext) -> sqlx::Result<bool> {
    let at = sqlx::query_scalar("select now()")
        .fetch_one(&mut *connection)
        .await?;
    let retained = retain(connection, &context.settings, at, RETAIN_WITHIN).await?;
    for (what, removed) in retained.removed {
        info!(
            event = "retention.removed",
            what, removed, "retention ended"
        );
    }
    Ok(retained.more)
}

/// Settles the ledger rows that promotion left open because it fails.
async fn settle(connection: &mut PgConnection, domain: &str) -> sqlx::Result<()> {
    loop {
        let settled: i32 = sqlx::query_scalar("select core.settle_alone($1)")
            .bind(domain)
            .fetch_one(&mut *connection)
            .await?;
        if settled == 0 {
            return Ok(());
        }
    }
}

/// How long retention may go on before the rest of housekeeping has a turn, and the worker may stop.
const RETAIN_WITHIN: Duration = Duration::from_secs(5);
/// Attempts to get a lock for 100 ms, which readers of a table may keep from it for long.
const LOCK_ATTEMPTS: u32 = 3;
/// Pause between them.
const LOCK_PAUSE: Duration = Duration::from_millis(500);
/// Shortest and longest pause of housekeeping.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);
