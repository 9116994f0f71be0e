//! A connection with its channel, made anew after any loss.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event, ExchangeKind};
use tokio::time::timeout;

use crate::outgoing::EXCHANGE;

/// How long the broker may take until the channel is ready.
const OPENING: Duration = Duration::from_secs(10);
/// How long a good-bye may take.
const CLOSING: Duration = Duration::from_secs(2);
/// Seconds between heartbeats; a dead peer is noticed after two of them.
const HEARTBEAT: u16 = 10;

/// An AMQP URL. It shows itself without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(AMQPUri);

impl FromStr for BrokerUrl {
    type Err = ConnectError;

    fn from_str(url: &str) -> Result<Self, ConnectError> {
        // The parser's own errors may repeat the URL, password and all.
        let mut uri: AMQPUri = url.trim().parse().map_err(|_| ConnectError::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Ok(Self(uri))
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri {
            scheme,
            authority,
            vhost,
            ..
        } = &self.0;
        let user = &authority.userinfo.username;
        let (host, port) = (&authority.host, authority.port);
        write!(f, "{scheme}://{user}:***@{host}:{port} (vhost {vhost})")
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be read. The message does not repeat it: it holds a password.
    #[error(
        "not an AMQP URL; it has the form amqp://user:password@host:port/vhost, the vhost / written %2f"
    )]
    Url,
    /// The broker cannot be reached or refuses.
    #[error("cannot connect to {url}: {reason}")]
    Broker {
        /// The broker.
        url: BrokerUrl,
        /// What it said.
        reason: String,
    },
}

/// A connection that publishes.
pub(crate) struct Link {
    pub(crate) channel: Channel,
    pub(crate) events: BoxStream<'static, Event>,
    connection: Connection,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, opens a channel with confirms, and makes sure that the exchange is there.
    pub(crate) async fn open(url: &BrokerUrl, with_exchange: bool) -> Result<Self, ConnectError> {
        let refuse = |reason: String| ConnectError::Broker {
            url: url.clone(),
            reason,
        };
        match timeout(OPENING, Self::try_open(url, with_exchange)).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(refuse(explain(&error))),
            Err(_) => Err(refuse("no answer within 10 s".to_owned())),
        }
    }

    async fn try_open(url: &BrokerUrl, with_exchange: bool) -> lapin::Result<Self> {
        let properties =
            ConnectionProperties::default().with_connection_name("acequia-publisher".into());
        let connection = Connection::connect_uri(url.0.clone(), properties).await?;
        let events = connection.events_listener().boxed();
        if with_exchange {
            ensure_exchange(&connection).await?;
        }
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            channel,
            events,
            connection,
        })
    }

    /// Why the broker takes no messages at the moment, or that it takes them again (`None`), if
    /// it said so since the last call.
    pub(crate) fn news(&mut self) -> Option<Option<String>> {
        let mut news = None;
        while let Some(Some(event)) = self.events.next().now_or_never() {
            match event {
                Event::ConnectionBlocked(reason) => news = Some(Some(reason)),
                Event::ConnectionUnblocked => news = Some(None),
                _ => {}
            }
        }
        news
    }

    /// Says good-bye, but does not insist.
    pub(crate) async fn close(self) {
        let _ = timeout(CLOSING, self.connection.close(200, "done".into())).await;
    }
}

/// The exchange is declared only if it is missing: a user who may do nothing but publish is
/// allowed to look, not to declare. A failed look closes the channel, so it gets its own.
async fn ensure_exchange(connection: &Connection) -> lapin::Result<()> {
    let declare = async |passive| {
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions {
            passive,
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let kind = ExchangeKind::Topic;
        channel
            .exchange_declare(EXCHANGE.into(), kind, options, FieldTable::default())
            .await?;
        channel.close(200, "declared".into()).await
    };
    match declare(true).await {
        Err(error) if soft(&error) == Some(AMQPSoftError::NOTFOUND) => declare(false).await,
        result => result,
    }
}

/// The code with which the broker closed a channel, if that is what happened.
pub(crate) fn soft(error: &lapin::Error) -> Option<AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

/// The error in words that say what to do.
pub(crate) fn explain(error: &lapin::Error) -> String {
    let ErrorKind::ProtocolError(refusal) = error.kind() else {
        return error.to_string();
    };
    let hint = match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            " (check user, password and permissions)"
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => " (check the vhost)",
        _ => "",
    };
    format!("{}{hint}", refusal.get_message())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_never_shows_its_password() {
        let url: BrokerUrl = "amqp://app:s3cret@broker:5673/%2f".parse().unwrap();
        let shown = "amqp://app:***@broker:5673 (vhost /)";
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), shown);
        for wrong in ["s3cret", "http://app:s3cret@broker", "amqp:s3cret", ""] {
            let error = wrong.parse::<BrokerUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn heartbeats_are_on_unless_the_url_says_otherwise() {
        let heartbeat = |url: &str| url.parse::<BrokerUrl>().unwrap().0.query.heartbeat;
        assert_eq!(heartbeat("amqp://broker"), Some(HEARTBEAT));
        assert_eq!(heartbeat("amqp://broker?heartbeat=30"), Some(30));
    }
}
