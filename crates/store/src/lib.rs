//! The database: sessions to a server that writes, what its errors mean, and the platform's calls as
//! typed functions.

pub mod acknowledged;
pub mod clock;
pub mod db;
pub mod failpoint;
pub mod failure;
pub mod housekeeping;
pub mod marts;
pub mod observations;
pub mod outbox;
pub mod pauses;
pub mod pool;
pub mod pooler;
pub mod promotion;
pub mod quality;
pub mod staging;
pub mod state;
pub mod ticks;
pub mod wakes;

use std::time::Duration;

use sqlx::postgres::types::PgInterval;

/// A time span as PostgreSQL takes it.
#[must_use]
pub fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
        ..PgInterval::default()
    }
}
