//! Messages as our own publisher would never send them.

use std::collections::VecDeque;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use uuid::Uuid;

use crate::kinds::DOMAIN;

/// A message.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Its id.
    pub id: Uuid,
    /// Entity that routing key and type name.
    pub entity: &'static str,
    /// The bytes.
    pub body: Vec<u8>,
    /// Publish time in the header, in microseconds.
    pub published_at: Option<i64>,
}

/// Publishes messages and waits until the broker has all of them. For scenarios that leave the
/// broker alone: nothing is sent again.
///
/// # Errors
/// When the broker refuses one, or no queue takes it.
pub async fn publish(url: &str, messages: &[Raw]) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut confirms = VecDeque::new();
    for message in messages {
        let name = format!("{DOMAIN}.{}", message.entity);
        let mut properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(message.id.to_string().into())
            .with_type(name.as_str().into());
        if let Some(at) = message.published_at {
            let mut headers = FieldTable::default();
            headers.insert("x-published-at".into(), AMQPValue::LongLongInt(at));
            let seconds = u64::try_from(at / 1_000_000)?;
            properties = properties.with_headers(headers).with_timestamp(seconds);
        }
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirm = channel
            .basic_publish(
                "acequia".into(),
                name.as_str().into(),
                options,
                &message.body,
                properties,
            )
            .await?;
        confirms.push_back(confirm);
        if confirms.len() > 1000
            && let Some(oldest) = confirms.pop_front()
        {
            check(&oldest.await?)?;
        }
    }
    for confirm in confirms {
        check(&confirm.await?)?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

fn check(confirm: &Confirmation) -> anyhow::Result<()> {
    // An acknowledgement with a message inside is one that no queue took.
    anyhow::ensure!(*confirm == Confirmation::Ack(None), "refused: {confirm:?}");
    Ok(())
}
