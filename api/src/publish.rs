//! The way to the broker: one connection and one channel with confirms, which all calls share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use acequia_contracts::envelope::PUBLISHED_AT;
use acequia_net::SecretUrl;
use acequia_net::confirms::{Answer, Confirming, Mandatory};
use acequia_net::topology::EXCHANGE;
use acequia_store::failure::Backoff;
use chrono::Utc;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::problem::{Code, Problem, Result};

/// Calls whose messages wait for the channel.
const WAITING: usize = 1_024;
/// Calls whose messages are sent together.
const WAVE: usize = 64;
/// Time between two checks of an idle channel.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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

/// Outcome of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A queue has it, on disk.
    Confirmed,
    /// It did not take it; why.
    Refused(String),
}

/// Answers in the order of the messages, and whether the connection lasted.
type Answers = (Vec<Answer>, bool);
type Request = (Vec<Mandatory>, oneshot::Sender<Answers>);

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

    /// Address of the broker, without its password.
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
        let messages = messages.into_iter().map(mandatory).collect();
        let sent = self.requests.send((messages, sender)).await;
        sent.map_err(|_| away("nothing was sent"))?;
        let (answers, lasted) = answers.await.map_err(|_| away("nothing was sent"))?;
        if !lasted && answers.contains(&Answer::Unknown) {
            return Err(away(
                "the broker was lost before it confirmed: send the same call again with the same Idempotency-Key, or with event_id in the messages; what arrives twice has no second effect",
            ));
        }
        let outcome = |answer| match answer {
            Answer::Confirmed => Sent::Confirmed,
            Answer::Returned => Sent::Refused(format!(
                "no queue takes {}: start a worker of the domain once, it declares the queue",
                name.as_deref().unwrap_or_default()
            )),
            _ => Sent::Refused("the broker refused it: its queue may be full".to_owned()),
        };
        Ok(answers.into_iter().map(outcome).collect())
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
        match Confirming::open(&url, "acequia-api").await {
            Ok(channel) => {
                info!(event = "broker.connected", broker = %url, "messages can be sent");
                backoff.reset();
                connected.store(true, Ordering::Relaxed);
                serve(&channel, &mut waiting, &stop).await;
                connected.store(false, Ordering::Relaxed);
                channel.close().await;
            }
            Err(error) => {
                warn!(event = "broker.away", broker = %url, error = format!("{error:#}"), "messages cannot be sent");
            }
        }
        // Requests made just before are dropped, so that their callers receive an answer.
        while let Ok(request) = waiting.try_recv() {
            drop(request);
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Publishes what waits, wave by wave, until the channel is lost.
async fn serve(
    channel: &Confirming,
    waiting: &mut mpsc::Receiver<Request>,
    stop: &CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut wave = Vec::new();
    loop {
        let calls = tokio::select! {
            calls = waiting.recv_many(&mut wave, WAVE) => calls,
            _ = look.tick() => {
                if channel.is_connected() {
                    continue;
                }
                return;
            }
            () = stop.cancelled() => return,
        };
        if calls == 0 || !send(channel, &mut wave).await {
            return;
        }
    }
}

/// Publishes the messages of some calls and answers each; whether the connection lasted.
async fn send(channel: &Confirming, wave: &mut Vec<Request>) -> bool {
    let mut messages = Vec::new();
    let mut calls = Vec::with_capacity(wave.len());
    for (own, sender) in wave.drain(..) {
        calls.push((own.len(), sender));
        messages.extend(own);
    }
    let (answers, sent) = channel.publish(&messages).await;
    if let Err(error) = &sent {
        warn!(
            event = "broker.lost",
            error = format!("{error:#}"),
            "messages were not confirmed"
        );
    }
    let mut answers = answers.into_iter();
    for (messages, sender) in calls {
        // The caller may have gone away.
        let _ = sender.send((answers.by_ref().take(messages).collect(), sent.is_ok()));
    }
    sent.is_ok()
}

fn mandatory(message: Outgoing) -> Mandatory {
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
    Mandatory {
        exchange: EXCHANGE.into(),
        key: short(&message.name),
        properties,
        body: message.body,
    }
}
