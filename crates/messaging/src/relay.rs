//! Messages to the broker, wave by wave: one message of each key at a time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use acequia_net::SecretUrl;
use acequia_net::confirms::Confirming;
use acequia_net::topology::{ALERTS, REJECTED, answer, connect, declare_kept};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};
use tracing::warn;
use uuid::Uuid;

/// Header with the number of the message: of two with one key, the one with the greater number is
/// the newer.
pub const SEQUENCE: &str = "x-sequence";
/// Header with what the message is about.
pub const KEY: &str = "x-key";
/// Longest routing key that AMQP can carry, bytes.
const LONGEST_KEY: usize = 255;

/// A message that waits to be published.
#[derive(Debug)]
pub struct Message {
    /// Its number: of two messages with one key, the one with the greater number is the newer.
    pub id: i64,
    /// Its id.
    pub message_id: Uuid,
    /// Exchange.
    pub exchange: String,
    /// Routing key.
    pub routing_key: String,
    /// Body, JSON.
    pub body: String,
    /// Ordering key: messages with the same key keep their order.
    pub key: String,
    /// Times that it was refused.
    pub attempts: i32,
}

/// Outcome of the messages of a transaction; messages in neither list wait for the next one.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Ids of messages that the broker confirmed.
    pub confirmed: Vec<i64>,
    /// Ids of refused messages, and why.
    pub refused: Vec<(i64, &'static str)>,
}

impl Outcome {
    fn has(&self, id: i64) -> bool {
        self.confirmed.contains(&id) || self.refused.iter().any(|(refused, _)| *refused == id)
    }
}

/// The connection that publishes messages of the outbox.
pub struct Relay {
    confirming: Confirming,
    /// Whether the exchange of refused messages was declared. Without a feed nobody declares it.
    rejected: AtomicBool,
}

impl Relay {
    /// Connects under a name that the broker shows, declares the exchange, and asks for confirms.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn open(broker: &SecretUrl, name: &str) -> anyhow::Result<Self> {
        let connection = connect(broker, name).await?;
        declare_kept(&connection, ALERTS).await?;
        Ok(Self {
            confirming: Confirming::on(connection).await?,
            rejected: AtomicBool::new(false),
        })
    }

    /// Whether it can still be used.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.confirming.is_connected()
    }

    /// Closes the connection: what was written and not sent yet must not arrive later.
    pub async fn close(&self) {
        self.confirming.close().await;
    }

    /// Publishes messages in waves of one per key. A key of which one was refused waits; the others
    /// go on. Returns whether the connection is still as it should be.
    pub async fn publish(
        &self,
        waiting: Vec<Message>,
        until: Instant,
        outcome: &mut Outcome,
    ) -> bool {
        let (notices, mut waiting): (Vec<_>, Vec<_>) =
            (waiting.into_iter()).partition(|message| message.exchange == REJECTED);
        if !notices.is_empty() && !self.declared().await {
            let reason = "its exchange cannot be declared: the log has the broker's answer";
            let refused = notices.iter().map(|message| (message.id, reason));
            outcome.refused.extend(refused);
        } else {
            waiting.extend(notices);
        }
        // A message that was refused before may be the one that breaks the channel: it goes alone, after the others.
        let (suspects, others): (Vec<_>, Vec<_>) = {
            let suspects: HashSet<String> = (waiting.iter())
                .filter(|message| message.attempts > 0)
                .map(|message| message.key.clone())
                .collect();
            (waiting.into_iter()).partition(|message| suspects.contains(&message.key))
        };
        let mut lines = by_key(others);
        while !lines.is_empty() {
            let wave: Vec<Message> = lines.values_mut().filter_map(VecDeque::pop_front).collect();
            let keys: Vec<String> = wave.iter().map(|message| message.key.clone()).collect();
            let Some(confirmed) = self.wave(&wave, until, outcome).await else {
                return false;
            };
            for (key, confirmed) in keys.iter().zip(confirmed) {
                if !confirmed || lines.get(key).is_none_or(VecDeque::is_empty) {
                    lines.remove(key);
                }
            }
        }
        for mut line in by_key(suspects).into_values() {
            while let Some(message) = line.pop_front() {
                match self.wave(&[message], until, outcome).await {
                    Some(confirmed) if confirmed == [true] => {}
                    Some(_) => break,
                    None => return false,
                }
            }
        }
        true
    }

    /// Declares the exchange of refused messages, once; whether it is there.
    async fn declared(&self) -> bool {
        if self.rejected.load(Ordering::Relaxed) {
            return true;
        }
        let declared = declare_kept(self.confirming.connection(), REJECTED).await;
        if let Err(error) = &declared {
            warn!(
                event = "queue.refused",
                queue = REJECTED,
                error = format!("{error:#}"),
                "its exchange cannot be declared: tried again"
            );
        }
        self.rejected.store(declared.is_ok(), Ordering::Relaxed);
        declared.is_ok()
    }

    /// Publishes messages and waits for the broker's answer to each; whether it was confirmed. `None`
    /// when the time is up or the channel is lost: then those without an answer count as refused
    /// when the broker closed the channel over one of them.
    async fn wave(
        &self,
        wave: &[Message],
        until: Instant,
        outcome: &mut Outcome,
    ) -> Option<Vec<bool>> {
        let mut sent = Vec::with_capacity(wave.len());
        for message in wave {
            if Instant::now() >= until {
                return None;
            }
            sent.push(match self.send(message).await {
                Ok(confirm) => Some(confirm),
                Err(Unsendable::Never(reason)) => {
                    outcome.refused.push((message.id, reason));
                    None
                }
                Err(Unsendable::Lost) => {
                    self.lost(wave, outcome);
                    return None;
                }
            });
        }
        let mut confirmed = Vec::with_capacity(wave.len());
        let mut whole = true;
        for (message, confirm) in wave.iter().zip(sent) {
            let Some(confirm) = confirm else {
                confirmed.push(false);
                continue;
            };
            match answer(confirm).await {
                Ok(Confirmation::Ack(_)) => outcome.confirmed.push(message.id),
                Ok(_) => outcome.refused.push((message.id, "the broker refused it: a queue that is bound to the exchange is full or has no leader")),
                Err(_) => whole = false,
            }
            confirmed.push(outcome.confirmed.last() == Some(&message.id));
        }
        if !whole {
            self.lost(wave, outcome);
            return None;
        }
        Some(confirmed)
    }

    async fn send(
        &self,
        message: &Message,
    ) -> Result<impl Future<Output = lapin::Result<Confirmation>>, Unsendable> {
        if message.routing_key.len() > LONGEST_KEY {
            return Err(Unsendable::Never(
                "its routing key is longer than 255 bytes",
            ));
        }
        let mut headers = FieldTable::default();
        headers.insert(SEQUENCE.into(), AMQPValue::LongLongInt(message.id));
        headers.insert(
            KEY.into(),
            AMQPValue::LongString(message.key.as_str().into()),
        );
        let properties = BasicProperties::default()
            .with_message_id(message.message_id.to_string().into())
            .with_type(message.routing_key.as_str().into())
            .with_content_type("application/json".into())
            .with_headers(headers)
            .with_delivery_mode(2);
        // Not mandatory: there may be no listener.
        let publish = self.confirming.channel().basic_publish(
            message.exchange.as_str().into(),
            message.routing_key.as_str().into(),
            BasicPublishOptions::default(),
            message.body.as_bytes(),
            properties,
        );
        answer(publish).await.map_err(|_| Unsendable::Lost)
    }

    /// The channel broke. When the connection is there all the same, the broker closed the channel
    /// over one of the messages; which one shows when each goes alone.
    fn lost(&self, wave: &[Message], outcome: &mut Outcome) {
        if !self.confirming.is_connected() && self.confirming.has_connection() {
            for message in wave {
                if !outcome.has(message.id) {
                    outcome
                        .refused
                        .push((message.id, "the broker closed the channel over it"));
                }
            }
        }
    }
}

/// Reason why a message was not sent.
enum Unsendable {
    /// It cannot be, whatever the broker says.
    Never(&'static str),
    /// The channel is gone, or takes no more.
    Lost,
}

/// Messages by key, those of a key in their order.
fn by_key(messages: Vec<Message>) -> HashMap<String, VecDeque<Message>> {
    let mut lines: HashMap<String, VecDeque<Message>> = HashMap::new();
    for message in messages {
        lines
            .entry(message.key.clone())
            .or_default()
            .push_back(message);
    }
    lines
}
