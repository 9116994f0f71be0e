//! A virtual host of a real broker, with queues to look into.

mod proxy;

use std::time::Duration;

use acequia_contracts::{Domain, catalog};
use acequia_publisher::{EXCHANGE, Ids, Outgoing, messages};
use acequia_testkit::{Services, VirtualHost, wait_for};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

pub use proxy::Proxy;

/// A connection of the test's own, beside the publisher's.
pub struct Broker {
    pub host: VirtualHost,
    pub channel: Channel,
    _connection: Connection,
}

impl Broker {
    pub async fn start() -> Self {
        let services = Services::shared().await.unwrap();
        let host = VirtualHost::create(services).await.unwrap();
        let connection = Connection::connect(&host.url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self {
            host,
            channel,
            _connection: connection,
        }
    }

    pub fn url(&self) -> &str {
        &self.host.url
    }

    /// Declares a quorum queue that takes messages with these routing keys.
    pub async fn bind(&self, queue: &str, keys: &[&str]) {
        self.declare(
            queue,
            &[("x-queue-type", AMQPValue::LongString("quorum".into()))],
        )
        .await;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let none = FieldTable::default;
        self.channel
            .exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, none())
            .await
            .unwrap();
        for key in keys {
            let options = QueueBindOptions::default();
            self.channel
                .queue_bind(
                    queue.into(),
                    EXCHANGE.into(),
                    (*key).into(),
                    options,
                    none(),
                )
                .await
                .unwrap();
        }
    }

    pub async fn declare(&self, queue: &str, arguments: &[(&str, AMQPValue)]) {
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        self.channel
            .queue_declare(queue.into(), durable, table)
            .await
            .unwrap();
    }

    /// Messages that are ready in a queue; those that were confirmed are.
    async fn messages(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        self.channel
            .queue_declare(queue.into(), passive, FieldTable::default())
            .await
            .unwrap()
            .message_count()
    }

    /// Waits until a queue has at least that many messages.
    pub async fn holds(&self, queue: &str, messages: u32) {
        wait_for("messages in a queue", async || {
            Ok(self.messages(queue).await >= messages)
        })
        .await
        .unwrap();
    }

    /// Takes everything out of a queue, as many messages as are in it now.
    pub async fn drain(&self, queue: &str) -> Vec<Delivery> {
        use futures_util::StreamExt as _;
        let count = self.messages(queue).await as usize;
        let mut all = Vec::with_capacity(count);
        if count == 0 {
            return all;
        }
        let options = BasicConsumeOptions::default();
        let mut consumer = self
            .channel
            .basic_consume(queue.into(), "drain".into(), options, FieldTable::default())
            .await
            .unwrap();
        while all.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(60), consumer.next());
            let delivery = next.await.expect("a message that was counted");
            let delivery = delivery.unwrap().unwrap();
            delivery
                .acker
                .ack(BasicAckOptions::default())
                .await
                .unwrap();
            all.push(delivery);
        }
        self.channel
            .basic_cancel("drain".into(), Default::default())
            .await
            .unwrap();
        all
    }
}

/// A domain that has a generator.
pub fn domain() -> &'static Domain {
    let mut domains = catalog().iter();
    domains.find(|domain| domain.generator.is_some()).unwrap()
}

/// Everything of that domain.
pub fn all_keys() -> String {
    format!("{}.#", domain().name)
}

/// Some thousand messages of it.
pub fn some_messages(options: &[&str]) -> Vec<Outgoing> {
    messages(domain().name, options, Ids::Fresh).unwrap()
}

/// The message id of a delivery.
pub fn id(delivery: &Delivery) -> String {
    let id = delivery.properties.message_id();
    id.as_ref().unwrap().to_string()
}
