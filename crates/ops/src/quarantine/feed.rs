//! Feeds: notices of refused messages for publishers, switched by domain (ADR 53).

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

/// The feed of a domain.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
pub struct Feed {
    /// Domain.
    pub domain: String,
    /// Whether it is on.
    pub on: bool,
    /// Since when it is on.
    pub since: Option<DateTime<Utc>>,
    /// Who switched it on.
    pub by: Option<String>,
}

/// The feed of each domain.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn feeds(connection: &mut PgConnection) -> sqlx::Result<Vec<Feed>> {
    sqlx::query_as(
        r#"select d.domain, f.domain is not null as "on", f.started_at as since, f.started_by as by
        from (select distinct domain from core.entities) d
        left join core.rejection_feeds f on f.domain = d.domain and f.ended_at is null
        order by d.domain"#,
    )
    .fetch_all(connection)
    .await
}

/// Switches the feed of a domain; whether that changed it. Without a name the role of the database is recorded.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn switch_feed(
    connection: &mut PgConnection,
    domain: &str,
    on: bool,
    who: Option<&str>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar("select core.feed_rejections($1, $2, $3)")
        .bind(domain)
        .bind(on)
        .bind(who)
        .fetch_one(connection)
        .await
}
