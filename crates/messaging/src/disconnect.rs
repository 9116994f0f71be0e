//! Reasons for a lane to stop consuming, as labels of a metric.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// Reasons for an interruption of consuming.
pub const INTERRUPTED_BY: [&str; 8] = [
    "connection",
    "closed",
    "silence",
    "cancelled",
    "starved",
    "overflow",
    "database",
    "other",
];

/// Reasons to stop consuming that are neither an error of the broker nor of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// The queue was deleted, or its leader is gone.
    #[error("the broker cancelled the consumer")]
    Cancelled,
    /// The consumer gets nothing although messages are ready.
    #[error("messages are ready in the queue, but none is delivered")]
    Starved,
    /// Bodies became much larger than those seen before.
    #[error(
        "more than {0} bytes in flight: the messages go back to the queue, fewer are taken at a time"
    )]
    Overflow(usize),
    /// The channel that delivered is not there to acknowledge.
    #[error("the channel was lost before the acknowledgement; the broker delivers again")]
    Channel,
    /// The messages went back to the queue while the database was away.
    #[error("the database works again; consuming restarts")]
    Held,
}

impl DisconnectReason {
    /// The reason in an error of a lane, one of [`INTERRUPTED_BY`]. Errors of the database are the caller's to know.
    #[must_use]
    pub fn reason(error: &anyhow::Error) -> &'static str {
        if let Some(lost) = error.downcast_ref() {
            return match lost {
                Self::Cancelled => "cancelled",
                Self::Starved => "starved",
                Self::Overflow(_) => "overflow",
                Self::Channel => "connection",
                Self::Held => "database",
            };
        }
        if error.is::<tokio::time::error::Elapsed>() {
            return "silence";
        }
        match error.downcast_ref().map(lapin::Error::kind) {
            Some(ErrorKind::ProtocolError(_)) => "closed",
            Some(ErrorKind::MissingHeartbeatError) => "silence",
            Some(_) => "connection",
            None => "other",
        }
    }
}

/// Context of an error that concerns one queue only: no other process would
/// fare better, and the other queues are not concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("broker")]
pub struct Refused;

/// A queue that was declared with other arguments, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OtherArguments(pub String);

/// Whether the broker, which answers, does not let anybody consume a queue: it is not there, or its
/// node is down (404), another connection has it for itself (405), it has other arguments (406).
#[must_use]
pub fn is_of_the_queue(error: &anyhow::Error) -> bool {
    if error.is::<OtherArguments>() {
        return true;
    }
    let Some(ErrorKind::ProtocolError(refusal)) = error.downcast_ref().map(lapin::Error::kind)
    else {
        return false;
    };
    matches!(
        refusal.kind(),
        AMQPErrorKind::Soft(
            AMQPSoftError::NOTFOUND
                | AMQPSoftError::RESOURCELOCKED
                | AMQPSoftError::PRECONDITIONFAILED
        )
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn every_reason_stands_in_its_runbook() {
        let page = include_str!("../../../docs/runbooks/AcequiaConsumingInterrupted.md");
        for reason in INTERRUPTED_BY {
            assert!(page.contains(&format!("*{reason}*")), "{reason}");
        }
    }

    #[test]
    fn a_reason_is_found_under_what_was_said_on_top_of_it() {
        let of = |error: anyhow::Error| {
            let reason = DisconnectReason::reason(&error);
            assert!(INTERRUPTED_BY.contains(&reason));
            reason
        };
        assert_eq!(of(DisconnectReason::Starved.into()), "starved");
        let error = Err::<(), _>(DisconnectReason::Held).context("more");
        assert_eq!(of(error.unwrap_err().context("still more")), "database");
        let error = lapin::Error::from(ErrorKind::MissingHeartbeatError);
        assert_eq!(of(anyhow::Error::from(error).context("broker")), "silence");
        assert_eq!(of(anyhow::anyhow!("text")), "other");
    }
}
