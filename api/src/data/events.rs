//! Events: written by operations and gates, read by the event stream.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use utoipa::ToSchema;

/// An event.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub struct Event {
    /// Its number, by which a listener resumes; null for a state, which is always the newest.
    pub event_id: Option<i64>,
    /// When.
    pub at: DateTime<Utc>,
    /// `operations`, `gates` or `streams`.
    pub topic: String,
    /// Domain that it is about; null when it is about several.
    pub domain: Option<String>,
    /// What happened.
    pub data: Value,
}

/// Writes an event.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn write(
    connection: &mut PgConnection,
    topic: &str,
    domain: Option<&str>,
    data: &Value,
) -> sqlx::Result<()> {
    sqlx::query("insert into core.api_events (topic, domain, data) values ($1, $2, $3)")
        .bind(topic)
        .bind(domain)
        .bind(data)
        .execute(connection)
        .await?;
    Ok(())
}

/// The number of the last event; 0 when there is none.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn last(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select coalesce(max(event_id), 0) from core.api_events")
        .fetch_one(connection)
        .await
}

/// The number of the last event that is older than some seconds; 0 when there is none.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn last_before(connection: &mut PgConnection, seconds: f64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(max(event_id), 0) from core.api_events where at < now() - make_interval(secs => $1)",
    )
    .bind(seconds)
    .fetch_one(connection)
    .await
}

/// Events after a number, in order; of all topics if the list is empty.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn after(
    connection: &mut PgConnection,
    after: i64,
    topics: &[String],
    limit: i64,
) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as(
        "select e.event_id, e.at, e.topic, e.domain, e.data from core.api_events e
         where e.event_id > $1 and ($2::text[] = '{}' or e.topic = any ($2)) order by e.event_id limit $3",
    )
    .bind(after)
    .bind(topics)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Deletes events from which no listener resumes any more.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn clean(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("delete from core.api_events where at < now() - interval '1 day'")
        .execute(connection)
        .await?;
    Ok(())
}

/// The state of every stream, each as an event.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn state(connection: &mut PgConnection) -> sqlx::Result<Vec<Event>> {
    let streams = acequia_ops::streams::list(&mut *connection, None).await?;
    let accounts = acequia_ops::reconciliation::list(&mut *connection, None).await?;
    let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(connection)
        .await?;
    let events = streams.into_iter().map(|stream| {
        let accounts: Vec<_> = accounts
            .iter()
            .filter(|account| account.domain == stream.domain)
            .collect();
        Event {
            event_id: None,
            at: now,
            topic: "streams".to_owned(),
            domain: Some(stream.domain.clone()),
            data: json!({"stream": stream, "accounts": accounts}),
        }
    });
    Ok(events.collect())
}
