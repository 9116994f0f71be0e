//! The quarantine rows of a message, with the actions of operators.

use acequia_contracts::envelope::Identity;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use uuid::Uuid;

use super::staged::Outcome;

/// A message in quarantine.
#[derive(Debug, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TracedQuarantine))]
pub struct Quarantined {
    /// Number for `worker quarantine`.
    pub quarantine_id: i64,
    /// Identity of the row.
    pub message_id: Uuid,
    /// Identity of the message, when another message has that as the identity of its row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Uuid>,
    /// Entity with its domain, or the domain alone when the entity is unknown.
    pub entity: String,
    /// Batch it arrived in.
    pub batch_id: i64,
    /// Queue.
    pub queue: String,
    /// Process that took it; null once the row of the batch is deleted.
    pub worker: Option<String>,
    /// `decode`, `contract`, `load`, `merge` or `broker`.
    pub stage: String,
    /// Stable reason.
    pub code: String,
    /// First offending field.
    pub field_path: Option<String>,
    /// The reason in words.
    pub message: String,
    /// All violations: code, path, message.
    pub violations: Value,
    /// PostgreSQL's code when it refused the row.
    pub sqlstate: Option<String>,
    /// How often the very same message arrived.
    pub occurrences: i32,
    /// First arrival.
    pub received_at: DateTime<Utc>,
    /// Last arrival.
    pub last_seen_at: DateTime<Utc>,
    /// `open`, `replayed`, `discarded` or `resolved`.
    pub status: String,
    /// When it was last replayed, discarded or resolved.
    pub resolved_at: Option<DateTime<Utc>>,
    /// By whom.
    pub resolved_by: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// Batch of the accepted message that resolved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_batch_id: Option<i64>,
    /// Bodies that took the place of the original.
    #[sqlx(skip)]
    pub versions: Vec<Version>,
    /// Replays, discards, edits.
    #[sqlx(skip)]
    pub history: Vec<Entry>,
    /// The original body, when values were asked for; bytes that are not UTF-8 are replaced.
    #[sqlx(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(skip)]
    original: Vec<u8>,
}

/// A body that an operator put in the place of the original.
#[derive(Debug, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TracedVersion))]
pub struct Version {
    /// From 1 on.
    pub version: i32,
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub by: String,
    /// Why.
    pub note: Option<String>,
}

/// Something that was done to the row.
#[derive(Debug, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TracedEntry))]
pub struct Entry {
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub who: String,
    /// `replay`, `discard` or `edit`.
    pub action: String,
    /// Why.
    pub reason: Option<String>,
}

/// The outcome of a message, by the status of its row in quarantine.
pub fn outcome(status: &str) -> Outcome {
    match status {
        "replayed" => Outcome::Replayed,
        "discarded" => Outcome::Discarded,
        "resolved" => Outcome::Resolved,
        _ => Outcome::Quarantined,
    }
}

const FIND: &str = "
select q.quarantine_id, q.message_id, q.identity, q.accepted_batch_id, concat_ws('.', q.domain, q.entity) as entity, q.batch_id, q.queue, b.worker,
       q.stage, q.code, q.field_path, q.message, q.violations, q.sqlstate, q.occurrences, q.received_at, q.last_seen_at,
       q.status, q.resolved_at, q.resolved_by, q.note, case when $3 then q.body else '' end as original
from raw.quarantine q
left join core.batches b on b.batch_id = q.batch_id
where (q.message_id = $1 and q.day = $2) or q.identity = $1
order by q.status <> 'open', q.quarantine_id desc";

const VERSIONS: &str = "
select v.version, v.at, v.by, v.note from raw.quarantine_versions v where v.quarantine_id = $1 order by v.version";

const HISTORY: &str = "
select l.at, l.who, l.action, l.reason from core.audit_log l where l.quarantine_ids @> array[$1] order by l.audit_id";

/// The rows of the messages of an identity: open ones first, then the newest. More than one when
/// several refused messages had the same id.
pub async fn find(
    connection: &mut PgConnection,
    identity: Identity,
    values: bool,
) -> sqlx::Result<Vec<Quarantined>> {
    let mut rows: Vec<Quarantined> = sqlx::query_as(FIND)
        .bind(identity.id)
        .bind(identity.day)
        .bind(values)
        .fetch_all(&mut *connection)
        .await?;
    for row in &mut rows {
        if values {
            row.body = Some(String::from_utf8_lossy(&row.original).into_owned());
        }
        row.versions = sqlx::query_as(VERSIONS)
            .bind(row.quarantine_id)
            .fetch_all(&mut *connection)
            .await?;
        row.history = sqlx::query_as(HISTORY)
            .bind(row.quarantine_id)
            .fetch_all(&mut *connection)
            .await?;
    }
    Ok(rows)
}
