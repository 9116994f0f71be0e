//! Bulk actions on quarantine and on archives: what was asked for, how far it has come, what was done.

use acequia_ops::quarantine::Failed;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection};
use sqlx_macros::FromRow;
use utoipa::ToSchema;

/// Kinds of operations on quarantine.
pub const QUARANTINE: [&str; 3] = ["discard", "restore", "replay"];
/// Those that need no broker.
pub const WITHOUT_BROKER: [&str; 2] = ["discard", "restore"];
/// Kinds of operations on archives.
pub const ARCHIVES: [&str; 2] = ["archive", "restore_archive"];

/// What an operation could not do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = OperationFailure)]
pub enum Failure {
    /// A row of an operation on quarantine.
    Row(Failed),
    /// A partition of an operation on archives.
    Partition(FailedPartition),
}

/// A partition that could not be archived or restored.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = PartitionFailure)]
pub struct FailedPartition {
    /// Partition with its schema.
    pub partition_name: String,
    /// Why not.
    pub reason: String,
}

/// An operation.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub struct Operation {
    /// Its number.
    pub operation_id: i64,
    /// `replay`, `discard` or `restore` of rows in quarantine; `archive` or `restore_archive` of partitions.
    pub kind: String,
    /// `queued`, `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Who asked for it.
    pub who: String,
    /// Why.
    pub reason: Option<String>,
    /// Domains whose rows or tables it is about; null: all.
    pub domains: Option<Vec<String>>,
    /// Filters that rows or partitions are chosen by.
    #[schema(value_type = Object)]
    pub filters: Json<Value>,
    /// Messages per second, at most.
    pub rate: Option<i32>,
    /// Rows, or partitions, that matched when it was asked for; of an undo, rows that were discarded.
    pub matched: i64,
    /// Rows, or partitions, done.
    pub done: i64,
    /// Rows that no queue took; partitions that stay as they were because of an error.
    pub failed: i64,
    /// The first hundred of these rows or partitions.
    #[schema(value_type = Vec<Failure>)]
    pub failures: Json<Vec<Failure>>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When a process took it first.
    pub started_at: Option<DateTime<Utc>>,
    /// Last sign of life of the process that carries it out.
    pub seen_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When somebody asked to cancel it.
    pub cancel_at: Option<DateTime<Utc>>,
    /// Who.
    pub cancelled_by: Option<String>,
    /// The discard that it takes back, if it is an undo.
    pub undoes: Option<i64>,
    /// The operation that takes it back; one that failed or was cancelled does not count.
    pub undone_by: Option<i64>,
    /// Whether it can be undone: it has discarded rows, has ended, and nobody has undone it.
    pub can_undo: bool,
    /// Greatest row number that it takes.
    #[serde(skip)]
    pub through_id: i64,
    /// Greatest row number that is done.
    #[serde(skip)]
    pub after_id: i64,
}

impl Operation {
    /// The domain that it is about, when it is a single one.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match self.domains.as_deref() {
            Some([one]) => Some(one),
            _ => None,
        }
    }
}

/// Columns of an [`Operation`], read from `core.operations o`.
const COLUMNS: &str = "o.operation_id, o.kind, o.state, o.who, o.reason, o.domains, o.filters, o.rate, o.matched, o.done, o.failed,
    o.failures, o.error, o.created_at, o.started_at, o.seen_at, o.finished_at, o.cancel_at, o.cancelled_by, o.through_id, o.after_id,
    o.undoes,
    (select u.operation_id from core.operations u where u.undoes = o.operation_id and u.state not in ('failed', 'cancelled')) as undone_by,
    o.kind = 'discard' and o.finished_at is not null
        and not exists (select from core.operations u where u.undoes = o.operation_id and u.state not in ('failed', 'cancelled'))
        and exists (select from core.audit_log l where l.operation_id = o.operation_id and l.action = 'discard') as can_undo";

/// An operation that is asked for.
#[derive(Debug)]
pub struct New<'a> {
    /// Kind.
    pub kind: &'static str,
    /// Name of the person or token that requests it.
    pub who: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    /// Domains; `None`: all.
    pub domains: Option<&'a [String]>,
    /// Filters.
    pub filters: &'a Value,
    /// Messages per second.
    pub rate: Option<i32>,
    /// Rows, or partitions, that match.
    pub matched: i64,
}

/// Writes down what is asked for. An operation on quarantine takes rows that are there now.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn ask(connection: &mut PgConnection, new: &New<'_>) -> sqlx::Result<Operation> {
    sqlx::query_as(AssertSqlSafe(format!(
        "insert into core.operations as o (kind, who, reason, domains, filters, rate, matched, through_id)
         values ($1, $2, $3, $4, $5, $6, $7,
             case when $1 = any ($8) then 0 else coalesce((select max(q.quarantine_id) from raw.quarantine q), 0) end)
         returning {COLUMNS}"
    )))
    .bind(new.kind)
    .bind(new.who)
    .bind(new.reason)
    .bind(new.domains)
    .bind(Json(new.filters))
    .bind(new.rate)
    .bind(new.matched)
    .bind(&ARCHIVES[..])
    .fetch_one(connection)
    .await
}

/// Writes down that a discard is to be undone. Nothing when it is undone already.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn undo(
    connection: &mut PgConnection,
    discard: i64,
    who: &str,
    reason: &str,
) -> sqlx::Result<Option<Operation>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "insert into core.operations as o (kind, who, reason, domains, filters, matched, through_id, undoes)
         select 'restore', $2, $3, d.domains, d.filters, d.done, d.through_id, d.operation_id
         from core.operations d where d.operation_id = $1
         on conflict (undoes) where undoes is not null and state not in ('failed', 'cancelled') do nothing
         returning {COLUMNS}"
    )))
    .bind(discard)
    .bind(who)
    .bind(reason)
    .fetch_optional(connection)
    .await
}

/// Operations whose domains are all within `domains` (`None`: all), the newest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    domains: Option<&[String]>,
    states: &[String],
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Operation>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS} from core.operations o
         where ($1::text[] is null or o.domains <@ $1) and ($2::text[] = '{{}}' or o.state = any ($2))
           and ($3::bigint is null or o.operation_id < $3)
         order by o.operation_id desc limit $4"
    )))
    .bind(domains)
    .bind(states)
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// One operation.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn find(connection: &mut PgConnection, id: i64) -> sqlx::Result<Option<Operation>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select {COLUMNS} from core.operations o where o.operation_id = $1"
    )))
    .bind(id)
    .fetch_optional(connection)
    .await
}

/// Asks to cancel one that has not ended; one that nobody has begun ends at once. Nothing when it has ended.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn cancel(
    connection: &mut PgConnection,
    id: i64,
    who: &str,
) -> sqlx::Result<Option<Operation>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "update core.operations o
         set cancel_at = coalesce(cancel_at, now()), cancelled_by = coalesce(cancelled_by, $2),
             state = case state when 'queued' then 'cancelled' else state end,
             finished_at = case state when 'queued' then now() end
         where o.operation_id = $1 and o.finished_at is null returning {COLUMNS}"
    )))
    .bind(id)
    .bind(who)
    .fetch_optional(connection)
    .await
}

/// Takes the oldest one of some kinds that no process carries out, also one whose process has been silent for half a minute.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn take(
    connection: &mut PgConnection,
    runner: &str,
    kinds: &[&str],
) -> sqlx::Result<Option<Operation>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "update core.operations o
         set state = 'running', runner = $1, seen_at = now(), started_at = coalesce(started_at, now())
         where o.operation_id = (
             select n.operation_id from core.operations n
             where n.finished_at is null and (n.state = 'queued' or n.seen_at < now() - interval '30 seconds')
                 and n.kind = any ($2)
             order by n.operation_id limit 1 for update skip locked)
         returning {COLUMNS}"
    )))
    .bind(runner)
    .bind(kinds)
    .fetch_optional(connection)
    .await
}

/// Operations of a lane that have not ended. Any progress changes one of these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Unfinished {
    /// Operations that no process has begun.
    pub queued: i64,
    /// Operations that a process has begun.
    pub running: i64,
    /// Rows and partitions that are done of them.
    pub rows: i64,
    /// Last sign of life of those on archives: a partition may take long.
    pub alive: Option<DateTime<Utc>>,
}

/// Counts of the operations that have not ended: of those on quarantine, and of those on archives.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn unfinished(connection: &mut PgConnection) -> sqlx::Result<Vec<Unfinished>> {
    sqlx::query_as(
        "select count(*) filter (where o.state = 'queued') as queued, count(*) filter (where o.state = 'running') as running,
             coalesce(sum(o.done + o.failed), 0)::bigint as rows, max(o.seen_at) filter (where lane.archives) as alive
         from (values (false), (true)) lane (archives)
         left join core.operations o on o.finished_at is null and (o.kind = any ($1)) = lane.archives
         group by lane.archives order by lane.archives",
    )
    .bind(&ARCHIVES[..])
    .fetch_all(connection)
    .await
}

/// Progress of an operation.
#[derive(Debug)]
pub struct Step<'a> {
    /// Rows, or partitions, done in all.
    pub done: i64,
    /// Rows that no queue took; partitions that stay as they were.
    pub failed: i64,
    /// The first of these rows or partitions.
    pub failures: &'a [Failure],
    /// Greatest row number that is done.
    pub after_id: i64,
    /// State, when it has ended.
    pub ended: Option<&'static str>,
    /// Reason of its failure.
    pub error: Option<&'a str>,
}

/// Writes down how far it has come. Nothing when another process has taken it over.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn step(
    connection: &mut PgConnection,
    id: i64,
    runner: &str,
    step: &Step<'_>,
) -> sqlx::Result<Option<Operation>> {
    sqlx::query_as(AssertSqlSafe(format!(
        "update core.operations o
         set done = $3, failed = $4, failures = $5, after_id = $6, seen_at = now(), state = coalesce($7, state), error = $8,
             finished_at = case when $7::text is not null then now() end
         where o.operation_id = $1 and o.runner = $2 and o.finished_at is null returning {COLUMNS}"
    )))
    .bind(id)
    .bind(runner)
    .bind(step.done)
    .bind(step.failed)
    .bind(Json(step.failures))
    .bind(step.after_id)
    .bind(step.ended)
    .bind(step.error)
    .fetch_optional(connection)
    .await
}
