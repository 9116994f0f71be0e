//! A connection that publishes in waves and knows the broker's answer to each message.
//!
//! A confirm says that the broker has a message, unless the message came back as unroutable
//! before. lapin hands a returned message to whichever confirm it completes next, and completes
//! the confirms of one answer in no order. So the returns of a wave are matched to its messages
//! by what they are, once every confirm is there; copies need not be distinguished.

use futures_util::FutureExt as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};

use crate::SecretUrl;
use crate::topology::{answer, close, connect};

/// A message that some queue has to take.
#[derive(Debug, Clone)]
pub struct Mandatory {
    /// Exchange; empty for straight into a queue.
    pub exchange: ShortString,
    /// Routing key, or the queue.
    pub key: ShortString,
    /// Properties.
    pub properties: BasicProperties,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Mandatory {
    fn is(&self, returned: &Returned) -> bool {
        returned.exchange == self.exchange
            && returned.key == self.key
            && returned.message_id == *self.properties.message_id()
            && returned.body == self.body
    }
}

/// The broker's answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A queue has it, on disk.
    Confirmed,
    /// No queue takes it.
    Returned,
    /// A queue refused it, as a full one does.
    Refused,
    /// The connection was lost before it was known.
    Unknown,
}

/// The result of a confirm.
#[derive(Debug)]
struct Verdict {
    acked: bool,
    /// Of this message or of another of the wave.
    returned: Option<Returned>,
}

#[derive(Debug)]
struct Returned {
    exchange: ShortString,
    key: ShortString,
    message_id: Option<ShortString>,
    body: Vec<u8>,
}

/// A connection and its channel, on which the broker confirms.
#[derive(Debug)]
pub struct Confirming {
    connection: Connection,
    channel: Channel,
}

impl Confirming {
    /// Takes over a connection: opens a channel and asks for confirms.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn on(connection: Connection) -> anyhow::Result<Self> {
        let channel = answer(connection.create_channel()).await?;
        answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self {
            connection,
            channel,
        })
    }

    /// Connects under a name that the broker shows.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn open(url: &SecretUrl, name: &str) -> anyhow::Result<Self> {
        Self::on(connect(url, name).await?).await
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The connection.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether the connection is there, whatever became of the channel.
    #[must_use]
    pub fn has_connection(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether messages can be sent.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.channel.status().connected() && self.has_connection()
    }

    /// Publishes messages, waits for what becomes of them, and answers for each in their order. With
    /// an error the channel cannot be used again, and what it left open is [`Answer::Unknown`].
    ///
    /// One task at a time does this: a second wave would take the returns of the first.
    pub async fn publish(&self, messages: &[Mandatory]) -> (Vec<Answer>, anyhow::Result<()>) {
        let mut pending = Vec::with_capacity(messages.len());
        let mut sent = Ok(());
        for message in messages {
            match answer(self.send(message)).await {
                Ok(confirm) => pending.push(confirm),
                Err(error) => {
                    sent = Err(error.context("publishing"));
                    break;
                }
            }
        }
        let mut verdicts = Vec::with_capacity(messages.len());
        for mut confirm in pending {
            // After a failure, what has come is taken and nothing is waited for.
            let came = match &sent {
                Ok(()) => Some(answer(&mut confirm).await),
                Err(_) => (&mut confirm)
                    .now_or_never()
                    .map(|came| came.map_err(Into::into)),
            };
            verdicts.push(match came {
                Some(Ok(confirmation)) => Some(verdict(confirmation)),
                Some(Err(error)) => {
                    if sent.is_ok() {
                        sent = Err(error.context("waiting for confirms"));
                    }
                    None
                }
                None => None,
            });
        }
        verdicts.resize_with(messages.len(), || None);
        (answers(messages, verdicts), sent)
    }

    async fn send(&self, message: &Mandatory) -> lapin::Result<PublisherConfirm> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let (exchange, key) = (message.exchange.clone(), message.key.clone());
        let properties = message.properties.clone();
        (self.channel)
            .basic_publish(exchange, key, options, &message.body, properties)
            .await
    }

    /// Closes the connection: what was written and not sent yet must not arrive later.
    pub async fn close(&self) {
        close(&self.connection).await;
    }
}

fn verdict(confirmation: Confirmation) -> Verdict {
    Verdict {
        acked: confirmation.is_ack(),
        returned: confirmation.take_message().map(|message| Returned {
            exchange: message.delivery.exchange,
            key: message.delivery.routing_key,
            message_id: message.delivery.properties.message_id().clone(),
            body: message.delivery.data,
        }),
    }
}

/// The answer to each message of a wave, from what its confirms brought. When some are missing, a
/// confirm that carried the return of another leaves its own message open: its return may have
/// been next.
fn answers(messages: &[Mandatory], verdicts: Vec<Option<Verdict>>) -> Vec<Answer> {
    let whole = verdicts.iter().all(Option::is_some);
    let mut answers: Vec<Answer> = (verdicts.iter())
        .map(|verdict| match verdict {
            None => Answer::Unknown,
            Some(Verdict { acked: false, .. }) => Answer::Refused,
            Some(Verdict { returned, .. }) if returned.is_some() && !whole => Answer::Unknown,
            Some(_) => Answer::Confirmed,
        })
        .collect();
    for returned in verdicts
        .into_iter()
        .flatten()
        .filter_map(|verdict| verdict.returned)
    {
        let owner = (answers.iter().zip(messages))
            .position(|(answer, message)| *answer != Answer::Returned && message.is(&returned));
        if let Some(owner) = owner {
            answers[owner] = Answer::Returned;
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: u8) -> Mandatory {
        Mandatory {
            exchange: "farm".into(),
            key: "cow".into(),
            properties: BasicProperties::default(),
            body: vec![name],
        }
    }

    /// A confirm that brings the return of a message.
    fn ack(returned: Option<u8>) -> Option<Verdict> {
        let returned = returned.map(message).map(|message| Returned {
            exchange: message.exchange,
            key: message.key,
            message_id: None,
            body: message.body,
        });
        Some(Verdict {
            acked: true,
            returned,
        })
    }

    fn of(names: &[u8], verdicts: Vec<Option<Verdict>>) -> Vec<Answer> {
        let messages: Vec<_> = names.iter().copied().map(message).collect();
        answers(&messages, verdicts)
    }

    #[test]
    fn a_return_finds_its_message_with_any_confirm() {
        use Answer::{Confirmed, Returned};
        for verdicts in [
            vec![ack(Some(2)), ack(None), ack(None)],
            vec![ack(None), ack(Some(2)), ack(None)],
            vec![ack(None), ack(None), ack(Some(2))],
        ] {
            assert_eq!(of(&[1, 2, 3], verdicts), [Confirmed, Returned, Confirmed]);
        }
        let crossed = vec![ack(Some(3)), ack(None), ack(Some(1))];
        assert_eq!(of(&[1, 2, 3], crossed), [Returned, Confirmed, Returned]);
    }

    #[test]
    fn copies_are_returned_one_by_one() {
        use Answer::{Confirmed, Returned};
        let both = vec![ack(Some(1)), ack(Some(1))];
        assert_eq!(of(&[1, 1], both), [Returned, Returned]);
        let one = vec![ack(None), ack(Some(1))];
        assert_eq!(of(&[1, 1], one), [Returned, Confirmed]);
    }

    #[test]
    fn a_refusal_is_no_confirm() {
        let refused = Verdict {
            acked: false,
            returned: None,
        };
        let answers = of(&[1, 2], vec![Some(refused), ack(None)]);
        assert_eq!(answers, [Answer::Refused, Answer::Confirmed]);
    }

    #[test]
    fn a_lost_connection_leaves_open_what_is_not_certain() {
        use Answer::{Confirmed, Returned, Unknown};
        // The second brings the return of the fourth, so its own may have been next.
        let verdicts = vec![ack(None), ack(Some(4)), None, None];
        assert_eq!(
            of(&[1, 2, 3, 4], verdicts),
            [Confirmed, Unknown, Unknown, Returned]
        );
    }
}
