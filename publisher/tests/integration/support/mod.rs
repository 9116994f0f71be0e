//! A virtual host of a real broker, with queues to look into.

mod proxy;

use std::time::Duration;

use acequia_contracts::{Domain, catalog};
use acequia_publisher::{EXCHANGE, Ids, Outgoing, messages};
use acequia_testkit::{Services, VirtualHost};
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

    /// Takes everything out of a queue: ends when nothing has come for half a second.
    pub async fn drain(&self, queue: &str) -> Vec<Delivery> {
        use futures_util::StreamExt as _;
        let options = BasicConsumeOptions::default();
        let mut consumer = self
            .channel
            .basic_consume(queue.into(), "drain".into(), options, FieldTable::default())
            .await
            .unwrap();
        let mut all = Vec::new();
        while let Ok(Some(delivery)) =
            tokio::time::timeout(Duration::from_millis(500), consumer.next()).await
        {
            let delivery = delivery.unwrap();
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
