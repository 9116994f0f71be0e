//! Messages as publishers send them.

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, LongString};
use lapin::{BasicProperties, Confirmation};
use uuid::Uuid;

use super::Platform;

/// A message and where it goes.
#[derive(Debug, Clone)]
pub struct Message {
    pub exchange: &'static str,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Message {
    /// Through the exchange, with type and a new id, as our own publisher sends it.
    pub fn new(domain: &str, entity: &str, body: impl Into<Vec<u8>>) -> Self {
        let name = format!("{domain}.{entity}");
        Self {
            exchange: acequia_net::topology::EXCHANGE,
            properties: BasicProperties::default()
                .with_message_id(Uuid::now_v7().to_string().into())
                .with_type(name.as_str().into()),
            routing_key: name,
            body: body.into(),
        }
    }

    /// Straight into a queue, without id and type, as a reference system's publisher sends it.
    pub fn straight(queue: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            exchange: "",
            routing_key: queue.to_owned(),
            properties: BasicProperties::default(),
            body: body.into(),
        }
    }

    /// Under another id.
    pub fn with_id(mut self, id: &str) -> Self {
        self.properties = self.properties.with_message_id(id.into());
        self
    }

    /// The id it was given.
    pub fn id(&self) -> &str {
        let id = self.properties.message_id().as_ref();
        id.expect("a message with an id").as_str()
    }
}

/// A text as a header has it.
pub fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

impl Platform {
    /// Publishes messages in their order and waits until the broker has all of them.
    pub async fn publish_all<'a>(&self, messages: impl IntoIterator<Item = &'a Message>) {
        let (connection, channel) = self.channel().await;
        let mut confirms = Vec::new();
        for message in messages {
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let confirm = channel
                .basic_publish(
                    message.exchange.into(),
                    message.routing_key.as_str().into(),
                    options,
                    &message.body,
                    message.properties.clone().with_delivery_mode(2),
                )
                .await
                .unwrap();
            confirms.push(confirm);
        }
        for confirm in confirms {
            let confirm = confirm.await.unwrap();
            // A confirm that contains a message: no queue took the message, so it was returned.
            assert_eq!(confirm, Confirmation::Ack(None));
        }
        acequia_net::topology::close(&connection).await;
    }
}
