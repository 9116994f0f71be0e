//! The summary of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::outgoing::Outgoing;

/// Failed messages that are named one by one; the rest is counted only.
const NAMED_FAILURES: usize = 3;

/// The messages of one entity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages that the broker has.
    pub confirmed: u64,
    /// Messages that were given up.
    pub failed: u64,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its id, unless it has none.
    pub message_id: Option<Uuid>,
    /// Line that it was read from, if it was.
    pub line: Option<u64>,
    /// `<domain>.<entity>`.
    pub entity: String,
    /// Why.
    pub reason: String,
}

/// Outcome of all messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Messages that the broker has.
    pub confirmed: u64,
    /// Their body bytes.
    pub bytes: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Publishes that came back because no queue takes them.
    pub returned: u64,
    /// Publishes that the broker refused.
    pub nacked: u64,
    /// Publishes beyond the first of a message.
    pub retried: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// By `<domain>.<entity>`.
    pub entities: BTreeMap<String, Counts>,
    /// Messages that were given up, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first of them.
    pub failures: Vec<Failure>,
    /// Reason why the run ended before all messages were taken, if it did.
    pub stopped: Option<String>,
    /// Last line that was taken from a file: those behind it were not sent.
    pub last_line: Option<u64>,
    /// Duration of the run.
    pub seconds: f64,
    /// Confirmed messages per second.
    pub rate: f64,
}

impl Summary {
    /// Whether the broker has every message.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.stopped.is_none()
    }

    pub(crate) fn confirm(&mut self, entity: &str, bytes: usize) {
        self.confirmed += 1;
        self.bytes += bytes as u64;
        self.count(entity, |counts| counts.confirmed += 1);
    }

    pub(crate) fn fail(&mut self, message: &Outgoing, reason: &str) {
        let entity = &message.route.label;
        self.failed += 1;
        self.count(entity, |counts| counts.failed += 1);
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
        if self.failures.len() < NAMED_FAILURES {
            self.failures.push(Failure {
                message_id: message.id,
                line: message.line,
                entity: entity.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }

    pub(crate) fn lasted(&mut self, time: Duration) {
        self.seconds = (time.as_secs_f64() * 1000.0).round() / 1000.0;
        self.rate = (self.confirmed as f64 / time.as_secs_f64().max(1e-9)).round();
    }

    fn count(&mut self, entity: &str, add: impl FnOnce(&mut Counts)) {
        match self.entities.get_mut(entity) {
            Some(counts) => add(counts),
            None => add(self.entities.entry(entity.to_owned()).or_default()),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "confirmed {} messages (returned {}, nacked {}, retried {}) in {:.1} s, {:.0} msg/s",
            self.confirmed, self.returned, self.nacked, self.retried, self.seconds, self.rate
        )?;
        if self.failed > 0 {
            write!(f, "; {} not confirmed", self.failed)?;
        }
        Ok(())
    }
}
