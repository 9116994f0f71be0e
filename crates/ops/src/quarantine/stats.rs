//! Counts quarantine rows by cause.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::Page;
use super::filters::Filters;

/// Causes of a page unless the filters say otherwise.
const GROUPS: u32 = 1_000;

/// Rows of the same cause.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuarantineGroup))]
pub struct Group {
    /// Domain.
    pub domain: String,
    /// Entity; (unknown) for messages without one.
    pub entity: String,
    /// Stable reason.
    pub code: String,
    /// First offending field.
    pub field_path: Option<String>,
    /// The same for the same domain, entity, code and field.
    pub fingerprint: String,
    /// Open rows.
    pub open: i64,
    /// Rows sent again.
    pub replayed: i64,
    /// Rows given up.
    pub discarded: i64,
    /// Rows of which a copy was accepted.
    pub resolved: i64,
    /// Arrivals.
    pub occurrences: i64,
    /// First arrival.
    pub first_seen_at: DateTime<Utc>,
    /// Last arrival.
    pub last_seen_at: DateTime<Utc>,
}

/// How many rows there are of each cause, the most open first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn stats(connection: &mut PgConnection, filters: &Filters) -> sqlx::Result<Page<Group>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select q.domain, coalesce(q.entity, '(unknown)') as entity, q.code, q.field_path, min(q.fingerprint) as fingerprint,
                count(*) filter (where q.status = 'open') as open,
                count(*) filter (where q.status = 'replayed') as replayed,
                count(*) filter (where q.status = 'discarded') as discarded,
                count(*) filter (where q.status = 'resolved') as resolved,
                sum(q.occurrences)::bigint as occurrences, min(q.received_at) as first_seen_at, max(q.last_seen_at) as last_seen_at
         from raw.quarantine q where true",
    );
    filters.conditions(&mut query);
    query.push(" group by q.domain, q.entity, q.code, q.field_path order by open desc, occurrences desc, 1, 2, 3, 4");
    let limit = filters.limit(GROUPS);
    query.push(" limit ").push_bind(limit + 1);
    let groups = query.build_query_as().fetch_all(connection).await?;
    Ok(Page::cut(groups, limit))
}
