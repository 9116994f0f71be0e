//! Publishes messages and returns the broker's answer to each.

use acequia_net::SecretUrl;
use acequia_net::topology::{answer, close, connect};
use anyhow::Context;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Connection};

use super::message::Quarantined;

/// What the broker made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A queue has it, on disk.
    Confirmed,
    /// It did not take it; why.
    Refused(String),
}

/// A connection that publishes.
pub struct Sender {
    connection: Connection,
    channel: Channel,
}

impl Sender {
    /// Connects.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub async fn connect(url: &SecretUrl) -> anyhow::Result<Self> {
        let connection = connect(url, "acequia-worker replay").await?;
        let channel = answer(connection.create_channel()).await?;
        answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self {
            connection,
            channel,
        })
    }

    /// Publishes messages and waits for what becomes of them, in their order. When the broker is
    /// lost on the way the list is shorter, and the error says why: the others may or may not
    /// have arrived.
    pub async fn send(&self, messages: &[Quarantined]) -> (Vec<Outcome>, anyhow::Result<()>) {
        let mut outcomes = Vec::with_capacity(messages.len());
        let sent = self.publish(messages, &mut outcomes).await;
        (outcomes, sent)
    }

    async fn publish(
        &self,
        messages: &[Quarantined],
        outcomes: &mut Vec<Outcome>,
    ) -> anyhow::Result<()> {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let mut pending = Vec::with_capacity(messages.len());
        let mut routes = Vec::with_capacity(messages.len());
        for message in messages {
            let route = message.route();
            let publish = self.channel.basic_publish(
                ShortString::try_new(route.exchange.as_str())?,
                ShortString::try_new(route.key.as_str())?,
                mandatory,
                &message.body,
                message.properties(),
            );
            pending.push(answer(publish).await.context("publishing")?);
            routes.push(route);
        }
        for (confirm, route) in pending.into_iter().zip(routes) {
            outcomes.push(
                match answer(confirm).await.context("waiting for confirms")? {
                    Confirmation::Ack(None) => Outcome::Confirmed,
                    Confirmation::Ack(Some(_)) => Outcome::Refused(format!(
                        "no queue takes it: exchange '{}', routing key '{}'",
                        route.exchange, route.key
                    )),
                    Confirmation::Nack(_) => Outcome::Refused("the broker refused it".to_owned()),
                    Confirmation::NotRequested => anyhow::bail!("the broker does not confirm"),
                },
            );
        }
        Ok(())
    }

    /// Says good-bye.
    pub async fn close(self) {
        close(&self.connection).await;
    }
}
