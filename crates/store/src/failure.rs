//! Classes of database errors, and the reaction to each.

use std::io;
use std::time::Duration;

use rand::RngExt;
use sqlx::error::DatabaseError;

/// Class of an error, by the reaction that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// PostgreSQL refuses a value: the row goes to quarantine, the rest goes on.
    BadData,
    /// The same statement may succeed in a moment: it is retried.
    Transient,
    /// Database or broker is not there: consuming pauses, messages stay in the queue.
    Down,
    /// Schema, rights or program do not fit: consuming pauses until an operator repairs it.
    Broken,
}

impl Failure {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::BadData, Self::Transient, Self::Down, Self::Broken];

    /// Classifies an error of sqlx.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                Self::of_sqlstate(error.code().as_deref().unwrap_or(""), error.constraint())
            }
            // People repair certificates, so TLS is not listed here.
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Self::Down,
            // The stream is out of step: a new connection starts in step.
            sqlx::Error::Protocol(_) => Self::Transient,
            _ => Self::Broken,
        }
    }

    /// Classifies a SQLSTATE (PostgreSQL documentation, appendix A).
    fn of_sqlstate(code: &str, constraint: Option<&str>) -> Self {
        match (code, constraint) {
            // A missing partition has the code of a broken check, and names none.
            ("23514", None) => Self::Broken,
            // The checks on the platform's own ledger are no fault of the data.
            ("23514", Some("every_message_is_accounted_for" | "no_count_is_negative")) => {
                Self::Broken
            }
            // A read-only server is in the middle of a failover.
            ("25006" | "55P03" | "57014", _) => Self::Transient,
            _ => match code.get(..2) {
                Some("22" | "23" | "54") => Self::BadData,
                Some("40" | "53") => Self::Transient,
                Some("08" | "57") => Self::Down,
                _ => Self::Broken,
            },
        }
    }

    /// The remedy for an operator.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::BadData => "Look at raw.quarantine: the row and the constraint are there.",
            Self::Transient => "Nothing: it is retried. If it goes on, look for locks and load.",
            Self::Down => {
                "Start the server or repair the network; messages wait in the queue meanwhile."
            }
            Self::Broken => {
                "Run `worker doctor`; most often `worker migrate` was not run or a right is missing."
            }
        }
    }

    /// A short name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Transient => "transient",
            Self::Down => "down",
            Self::Broken => "broken",
        }
    }
}

/// Reason why a reachable server cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A standby.
    #[error(
        "this server is a standby: it only reads. Let DATABASE_URL lead to the primary, or name all servers in it \
         (postgres://user:password@a:5432,b:5432/database): the first that writes is taken"
    )]
    Standby,
    /// A primary that was made read-only.
    #[error(
        "this server only reads, although it is no standby: default_transaction_read_only is on, for the server, \
         the database or the role. Find out who set it, and why; a full disk is a common reason"
    )]
    ReadOnly,
    /// The server accepts the connection and closes it.
    #[error(
        "the connection was accepted and closed without a word of PostgreSQL: most often a proxy (HAProxy, a load \
         balancer) that has no primary to lead to, or a server that has just ended. Look whether there is a primary"
    )]
    HungUp,
}

impl Unfit {
    /// The `Unfit` in an error, if it is one.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Io(io) => io.get_ref()?.downcast_ref().copied(),
            _ => None,
        }
    }
}

impl From<Unfit> for sqlx::Error {
    /// The server is as good as down: a failover may be under way.
    fn from(unfit: Unfit) -> Self {
        Self::Io(io::Error::new(io::ErrorKind::NotConnected, unfit))
    }
}

/// The operator's action for an error: that of its class, unless more is known.
#[must_use]
pub fn remedy(error: &sqlx::Error) -> &'static str {
    let code = error.as_database_error().and_then(DatabaseError::code);
    if code.as_deref() == Some("25006") || Unfit::of(error).is_some() {
        return "Bring a primary back, or let DATABASE_URL lead to it: `worker doctor` says what answers there. \
                Messages wait in the queue meanwhile.";
    }
    Failure::of(error).remedy()
}

/// The text of an error, for logs and for /readyz: PostgreSQL's text without the value that it refused,
/// which may be personal data.
#[must_use]
pub fn describe(error: &sqlx::Error) -> String {
    let Some(database) = error.as_database_error() else {
        return error.to_string();
    };
    let code = database.code().unwrap_or_default();
    // In class 22 the text quotes the value; elsewhere only the detail does, which is not shown.
    if code.starts_with("22") {
        return format!("a value was refused by the database (SQLSTATE {code})");
    }
    format!("{} (SQLSTATE {code})", database.message())
}

/// Waiting times between attempts: doubling from 100 ms to 10 s, each drawn between half and
/// whole, so that many workers do not come back at the same instant.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next waiting time.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = (100_u64 << self.attempts.min(7)).min(10_000);
        self.attempts = self.attempts.saturating_add(1);
        Duration::from_millis(rand::rng().random_range(ceiling / 2..=ceiling))
    }

    /// Starts again from the shortest time.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Attempts since the last reset.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_fall_into_classes() {
        let of = |code| Failure::of_sqlstate(code, None);
        assert_eq!(of("22P02"), Failure::BadData);
        assert_eq!(of("23505"), Failure::BadData);
        assert_eq!(of("40P01"), Failure::Transient);
        assert_eq!(of("53300"), Failure::Transient);
        assert_eq!(of("57P01"), Failure::Down);
        assert_eq!(of("08006"), Failure::Down);
        assert_eq!(of("42P01"), Failure::Broken);
        let check = |constraint| Failure::of_sqlstate("23514", constraint);
        assert_eq!(check(Some("kwh_positive")), Failure::BadData);
        assert_eq!(
            check(Some("every_message_is_accounted_for")),
            Failure::Broken
        );
        assert_eq!(check(None), Failure::Broken);
    }

    #[test]
    fn a_server_that_only_reads_has_a_remedy_of_its_own() {
        for unfit in [Unfit::Standby, Unfit::ReadOnly, Unfit::HungUp] {
            let error = sqlx::Error::from(unfit);
            assert_eq!(Failure::of(&error), Failure::Down);
            assert!(remedy(&error).contains("primary"));
        }
        let error = crate::db::no_answer(Duration::ZERO);
        assert_eq!(remedy(&error), Failure::Down.remedy());
    }

    #[test]
    fn backoff_grows_and_is_bounded() {
        let mut backoff = Backoff::default();
        for attempt in 0..20 {
            let delay = backoff.next_delay();
            let ceiling = Duration::from_millis((100 << attempt.min(7)).min(10_000));
            assert!(delay >= ceiling / 2 && delay <= ceiling);
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
