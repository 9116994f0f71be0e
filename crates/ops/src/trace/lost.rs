//! Determines whether a message that is not found may have been lost in a failover.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use uuid::Uuid;

/// Acknowledged messages that the database lost at one time.
#[derive(Debug, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LostMessages {
    /// Their domain.
    pub domain: String,
    /// How many.
    pub messages: i64,
    /// When the first and the last of them were published, or acknowledged where that is not known.
    pub from: DateTime<Utc>,
    /// See `from`.
    pub until: DateTime<Utc>,
    /// When it was noticed.
    pub noticed_at: DateTime<Utc>,
    /// Timeline of the server that does not have them.
    pub timeline: Option<i32>,
}

/// Batches lost at the time when the message may have been under way. Ids that contain a time
/// (UUIDv7) are published soon after it.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn find(
    connection: &mut PgConnection,
    id: Option<Uuid>,
) -> sqlx::Result<Vec<LostMessages>> {
    const LOST: &str = r#"
        select domain, sum(messages)::bigint as messages, min(coalesce(oldest_published_at, acknowledged_at)) as "from",
               max(coalesce(newest_published_at, acknowledged_at)) as until, noticed_at, timeline
        from core.lost_batches
        group by domain, noticed_at, timeline
        having $1::timestamptz is null or $1 between min(coalesce(oldest_published_at, acknowledged_at)) - interval '1 hour'
            and max(acknowledged_at) + interval '1 hour'
        order by noticed_at desc limit 5"#;
    let made = id.and_then(acequia_contracts::envelope::time_of);
    sqlx::query_as(LOST).bind(made).fetch_all(connection).await
}
