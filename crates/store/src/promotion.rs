//! From staging to the core.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// What makes promotion fast where it is not.
pub const SLOW_REMEDY: &str =
    "as superuser: grant set on parameter session_replication_role to acequia_worker";

/// What a promotion did for one entity.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct Promoted {
    /// Entity.
    pub entity: String,
    /// New core rows.
    pub inserted: i64,
    /// Changed core rows.
    pub updated: i64,
    /// Newer versions with the same values.
    pub unchanged: i64,
    /// Superseded versions.
    pub stale: i64,
    /// Change in the number of rows that wait for a parent.
    pub pending: i64,
    /// Batches in the promotion.
    pub batches: i32,
    /// Publish time of the oldest message in it.
    pub oldest_published_at: Option<DateTime<Utc>>,
    /// Keys that are gone.
    pub deleted: i64,
    /// Rows that the core refused, which are in quarantine now.
    #[sqlx(default)]
    pub refused: i64,
}

impl Promoted {
    /// Rows that are done: all but those that wait for a parent.
    #[must_use]
    pub const fn rows(&self) -> i64 {
        self.inserted + self.updated + self.unchanged + self.deleted + self.stale
    }
}
