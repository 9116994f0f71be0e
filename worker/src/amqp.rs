//! The broker: connection, topology, consumer, as one unit that is made anew after any loss.

use std::time::Duration;

use acequia_contracts::Domain;
use anyhow::Context;
use lapin::options::{
    BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};

use crate::config::SecretUrl;

/// The exchange that publishers send to.
pub const EXCHANGE: &str = "acequia";
/// Where the broker puts messages that it gave up.
pub const DEAD_QUEUE: &str = "acequia.dead";
/// Deliveries after which the broker gives a message up. A lost connection counts for every
/// message in flight, so it leaves room for a flapping network.
const DELIVERY_LIMIT: i64 = 50;

/// The queue of a domain.
#[must_use]
pub fn queue_of(domain: &str) -> String {
    format!("acequia.{domain}")
}

/// Connects within ten seconds, with a heartbeat of ten.
///
/// # Errors
/// When the broker does not answer or refuses.
pub async fn connect(url: &SecretUrl, name: &str) -> anyhow::Result<Connection> {
    let mut uri: url::Url = url.expose().parse()?;
    if !uri.query_pairs().any(|(key, _)| key == "heartbeat") {
        uri.query_pairs_mut().append_pair("heartbeat", "10");
    }
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("acequia-worker {name}").into());
    tokio::time::timeout(
        Duration::from_secs(10),
        Connection::connect(uri.as_str(), properties),
    )
    .await
    .context("no answer within 10 s")?
    .context("the broker refused the connection")
}

/// Declares exchange and queues of the domains. Declaring again is harmless; a queue that is
/// there with other arguments is an error that names it.
///
/// # Errors
/// When the broker refuses a declaration.
pub async fn declare(connection: &Connection, domains: &[&Domain]) -> anyhow::Result<()> {
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .exchange_declare(
            EXCHANGE.into(),
            ExchangeKind::Topic,
            ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            },
            FieldTable::default(),
        )
        .await
        .with_context(|| format!("exchange {EXCHANGE}"))?;
    channel
        .queue_declare(DEAD_QUEUE.into(), durable, quorum())
        .await
        .with_context(|| mismatch(DEAD_QUEUE))?;
    for domain in domains {
        let queue = queue_of(domain.name);
        channel
            .queue_declare(queue.as_str().into(), durable, domain_queue())
            .await
            .with_context(|| mismatch(&queue))?;
        channel
            .queue_bind(
                queue.as_str().into(),
                EXCHANGE.into(),
                format!("{}.#", domain.name).into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .with_context(|| format!("binding of {queue}"))?;
        if let Some(legacy) = domain.legacy_queue {
            // Declared as the old publishers declare it: another type would be refused to them.
            channel
                .queue_declare(legacy.into(), durable, FieldTable::default())
                .await
                .with_context(|| mismatch(legacy))?;
        }
    }
    channel.close(200, "declared".into()).await?;
    Ok(())
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

/// A consumer with the connection and channel that it lives on.
pub struct Source {
    /// Deliveries.
    pub consumer: Consumer,
    channel: Channel,
    connection: Connection,
}

impl Source {
    /// Connects, declares, sets the prefetch and starts to consume.
    ///
    /// # Errors
    /// When any of these fails.
    pub async fn open(
        url: &SecretUrl,
        domains: &[&Domain],
        queue: &str,
        prefetch: u16,
    ) -> anyhow::Result<Self> {
        let connection = connect(url, queue).await?;
        declare(&connection, domains).await?;
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await
            .context("prefetch")?;
        let consumer = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .with_context(|| format!("consuming from {queue}"))?;
        Ok(Self {
            consumer,
            channel,
            connection,
        })
    }

    /// Closes channel and connection; what is unacknowledged goes back to the queue.
    pub async fn close(self) {
        let closing = async {
            let _ = self.channel.close(200, "stopping".into()).await;
            let _ = self.connection.close(200, "stopping".into()).await;
        };
        // A dead peer must not keep the worker from stopping.
        let _ = tokio::time::timeout(Duration::from_secs(5), closing).await;
    }
}
