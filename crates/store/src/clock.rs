//! The clock for validating dates: the database's, which all workers share. The clock of one machine
//! may be wrong by days, and may jump while it runs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tracing::{info, warn};

use crate::failpoint;

/// A machine whose clock is further off than this is named.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// Validity of a reading: in that time the steady clock of a machine strays by milliseconds.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// The database's clock, read now and then and carried on by the machine's steady clock in between.
#[derive(Debug, Default)]
pub struct Clock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reading: Option<Reading>,
    /// Whether the machine's clock is off, and a log line has reported it.
    off: bool,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    database: DateTime<Utc>,
    at: Instant,
}

impl Reading {
    fn now(self) -> DateTime<Utc> {
        self.database + self.at.elapsed()
    }
}

impl Clock {
    /// The time by the database's clock; by the machine's before the first reading.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let reading = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reading;
        reading.map_or_else(machine, Reading::now)
    }

    /// How far the machine's clock is ahead of the database's; zero before the first reading.
    #[must_use]
    pub fn ahead(&self) -> TimeDelta {
        machine() - self.now()
    }

    /// Reads the database's clock, unless that was done just now. Says so once when the machine's is off,
    /// and when it is right again.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    pub async fn read(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let is_new = |reading: Reading| reading.at.elapsed() < GOOD_FOR;
        if self.with(|state| state.reading.is_some_and(is_new)) {
            return Ok(());
        }
        let reading = ask(connection).await?;
        let ahead = machine() - reading.now();
        let told = self.with(|state| {
            state.reading = Some(reading);
            std::mem::replace(&mut state.off, is_off(ahead))
        });
        let ahead_s = ahead.as_seconds_f64();
        match (told, is_off(ahead)) {
            (false, true) => warn!(
                event = "clock.off",
                ahead_s,
                "this machine's clock differs from the database's by more than a minute: set it; dates of messages are judged by the database's"
            ),
            (true, false) => info!(
                event = "clock.right",
                ahead_s, "this machine's clock is right again"
            ),
            _ => {}
        }
        Ok(())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How far this machine's clock is ahead of the database's.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn ahead(connection: &mut PgConnection) -> sqlx::Result<TimeDelta> {
    Ok(machine() - ask(connection).await?.now())
}

/// Whether a clock that is ahead, or behind, by this much must be corrected.
#[must_use]
pub fn is_off(ahead: TimeDelta) -> bool {
    ahead.abs() > TOLERANCE
}

/// The time of the database's clock, also inside of a transaction.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn now(connection: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(connection)
        .await
}

/// The answer was made somewhere between question and answer: in the middle, as far as one can know.
async fn ask(connection: &mut PgConnection) -> sqlx::Result<Reading> {
    let asked = Instant::now();
    let database = now(connection).await?;
    Ok(Reading {
        database,
        at: asked + asked.elapsed() / 2,
    })
}

/// The machine's own clock.
fn machine() -> DateTime<Utc> {
    Utc::now() + failpoint::clock()
}
