//! Counts quarantine rows by cause.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::Page;
use super::filters::{Filters, statement};

/// Causes of a page unless the filters say otherwise.
const GROUPS: u32 = 1_000;

/// Rows of the same cause.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
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

/// How many rows there are of each cause, the most open first. Of what it reads, `quarantine_by_group` has everything; so do
/// the filters but stage, id, publisher and text.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn stats(connection: &mut PgConnection, filters: &Filters) -> sqlx::Result<Page<Group>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select g.domain, coalesce(g.entity, '(unknown)') as entity, g.code, g.field_path, min(g.fingerprint) as fingerprint,
                coalesce(sum(g.rows) filter (where g.status = 'open'), 0)::bigint as open,
                coalesce(sum(g.rows) filter (where g.status = 'replayed'), 0)::bigint as replayed,
                coalesce(sum(g.rows) filter (where g.status = 'discarded'), 0)::bigint as discarded,
                coalesce(sum(g.rows) filter (where g.status = 'resolved'), 0)::bigint as resolved,
                sum(g.occurrences)::bigint as occurrences, min(g.first_seen_at) as first_seen_at, max(g.last_seen_at) as last_seen_at
         from (
            select q.domain, q.entity, q.code, q.field_path, q.status, min(q.fingerprint) as fingerprint, count(*) as rows,
                   sum(q.occurrences) as occurrences, min(q.received_at) as first_seen_at, max(q.last_seen_at) as last_seen_at
            from raw.quarantine q where true",
    );
    filters.conditions(&mut query);
    query.push(
        " group by q.domain, q.entity, q.code, q.field_path, q.status) g
         group by g.domain, g.entity, g.code, g.field_path order by open desc, occurrences desc, 1, 2, 3, 4",
    );
    let limit = filters.limit(GROUPS);
    query.push(" limit ").push_bind(limit + 1);
    let groups = statement(&mut query).fetch_all(connection).await?;
    Ok(Page::cut(groups, limit))
}
