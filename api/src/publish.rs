//! The way to the broker: one connection and one channel with confirms, which all calls share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acequia_contracts::envelope::PUBLISHED_AT;
use acequia_net::SecretUrl;
use acequia_net::topology::{EXCHANGE, answer, close, connect};
use acequia_store::failure::Backoff;
use chrono::Utc;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};

use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::problem::{Code, Problem, Result};

/// Calls whose messages wait for the channel.
const WAITING: usize = 1_024;

/// A message that is to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// `<domain>.<entity>`, which is routing key and AMQP type.
    pub name: String,
    /// AMQP `message_id`.
    pub id: String,
    /// AMQP `app_id`: name of the caller.
    pub app_id: String,
    /// The bytes.
    pub body: Vec<u8>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A queue has it, on disk.
    Confirmed,
    /// It did not take it; why.
    Refused(String),
}

type Answers = Vec<lapin::Result<PublisherConfirm>>;
type Request = (Vec<Outgoing>, oneshot::Sender<Answers>);

/// The way to the broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    requests: mpsc::Sender<Request>,
    connected: Arc<AtomicBool>,
    url: SecretUrl,
}

impl Publisher {
    /// Starts the task that owns the channel. It connects again by itself.
    #[must_use]
    pub fn start(url: SecretUrl, stop: CancellationToken) -> Self {
        let (requests, waiting) = mpsc::channel(WAITING);
        let connected = Arc::new(AtomicBool::new(false));
        tokio::spawn(run(url.clone(), waiting, connected.clone(), stop));
        Self {
            requests,
            connected,
            url,
        }
    }

    /// Whether there is a channel.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Where the broker is, without its password.
    #[must_use]
    pub const fn url(&self) -> &SecretUrl {
        &self.url
    }

    /// Sends messages and waits until the broker has said what became of each, in their order.
    ///
    /// # Errors
    /// `broker_unavailable` when it is away, or is lost on the way: then the messages may or may not have arrived.
    pub async fn send(&self, messages: Vec<Outgoing>) -> Result<Vec<Sent>> {
        if !self.is_connected() {
            return Err(away("nothing was sent"));
        }
        let name = messages.first().map(|message| message.name.clone());
        let (sender, answers) = oneshot::channel();
        let sent = self.requests.send((messages, sender)).await;
        let (Ok(()), Ok(answers)) = (sent, answers.await) else {
            return Err(away("nothing was sent"));
        };
        let mut outcomes = Vec::with_capacity(answers.len());
        for publish in answers {
            let confirm = match publish {
                Ok(confirm) => answer(confirm).await,
                Err(error) => Err(error.into()),
            };
            outcomes.push(match confirm {
                Ok(Confirmation::Ack(None)) => Sent::Confirmed,
                Ok(Confirmation::Ack(Some(_))) => Sent::Refused(format!(
                    "no queue takes {}: start a worker of the domain once, it declares the queue",
                    name.as_deref().unwrap_or_default()
                )),
                Ok(_) => Sent::Refused("the broker refused it: its queue may be full".to_owned()),
                Err(error) => {
                    warn!(event = "broker.lost", %error, "messages were not confirmed");
                    return Err(away(
                        "the broker was lost before it confirmed: send the same call again with the same Idempotency-Key, or with event_id in the messages; what arrives twice has no second effect",
                    ));
                }
            });
        }
        Ok(outcomes)
    }
}

fn away(what: &str) -> Problem {
    Problem::new(
        Code::BrokerUnavailable,
        format!("the broker does not answer: {what}. Try again when /readyz says that it is back"),
    )
    .retry_after(5)
}

async fn run(
    url: SecretUrl,
    mut waiting: mpsc::Receiver<Request>,
    connected: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        match open(&url).await {
            Ok((connection, channel)) => {
                info!(event = "broker.connected", broker = %url, "messages can be sent");
                backoff.reset();
                connected.store(true, Ordering::Relaxed);
                serve(&connection, &channel, &mut waiting, &stop).await;
                connected.store(false, Ordering::Relaxed);
                close(&connection).await;
            }
            Err(error) => {
                warn!(event = "broker.away", broker = %url, error = format!("{error:#}"), "messages cannot be sent");
            }
        }
        // Who asked just before gets an answer.
        while let Ok(request) = waiting.try_recv() {
            drop(request);
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn open(url: &SecretUrl) -> anyhow::Result<(Connection, Channel)> {
    let connection = connect(url, "acequia-api").await?;
    let channel = answer(connection.create_channel()).await?;
    answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok((connection, channel))
}

/// Publishes what comes until the channel is lost. One task does it: frames of two could get into another order than their
/// numbers.
async fn serve(
    connection: &Connection,
    channel: &Channel,
    waiting: &mut mpsc::Receiver<Request>,
    stop: &CancellationToken,
) {
    let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        let request = tokio::select! {
            request = waiting.recv() => request,
            _ = look.tick() => {
                if connection.status().connected() && channel.status().connected() {
                    continue;
                }
                return;
            }
            () = stop.cancelled() => return,
        };
        let Some((messages, sender)) = request else {
            return;
        };
        let mut answers = Vec::with_capacity(messages.len());
        for message in &messages {
            answers.push(publish(channel, message).await);
        }
        let lost = answers.iter().any(Result::is_err);
        // The caller may have gone away.
        let _ = sender.send(answers);
        if lost {
            return;
        }
    }
}

async fn publish(channel: &Channel, message: &Outgoing) -> lapin::Result<PublisherConfirm> {
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let short = |text: &str| ShortString::try_new(text).unwrap_or_default();
    let mut headers = FieldTable::default();
    headers.insert(
        PUBLISHED_AT.into(),
        AMQPValue::LongLongInt(Utc::now().timestamp_micros()),
    );
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id(short(&message.id))
        .with_app_id(short(&message.app_id))
        .with_type(short(&message.name))
        .with_headers(headers);
    let publishing = channel.basic_publish(
        EXCHANGE.into(),
        short(&message.name),
        mandatory,
        &message.body,
        properties,
    );
    match tokio::time::timeout(acequia_net::topology::ANSWER_WITHIN, publishing).await {
        Ok(published) => published,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}
