//! Staged messages, with their batch and the parent that they wait for.

use acequia_contracts::Entity;
use acequia_contracts::envelope::Identity;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection};
use sqlx_macros::FromRow;
use uuid::Uuid;

use super::away::Away;
use super::core_row::CoreRow;

/// Maximum number of versions of one key that a trace shows; the newest ones.
const VERSIONS: i64 = 200;

/// Outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MessageOutcome))]
pub enum Outcome {
    /// Waits for promotion.
    Staged,
    /// Waits for the row it refers to.
    Pending,
    /// The core shows it.
    Current,
    /// The core shows a newer version of its key.
    Superseded,
    /// It deleted its key, and no newer message brought the key back.
    Deleted,
    /// In quarantine.
    Quarantined,
    /// Was in quarantine and sent again; the new copy has not been seen.
    Replayed,
    /// In quarantine, given up by an operator.
    Discarded,
    /// Was in quarantine; a message of the same id was accepted after it.
    Resolved,
    /// Was merged, but the core has neither it nor a newer version: the row was deleted by hand.
    NotInCore,
    /// Was merged, and the range of its key is archived, with it or a newer version.
    Archived,
    /// Was merged, and the range of its key was archived and purged.
    Purged,
    /// Nothing is known of it.
    Unknown,
}

/// The batch that a message came in.
#[derive(Debug, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Batch {
    /// Its number.
    pub batch_id: i64,
    /// Queue; null once the row of the batch is deleted, after two hours at the earliest.
    pub queue: Option<String>,
    /// Process that took it.
    pub worker: Option<String>,
    /// When it was staged.
    pub received_at: Option<DateTime<Utc>>,
    /// `staged` or `promoted`.
    pub state: Option<String>,
    /// When its rows were merged.
    pub promoted_at: Option<DateTime<Utc>>,
}

/// A row that waits for another one.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Waits {
    /// Missing entity.
    pub parent: String,
    /// Its key.
    pub parent_key: String,
    /// Waiting since.
    pub since: DateTime<Utc>,
    /// The parent has come; the next merge takes the row.
    pub ready: bool,
}

/// A message in staging.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Staged {
    /// Its outcome.
    pub outcome: Outcome,
    /// Entity, with its domain.
    pub entity: String,
    /// Its identity.
    pub message_id: Uuid,
    /// Key columns and their values.
    pub key: Value,
    /// Staging table.
    pub table: &'static str,
    /// Event time.
    pub event_at: DateTime<Utc>,
    /// When the publisher sent it.
    pub published_at: Option<DateTime<Utc>>,
    /// From there to staging, in seconds.
    pub lag_s: Option<f64>,
    /// Its batch.
    pub batch: Batch,
    /// The row that it waits for.
    pub pending: Option<Waits>,
    /// Its fields, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub values: Option<Box<RawValue>>,
}

#[derive(FromRow)]
struct Row {
    message_id: Uuid,
    event_at: DateTime<Utc>,
    published_at: Option<DateTime<Utc>>,
    ts_ingesta: DateTime<Utc>,
    key: Value,
    fields: String,
    #[sqlx(flatten)]
    batch: Batch,
    parent: Option<String>,
    parent_key: Option<String>,
    since: Option<DateTime<Utc>>,
    ready: Option<bool>,
    expired: Option<String>,
}

/// Columns and joins of every look into a staging table, of which `rows` are wanted; `$1` is the
/// full name of the entity.
fn select(entity: &Entity, rows: &str) -> String {
    let key = entity.key.iter().map(|name| format!("'{name}', s.{name}"));
    let fields = entity
        .columns
        .iter()
        .map(|column| format!("'{0}', s.{0}", column.name));
    format!(
        "select s.message_id, s.event_at, s.published_at, s.ts_ingesta,
                jsonb_build_object({}) as key, json_build_object({})::text as fields,
                s.batch_id, b.queue, b.worker, b.received_at, b.state, b.promoted_at,
                p.parent, p.parent_key, p.since, p.ready, q.status as expired
         from (select * from {} s where {rows}) s
         left join core.batches b on b.batch_id = s.batch_id
         left join core.pending p on p.entity = $1 and p.message_id = s.message_id and p.day = s.day
         left join raw.quarantine q on q.message_id = s.message_id and q.day = s.day
             and q.stage = 'merge' and q.last_seen_at >= s.ts_ingesta and q.domain || '.' || q.entity = $1",
        key.collect::<Vec<_>>().join(", "),
        fields.collect::<Vec<_>>().join(", "),
        entity.staging
    )
}

/// The statement that finds a message: `$1` full name of the entity, `$2` id, `$3` day. It
/// touches one partition, by its primary key.
#[must_use]
pub fn by_id(entity: &Entity) -> String {
    select(entity, "s.message_id = $2 and s.day = $3")
}

/// The statement that finds the versions of a key: `$1` full name of the entity, `$2`... the
/// parts of the key as text. It reads the whole staging table, which has no index on keys.
#[must_use]
pub fn by_key(entity: &Entity) -> String {
    let parts = (2..).zip(entity.key).map(|(number, name)| {
        let column = entity.columns.iter().find(|column| column.name == *name);
        let sql = column.map_or("text", |column| column.kind.sql());
        format!("s.{name} = ${number}::{sql}")
    });
    let newest = format!(
        "{} order by s.event_at desc, s.message_id desc limit {VERSIONS}",
        parts.collect::<Vec<_>>().join(" and ")
    );
    select(entity, &newest) + " order by s.event_at, s.message_id"
}

/// A message of an entity, if it is in staging; the caller finds its outcome in the core.
pub async fn find(
    connection: &mut PgConnection,
    entity: &Entity,
    identity: Identity,
    values: bool,
) -> sqlx::Result<Option<Staged>> {
    let row: Option<Row> = sqlx::query_as(AssertSqlSafe(by_id(entity)))
        .bind(full_name(entity))
        .bind(identity.id)
        .bind(identity.day)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| row.staged(entity, values)))
}

/// The newest versions of a key, the newest last.
pub async fn versions(
    connection: &mut PgConnection,
    entity: &Entity,
    key: &[String],
    values: bool,
) -> sqlx::Result<Vec<Staged>> {
    let statement = by_key(entity);
    let mut query = sqlx::query_as(AssertSqlSafe(statement)).bind(full_name(entity));
    for part in key {
        query = query.bind(part);
    }
    let rows: Vec<Row> = query.fetch_all(connection).await?;
    Ok(rows
        .into_iter()
        .map(|row| row.staged(entity, values))
        .collect())
}

/// `<domain>.<entity>`
pub fn full_name(entity: &Entity) -> String {
    format!("{}.{}", entity.domain, entity.name)
}

impl Row {
    fn staged(self, entity: &Entity, values: bool) -> Staged {
        let waits = |parent| {
            Some(Waits {
                parent,
                parent_key: self.parent_key?,
                since: self.since?,
                ready: self.ready?,
            })
        };
        let pending = self.parent.and_then(waits);
        let staged_at = self.batch.received_at.unwrap_or(self.ts_ingesta);
        Staged {
            outcome: match (
                self.batch.state.as_deref(),
                &pending,
                self.expired.as_deref(),
            ) {
                (Some("staged"), ..) => Outcome::Staged,
                (_, Some(_), _) => Outcome::Pending,
                (_, _, Some(status)) => super::quarantine::outcome(status),
                _ => Outcome::NotInCore,
            },
            entity: full_name(entity),
            message_id: self.message_id,
            key: self.key,
            table: entity.staging,
            event_at: self.event_at,
            published_at: self.published_at,
            lag_s: self.published_at.map(|at| seconds(at, staged_at)),
            batch: self.batch,
            pending,
            values: values
                .then(|| RawValue::from_string(self.fields).ok())
                .flatten(),
        }
    }
}

impl Staged {
    /// Determines the outcome, once the core's row of its key is known, or where its range is.
    pub fn judge(&mut self, core: Option<&CoreRow>, away: Option<&Away>) {
        let Some(core) = core else {
            if self.outcome == Outcome::NotInCore
                && let Some(away) = away
            {
                self.outcome = match away.state.as_str() {
                    "purged" => Outcome::Purged,
                    _ => Outcome::Archived,
                };
            }
            return;
        };
        if core.message_id == self.message_id {
            self.outcome = match core.deleted_at {
                Some(_) => Outcome::Deleted,
                None => Outcome::Current,
            };
        } else if self.outcome == Outcome::NotInCore
            && (core.event_at, core.message_id) > (self.event_at, self.message_id)
        {
            self.outcome = Outcome::Superseded;
        }
    }
}

/// Seconds from one instant to another.
pub fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64()
}
