//! A connection with its channel, reopened after any loss.

use std::fmt;
use std::time::Duration;

use acequia_net::{SecretUrl, broker};
use anyhow::Context as _;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind, Event, ExchangeKind};
use tokio::time::timeout;

use crate::outgoing::EXCHANGE;

/// Time limit for the broker until the channel is ready, once we are connected.
const OPENING: Duration = Duration::from_secs(10);
/// Time limit for closing a connection.
const CLOSING: Duration = Duration::from_secs(2);

/// Reason why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be read. The message does not repeat it: it holds a password.
    #[error(
        "not an AMQP URL: {0}; it has the form amqp://user:password@host:port/vhost, the vhost / written %2f"
    )]
    Url(String),
    /// The broker cannot be reached or refuses.
    #[error("cannot connect to {url}: {reason}")]
    Broker {
        /// The broker.
        url: Box<SecretUrl>,
        /// Its error.
        reason: String,
        /// Whether another attempt would fail for the same reason.
        lasting: bool,
    },
}

impl ConnectError {
    /// Whether another attempt may help.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Broker { lasting: false, .. })
    }
}

/// The broker of a URL: amqp:// or amqps://.
///
/// # Errors
/// If it is not such a URL. The error does not repeat it.
pub fn broker_url(text: &str) -> Result<SecretUrl, ConnectError> {
    SecretUrl::parse(text, broker::SCHEMES).map_err(|error| ConnectError::Url(format!("{error:#}")))
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
    pub(crate) async fn open(url: &SecretUrl, with_exchange: bool) -> Result<Self, ConnectError> {
        Self::try_open(url, with_exchange)
            .await
            .map_err(|error| ConnectError::Broker {
                url: Box::new(url.clone()),
                reason: error.to_string(),
                lasting: broker::is_lasting(&error)
                    || error.downcast_ref().and_then(soft).is_some(),
            })
    }

    async fn try_open(url: &SecretUrl, with_exchange: bool) -> anyhow::Result<Self> {
        let connection = broker::connect(url, "acequia-publisher").await?.connection;
        let events = connection.events_listener().boxed();
        let opening = async {
            if with_exchange {
                ensure_exchange(&connection).await?;
            }
            let channel = connection.create_channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            lapin::Result::Ok(channel)
        };
        let channel = timeout(OPENING, opening)
            .await
            .with_context(|| format!("no answer within {} s", OPENING.as_secs()))?
            .map_err(|error| {
                let why = broker::explain(&error);
                anyhow::Error::new(error).context(why)
            })?;
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

    /// Closes the connection, for a limited time.
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
