//! Quarantined messages and the actions of operators on them.

mod discard;
mod feed;
mod filters;
mod list;
mod mark;
mod message;
mod replay;
mod restore;
mod revision;
mod send;
mod show;
mod stats;
mod undo;

use serde::Serialize;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use filters::statement;

pub use discard::{discard, discard_some};
pub use feed::{Feed, feeds, switch_feed};
pub use filters::{Filters, Id, Status};
pub use list::{Row, list};
pub use mark::Actor;
pub use replay::{
    BrokerLost, Edit, EditOfSeveral, Failed, Job, LeftOut, Report, Stale, replay, replay_some,
};
pub use restore::{restore, restore_some};
pub use revision::{Revised, revised};
pub use send::Sender;
pub use show::{Body, Entry, Version, Whole, show};
pub use stats::{Group, stats};
pub use undo::undo_some;

/// Progress of an action on many rows, in the order of their numbers.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Number of the last row that was looked at, or of the last entry of the audit log that was undone; 0 before the first.
    pub after: i64,
    /// Rows that may still be taken.
    pub left: i64,
}

impl Progress {
    /// At the beginning of everything that matches.
    #[must_use]
    pub fn begin(filters: &Filters) -> Self {
        Self {
            after: 0,
            left: filters.limit(u32::MAX),
        }
    }
}

/// The first rows of those that match.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether there are more than the limit let through.
    pub more: bool,
}

impl<T> Page<T> {
    /// Cuts the row off that was read only to learn whether there are more than `limit`.
    fn cut(mut rows: Vec<T>, limit: i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        Self { rows, more }
    }
}

/// Rows of the same kind that an action would be done to.
#[derive(Debug, Serialize, sqlx_macros::FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Would {
    /// Domain.
    pub domain: String,
    /// Entity; (unknown) for messages without one.
    pub entity: String,
    /// Code.
    pub code: String,
    /// How many.
    pub rows: i64,
}

/// Counts the rows that an action would change.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn dry_run(connection: &mut PgConnection, filters: &Filters) -> sqlx::Result<Vec<Would>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select r.domain, r.entity, r.code, count(*) as rows from (
            select q.domain, coalesce(q.entity, '(unknown)') as entity, q.code from raw.quarantine q where true",
    );
    filters.conditions(&mut query);
    query.push(" order by q.quarantine_id");
    if let Some(limit) = filters.limit {
        query.push(" limit ").push_bind(i64::from(limit));
    }
    query.push(") r group by r.domain, r.entity, r.code order by count(*) desc, r.domain, r.entity, r.code");
    statement(&mut query).fetch_all(connection).await
}
