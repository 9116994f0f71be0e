//! Reasons for the loss of a connection or channel.

use std::fmt;

use lapin::protocol::AMQPSoftError;

use acequia_net::broker::explain;

use crate::link::soft;

/// Reason why a window cannot be used any more.
#[derive(Debug)]
pub(crate) enum Loss {
    /// The connection is gone.
    Connection(String),
    /// No answer within the time that a confirm may take.
    Silence,
    /// The broker refuses everything on this channel.
    Refusal,
    /// The broker closed the channel over something that was published.
    Channel(String),
    /// The user may not publish.
    Forbidden(String),
}

impl Loss {
    /// Every reason, as metrics name it.
    pub(crate) const REASONS: [&str; 5] =
        ["connection", "silence", "refusal", "channel", "forbidden"];

    /// The reason, as metrics name it.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Silence => "silence",
            Self::Refusal => "refusal",
            Self::Channel(_) => "channel",
            Self::Forbidden(_) => "forbidden",
        }
    }
}

impl From<&lapin::Error> for Loss {
    fn from(error: &lapin::Error) -> Self {
        let why = explain(error);
        match soft(error) {
            // The exchange is gone; it is declared again with the connection.
            None | Some(AMQPSoftError::NOTFOUND) => Self::Connection(why),
            Some(AMQPSoftError::ACCESSREFUSED) => Self::Forbidden(why),
            Some(_) => Self::Channel(why),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(why) => write!(f, "connection lost: {why}"),
            Self::Silence => f.write_str("no confirm in time"),
            Self::Refusal => f.write_str("the broker refuses everything; trying a new connection"),
            Self::Channel(why) => write!(f, "the broker closed the channel: {why}"),
            Self::Forbidden(why) => write!(f, "the broker forbids it: {why}"),
        }
    }
}
