//! Exchanges and queues: declaration and requests.

use std::time::Duration;

use anyhow::Context;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use tracing::warn;

use crate::{SecretUrl, broker};

/// The exchange that publishers send to.
pub const EXCHANGE: &str = "acequia";
/// The exchange for messages of the outbox; consumers bind their own queues to it.
pub const ALERTS: &str = "acequia.alerts";
/// The exchange for notices of refused messages, for their publishers.
pub const REJECTED: &str = "acequia.rejected";
/// Prefix of the names of the domains' queues.
const QUEUES: &str = "acequia.";
/// The queue of messages that the broker gave up.
pub const DEAD_QUEUE: &str = "acequia.dead";
/// Deliveries after which the broker gives a message up. A lost connection counts for every
/// message in flight, so it leaves room for a flapping network.
const DELIVERY_LIMIT: i64 = 50;
/// The limit of the queue of dead letters: so high that nothing reaches it. RabbitMQ 4 discards after
/// 20 deliveries where no limit is set; -1 means unlimited there and at most one delivery in 3.x.
pub const NO_LIMIT: i64 = 1_000_000_000;
/// Age and size up to which messages of the outbox are kept for later consumers.
const ALERTS_KEPT: &str = "7D";
const ALERTS_BYTES: i64 = 64 << 20;
/// How long the broker may take over one question. lapin's calls have no limit of their own: a
/// broker that falls silent in the middle of one would be waited for as long as the connection
/// lives, and longer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Time limit for closing a connection.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// An answer of the broker, or an error when none comes in time.
///
/// # Errors
/// The broker's error, or a timeout.
pub async fn answer<T>(question: impl Future<Output = lapin::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(ANSWER_WITHIN, question)
        .await
        .with_context(|| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))?
        .map_err(Into::into)
}

/// Closes a connection, for a limited time: a dead peer must not delay the end of a program.
pub async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSE_WITHIN, connection.close(200, "done".into())).await;
}

/// The queue of a domain.
#[must_use]
pub fn queue_of(domain: &str) -> String {
    format!("{QUEUES}{domain}")
}

/// Connects under a name that the broker shows, see [`broker::connect`].
///
/// # Errors
/// When the broker does not answer, refuses, or is not the one it should be.
pub async fn connect(url: &SecretUrl, name: &str) -> anyhow::Result<Connection> {
    let connected = broker::connect(url, name).await?;
    Ok(connected.connection)
}

/// The queues of a domain.
#[derive(Debug, Clone, Copy)]
pub struct DomainQueues<'a> {
    /// Name of the domain, from which follow its queue and its routing keys.
    pub domain: &'a str,
    /// Queue of the publishers of a reference system.
    pub legacy: Option<&'a str>,
}

impl DomainQueues<'_> {
    /// Names of the queues.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let legacy = self.legacy.map(ToOwned::to_owned);
        [Some(queue_of(self.domain)), legacy].into_iter().flatten()
    }
}

/// A queue that is there with other arguments than those it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Its name.
    pub queue: String,
    /// The difference, in the broker's words.
    pub difference: String,
}

impl Mismatch {
    /// The remedy.
    #[must_use]
    pub fn remedy(&self) -> String {
        let queue = &self.queue;
        if queue == DEAD_QUEUE {
            let pattern = queue.replace('.', r"\.");
            return format!(
                "Raise its limit: rabbitmqctl set_policy -p VHOST {queue} '^{pattern}$' '{{\"delivery-limit\":{NO_LIMIT}}}' --apply-to queues \
                (this check sees policies only with RABBITMQ_MANAGEMENT_URL). Or wait until the workers have emptied it, stop them, delete it, and start them: they declare it anew."
            );
        }
        format!(
            "Stop the publishers of {queue}, empty it with the worker that declared it, delete it, and start `worker run`: which declares it again."
        )
    }
}

/// Declares exchange and queues of the domains, and returns the queues that are there with other
/// arguments: they stay as they are. Declaring again is harmless.
///
/// # Errors
/// When the broker refuses a declaration for another reason.
pub async fn declare(
    connection: &Connection,
    domains: &[DomainQueues<'_>],
) -> anyhow::Result<Vec<Mismatch>> {
    let mut channel = answer(connection.create_channel()).await?;
    let exchange = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default;
    answer(channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, exchange, none()))
        .await
        .with_context(|| format!("exchange {EXCHANGE}"))?;
    let mut others = Vec::new();
    let legacy = domains.iter().filter_map(|queues| queues.legacy);
    let names = domains.iter().map(|queues| queue_of(queues.domain));
    let all = names.chain([DEAD_QUEUE.to_owned()]);
    for name in all.chain(legacy.map(ToOwned::to_owned)) {
        others.extend(declare_on(&channel, &name).await?);
        // A refusal closes the channel.
        if !channel.status().connected() {
            channel = answer(connection.create_channel()).await?;
        }
    }
    for DomainQueues { domain, .. } in domains {
        let name = queue_of(domain);
        let keys = format!("{domain}.#");
        let options = QueueBindOptions::default();
        answer(channel.queue_bind(
            name.as_str().into(),
            EXCHANGE.into(),
            keys.into(),
            options,
            none(),
        ))
        .await
        .with_context(|| format!("binding of {name}"))?;
    }
    answer(channel.close(200, "declared".into())).await?;
    declare_kept(connection, ALERTS).await?;
    Ok(others)
}

/// Declares one of the queues with its arguments.
///
/// A queue of a reference system lives on one node of a cluster. While that one is down the broker
/// does not find the queue; the other queues must not wait for it, and its own lane says so when it
/// consumes.
///
/// # Errors
/// When the broker refuses for another reason than the queue's arguments.
pub async fn declare_queue(
    connection: &Connection,
    name: &str,
) -> anyhow::Result<Option<Mismatch>> {
    let channel = answer(connection.create_channel()).await?;
    let other = declare_on(&channel, name).await?;
    if channel.status().connected() {
        answer(channel.close(200, "declared".into())).await?;
    }
    Ok(other)
}

/// The same on a channel, which a refusal closes.
async fn declare_on(channel: &Channel, name: &str) -> anyhow::Result<Option<Mismatch>> {
    let arguments = if name == DEAD_QUEUE {
        dead_queue()
    } else if name.starts_with(QUEUES) {
        domain_queue()
    } else {
        // As the old publishers declare it: another type would be refused to them.
        FieldTable::default()
    };
    let legacy = arguments.inner().is_empty();
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    match answer(channel.queue_declare(name.into(), durable, arguments)).await {
        Ok(_) => Ok(None),
        Err(error) if refused(&error, &AMQPSoftError::PRECONDITIONFAILED) => Ok(Some(Mismatch {
            queue: name.to_owned(),
            difference: format!("{error:#}"),
        })),
        Err(error) if legacy && refused(&error, &AMQPSoftError::NOTFOUND) => {
            warn!(event = "queue.unreachable", queue = name, %error, "its node may be down");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("queue {name}")),
    }
}

/// Declares an exchange of the outbox, and the stream of the same name that keeps its messages for a while.
/// If the broker refuses the stream, only listeners that are connected get the messages.
///
/// # Errors
/// When the broker refuses the exchange.
pub async fn declare_kept(connection: &Connection, exchange: &'static str) -> anyhow::Result<()> {
    let channel = answer(connection.create_channel()).await?;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare(
        exchange.into(),
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    answer(declared)
        .await
        .with_context(|| format!("exchange {exchange}"))?;
    answer(channel.close(200, "declared".into())).await?;
    if let Err(error) = declare_stream(connection, exchange).await {
        warn!(
            event = "queue.refused",
            queue = exchange,
            error = format!("{error:#}"),
            "nobody keeps the messages of this exchange"
        );
    }
    Ok(())
}

fn refused(error: &anyhow::Error, as_what: &AMQPSoftError) -> bool {
    let error = error.downcast_ref::<lapin::Error>().map(lapin::Error::kind);
    matches!(error, Some(ErrorKind::ProtocolError(error))
        if matches!(error.kind(), AMQPErrorKind::Soft(kind) if kind == as_what))
}

/// Keeps messages of the outbox: a broker counts a message that no queue takes as lost. A stream costs little,
/// forgets by age without calling that a loss, and is read from any point by any number of readers.
async fn declare_stream(connection: &Connection, name: &str) -> anyhow::Result<()> {
    let channel = answer(connection.create_channel()).await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("stream"));
    arguments.insert("x-max-age".into(), text(ALERTS_KEPT));
    arguments.insert(
        "x-max-length-bytes".into(),
        AMQPValue::LongLongInt(ALERTS_BYTES),
    );
    // A stream drops old messages by whole segments.
    arguments.insert(
        "x-stream-max-segment-size-bytes".into(),
        AMQPValue::LongLongInt(ALERTS_BYTES / 8),
    );
    answer(channel.queue_declare(name.into(), durable, arguments)).await?;
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    answer(channel.queue_bind(name.into(), name.into(), "#".into(), options, none)).await?;
    answer(channel.close(200, "declared".into())).await
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

/// No queue is behind this one: a message that left it by a limit would be gone.
fn dead_queue() -> FieldTable {
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(NO_LIMIT));
    arguments
}

/// Dead-lettering is part of the promise, so it stands in the arguments: a policy could be
/// missing. At-least-once needs `reject-publish`.
fn domain_queue() -> FieldTable {
    let mut arguments = quorum();
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(DELIVERY_LIMIT),
    );
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(DEAD_QUEUE));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
