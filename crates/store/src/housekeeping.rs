//! Housekeeping: partitions for the days to come, rows whose parent never came, ledger, retention.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tracing::debug;

use crate::interval;

/// Attempts to get a lock for 100 ms, which readers of a table may keep from it for long.
const LOCK_ATTEMPTS: u32 = 3;
/// Pause between them.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// Makes missing partitions; returns their number. A partition that a lock prevents is made later.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn ensure_partitions(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar("select core.ensure_partitions()")
        .fetch_one(connection)
        .await
}

/// Moves rows that waited too long for their parent, or for a range that was purged, to quarantine;
/// returns them per entity and code.
///
/// # Errors
/// Any error from PostgreSQL.
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
/// Any error from PostgreSQL.
pub async fn resolve_copies(connection: &mut PgConnection, domain: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("select core.resolve_copies($1)")
        .bind(domain)
        .fetch_one(connection)
        .await
}

/// How long a worker keeps data, where that is longer than the owner's periods in `core.retention`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Periods {
    /// Promoted rows in staging.
    pub staging: Duration,
    /// Messages in quarantine that are replayed or discarded.
    pub quarantine: Duration,
    /// Runs, refreshes and data quality results.
    pub logs: Duration,
}

/// Result of a round of retention.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Rows removed, per table.
    pub removed: Vec<(String, i64)>,
    /// Time was up before everything had gone.
    pub more: bool,
}

/// Removes staged rows, quarantined messages, batches and logs that are older than the periods
/// say, as seen at an instant of the server's clock, in short transactions one after the other,
/// until nothing is left or `within` is over.
///
/// # Errors
/// Any error from PostgreSQL, except a lock timeout: then the step is made another time.
pub async fn retain(
    connection: &mut PgConnection,
    keep: &Periods,
    at: DateTime<Utc>,
    within: Duration,
) -> sqlx::Result<Retained> {
    let begun = Instant::now();
    let keep = [keep.staging, keep.quarantine, keep.logs].map(interval);
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
                    // Transactions that wait behind the last attempt go first.
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

/// Settles the ledger rows of a domain that promotion left open because it fails.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn settle(connection: &mut PgConnection, domain: &str) -> sqlx::Result<()> {
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
