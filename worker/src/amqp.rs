//! The broker: connection and topology.

use std::time::Duration;

use acequia_contracts::Domain;
use acequia_link::{SecretUrl, broker};
use anyhow::Context;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Connection, ErrorKind, ExchangeKind};
use tracing::warn;

/// The exchange that publishers send to.
pub const EXCHANGE: &str = "acequia";
/// The exchange that messages of the core's own go to; whoever wants them binds a queue to it.
pub const ALERTS: &str = "acequia.alerts";
/// Where the broker puts messages that it gave up.
pub const DEAD_QUEUE: &str = "acequia.dead";
/// Deliveries after which the broker gives a message up. A lost connection counts for every
/// message in flight, so it leaves room for a flapping network.
const DELIVERY_LIMIT: i64 = 50;
/// How long the broker may take over one question. lapin's calls have no limit of their own: a
/// broker that falls silent in the middle of one would be waited for as long as the connection
/// lives, and longer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a good-bye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// An answer of the broker, or an error when none comes in time.
///
/// # Errors
/// What the broker answers, or that it did not.
pub async fn answer<T>(question: impl Future<Output = lapin::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(ANSWER_WITHIN, question)
        .await
        .with_context(|| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))?
        .map_err(Into::into)
}

/// Says good-bye, but does not insist: a dead peer must not keep anybody from stopping.
pub async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSE_WITHIN, connection.close(200, "done".into())).await;
}

/// The queue of a domain.
#[must_use]
pub fn queue_of(domain: &str) -> String {
    format!("acequia.{domain}")
}

/// Connects, see [`broker::connect`].
///
/// # Errors
/// When the broker does not answer, refuses, or is not the one it should be.
pub async fn connect(url: &SecretUrl, name: &str) -> anyhow::Result<Connection> {
    let connected = broker::connect(url, &format!("acequia-worker {name}")).await?;
    Ok(connected.connection)
}

/// Declares exchange and queues of the domains. Declaring again is harmless; a queue that is
/// there with other arguments is an error that names it.
///
/// # Errors
/// When the broker refuses a declaration.
pub async fn declare(connection: &Connection, domains: &[&Domain]) -> anyhow::Result<()> {
    let channel = answer(connection.create_channel()).await?;
    let exchange = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default;
    answer(channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, exchange, none()))
        .await
        .with_context(|| format!("exchange {EXCHANGE}"))?;
    let queue = async |name: &str, arguments| {
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        answer(channel.queue_declare(name.into(), durable, arguments))
            .await
            .with_context(|| mismatch(name))
    };
    queue(DEAD_QUEUE, quorum()).await?;
    for domain in domains {
        let name = queue_of(domain.name);
        queue(&name, domain_queue()).await?;
        let keys = format!("{}.#", domain.name);
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
    declare_alerts(connection).await?;
    for legacy in domains.iter().filter_map(|domain| domain.legacy_queue) {
        declare_legacy(connection, legacy).await?;
    }
    Ok(())
}

/// Declares the exchange of the core's own messages.
///
/// # Errors
/// When the broker refuses.
pub async fn declare_alerts(connection: &Connection) -> anyhow::Result<()> {
    let channel = answer(connection.create_channel()).await?;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare(
        ALERTS.into(),
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    answer(declared)
        .await
        .with_context(|| format!("exchange {ALERTS}"))?;
    answer(channel.close(200, "declared".into())).await
}

/// Declared as the old publishers declare it: another type would be refused to them. Such a queue
/// lives on one node of a cluster. While that one is down the broker does not find the queue; the
/// other queues must not wait for it, and its own lane says so when it consumes.
async fn declare_legacy(connection: &Connection, name: &str) -> anyhow::Result<()> {
    let channel = answer(connection.create_channel()).await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    match answer(channel.queue_declare(name.into(), durable, FieldTable::default())).await {
        Ok(_) => answer(channel.close(200, "declared".into())).await,
        Err(error) if is_not_found(&error) => {
            warn!(event = "queue.unreachable", queue = name, %error, "its node may be down");
            Ok(())
        }
        Err(error) => Err(error).with_context(|| mismatch(name)),
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<lapin::Error>().map(lapin::Error::kind);
    matches!(error, Some(ErrorKind::ProtocolError(error))
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}

fn mismatch(queue: &str) -> String {
    format!("queue {queue}: if it exists with other arguments, drain it, delete it and start again")
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
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
