//! Rows of the quarantine without their long columns.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::Page;
use super::filters::{Filters, statement};

/// Rows of a page unless the filters say otherwise.
const ROWS: u32 = 100;

/// A row.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuarantineRow))]
pub struct Row {
    /// Number of the row.
    pub quarantine_id: i64,
    /// Identity of the row.
    pub message_id: Uuid,
    /// Identity of the message, when it is not that of the row.
    pub identity: Option<Uuid>,
    /// Domain.
    pub domain: String,
    /// Entity, if it is known.
    pub entity: Option<String>,
    /// Program that published it.
    pub app_id: Option<String>,
    /// `decode`, `contract`, `load`, `merge` or `broker`.
    pub stage: String,
    /// Stable reason.
    pub code: String,
    /// First offending field.
    pub field_path: Option<String>,
    /// The reason in words.
    pub message: String,
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
    /// The same for the same domain, entity, code and field.
    pub fingerprint: String,
}

/// The rows that match, the newest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(connection: &mut PgConnection, filters: &Filters) -> sqlx::Result<Page<Row>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select q.*, q.properties ->> 'app_id' as app_id from raw.quarantine q where true",
    );
    filters.conditions(&mut query);
    query.push(" order by q.quarantine_id desc limit ");
    let limit = filters.limit(ROWS);
    query.push_bind(limit + 1);
    let rows = statement(&mut query).fetch_all(connection).await?;
    Ok(Page::cut(rows, limit))
}
