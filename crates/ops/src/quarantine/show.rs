//! Quarantine rows with all their columns.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::Page;
use super::filters::{Filters, statement};
use super::revision::REVISION;

/// Rows of a page unless the filters say otherwise.
const ROWS: u32 = 20;

/// A body as text, or in base64 if it is not text.
#[derive(Debug, Serialize)]
#[serde(tag = "encoding", content = "body", rename_all = "lowercase")]
pub enum Body {
    /// As text.
    #[serde(rename = "utf-8")]
    Text(String),
    /// In base64.
    Base64(String),
}

/// A body as it is documented: callers who may not see payloads get neither.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(as = QuarantineBody)]
#[allow(dead_code)]
pub struct DocumentedBody {
    /// The body, as `encoding` says; not for callers who may not see payloads.
    #[schema(required = false)]
    body: String,
    /// `utf-8` or `base64`; not for callers who may not see payloads.
    #[schema(required = false)]
    encoding: String,
}

impl sqlx::Type<Postgres> for Body {
    fn type_info() -> PgTypeInfo {
        <Vec<u8> as sqlx::Type<Postgres>>::type_info()
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for Body {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let bytes = <Vec<u8> as sqlx::Decode<'r, Postgres>>::decode(value)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(STANDARD.encode(error.as_bytes())),
        })
    }
}

/// A row with its body, its versions and its history.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuarantineMessage))]
pub struct Whole {
    /// Number of the row.
    pub quarantine_id: i64,
    /// Identity of the row.
    pub message_id: Uuid,
    /// Identity of the message, when it is not that of the row.
    pub identity: Option<Uuid>,
    /// Batch it arrived in.
    pub batch_id: i64,
    /// Domain.
    pub domain: String,
    /// Entity, if it is known.
    pub entity: Option<String>,
    /// Queue it came from.
    pub queue: String,
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
    /// Code of PostgreSQL, when it refused the row.
    pub sqlstate: Option<String>,
    /// Version of the contract that judged it.
    pub contract_version: i32,
    /// The same for the same domain, entity, code and field.
    pub fingerprint: String,
    /// How often the very same message arrived.
    pub occurrences: i32,
    /// How often it was sent again.
    pub replays: i32,
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
    pub accepted_batch_id: Option<i64>,
    /// AMQP properties and headers; not for callers who may not see payloads.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub properties: Value,
    /// The body as it came.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = DocumentedBody))]
    pub body: Body,
    /// Bodies that took the place of the original; not for callers who may not see payloads.
    #[sqlx(skip)]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub versions: Vec<Version>,
    /// Changes with every state of the row that an edit can start from (the value of its `ETag`).
    #[serde(skip)]
    pub revision: String,
    /// Replays, discards, edits.
    #[sqlx(skip)]
    pub history: Vec<Entry>,
}

/// A body that took the place of the original.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuarantineVersion))]
pub struct Version {
    /// From 1 on.
    pub version: i32,
    /// By whom.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub note: Option<String>,
    /// The body.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = DocumentedBody))]
    pub body: Body,
}

/// Something that was done to the row.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuarantineEntry))]
pub struct Entry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub who: String,
    /// Role of the database.
    pub login: String,
    /// `replay`, `discard` or `edit`.
    pub action: String,
    /// Why.
    pub reason: Option<String>,
    /// Rows that it was done to at once.
    pub row_count: i32,
}

/// The rows that match, whole, the newest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn show(connection: &mut PgConnection, filters: &Filters) -> sqlx::Result<Page<Whole>> {
    let mut query = QueryBuilder::<Postgres>::new(format!(
        "select q.*, {REVISION} as revision from raw.quarantine q where true"
    ));
    filters.conditions(&mut query);
    query.push(" order by q.quarantine_id desc limit ");
    let limit = filters.limit(ROWS);
    query.push_bind(limit + 1);
    let rows: Vec<Whole> = statement(&mut query).fetch_all(&mut *connection).await?;
    let mut page = Page::cut(rows, limit);
    for row in &mut page.rows {
        row.versions = sqlx::query_as(
            "select v.* from raw.quarantine_versions v where v.quarantine_id = $1 order by v.version",
        )
        .bind(row.quarantine_id)
        .fetch_all(&mut *connection)
        .await?;
        row.history = sqlx::query_as(
            "select l.* from core.audit_log l where l.quarantine_ids @> array[$1] order by l.audit_id",
        )
        .bind(row.quarantine_id)
        .fetch_all(&mut *connection)
        .await?;
    }
    Ok(page)
}
