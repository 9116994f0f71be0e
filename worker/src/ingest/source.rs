//! What a lane takes its messages from: connection, topology, consumer, as one unit that is made
//! anew after any loss.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use acequia_contracts::Domain;
use acequia_link::broker::{self, Connected};
use anyhow::{Context, bail};
use chrono::Utc;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Lane;
use super::identity::published_at;
use super::window::is_suspect;
use crate::amqp::{ANSWER_WITHIN, answer, close, declare};
use crate::config::{LoopArgs, SecretUrl};

/// Messages that are handed on together when they arrive together.
const CHUNK: usize = 256;
/// Shortest wait for a batch to fill.
const LINGER: Duration = Duration::from_millis(2);
/// A batch waits for more messages for at most this share of the time that its first one is
/// under way already: fresh messages are not held up, a backlog goes in large batches.
const LINGER_SHARE: u32 = 20;
/// Why a consumer ends that nobody cancelled here: the queue was deleted, or its leader is gone.
const CANCELLED: &str = "the broker cancelled the consumer";

/// Messages taken together.
pub struct Batch {
    /// The messages, in the order of the queue; never empty.
    pub deliveries: Vec<Delivery>,
    /// It consists of a suspect of crashing workers, or one comes next.
    pub suspicious: bool,
    /// They were delivered before, by a queue that does not count how often.
    pub again: bool,
}

impl Batch {
    /// Bytes of the largest body.
    #[must_use]
    pub fn largest(&self) -> usize {
        let sizes = self.deliveries.iter().map(|delivery| delivery.data.len());
        sizes.max().unwrap_or(0)
    }
}

/// The way back to the broker: acknowledgements, and giving up.
#[derive(Clone)]
pub struct Outlet {
    channel: Channel,
    connection: Arc<Connected>,
    held: Arc<AtomicUsize>,
}

/// A consumer with the connection and channel that it lives on.
pub struct Source {
    queue: String,
    outlet: Outlet,
    tag: String,
    /// Ends with the source: it holds the connection, which would live on with its messages.
    pump: Option<AbortOnDropHandle<()>>,
    arrivals: mpsc::UnboundedReceiver<anyhow::Result<Vec<Delivery>>>,
    /// Messages that have arrived and belong to a later batch.
    ahead: VecDeque<Delivery>,
    budget: usize,
    /// The queue counts how often it delivers a message.
    counted: bool,
}

impl Source {
    /// Connects, declares, and starts to consume.
    ///
    /// # Errors
    /// When any of these fails or the broker does not answer.
    pub async fn open(
        url: &SecretUrl,
        domains: &[&Domain],
        lane: &Lane,
        window: u16,
        budget: usize,
    ) -> anyhow::Result<Self> {
        let name = format!("acequia-worker {}", lane.queue);
        let connected = broker::connect(url, &name).await?;
        declare(&connected.connection, domains).await?;
        let channel = answer(connected.connection.create_channel()).await?;
        let mut source = Self {
            queue: lane.queue.clone(),
            counted: lane.legacy_of().is_none(),
            outlet: Outlet {
                channel,
                connection: Arc::new(connected),
                held: Arc::default(),
            },
            tag: String::new(),
            pump: None,
            arrivals: mpsc::unbounded_channel().1,
            ahead: VecDeque::new(),
            budget,
        };
        source.consume(window).await?;
        Ok(source)
    }

    /// Starts a consumer that may have `window` messages in flight.
    async fn consume(&mut self, window: u16) -> anyhow::Result<()> {
        let qos = BasicQosOptions::default();
        let channel = &self.outlet.channel;
        answer(channel.basic_qos(window, qos))
            .await
            .context("prefetch")?;
        let (queue, options) = (self.queue.as_str(), BasicConsumeOptions::default());
        let start = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let consumer = answer(start)
            .await
            .with_context(|| format!("consuming from {queue}"))?;
        self.tag = consumer.tag().to_string();
        let (arrive, arrivals) = mpsc::unbounded_channel();
        self.arrivals = arrivals;
        let pump = Pump {
            outlet: self.outlet.clone(),
            limit: self.budget.saturating_mul(2),
        };
        self.pump = Some(AbortOnDropHandle::new(tokio::spawn(
            pump.run(consumer, arrive),
        )));
        Ok(())
    }

    /// Changes the number of messages that may be in flight. Those that have arrived stay, in
    /// their order.
    ///
    /// # Errors
    /// When the broker does not answer, or the consumer is lost meanwhile.
    pub async fn resize(&mut self, window: u16) -> anyhow::Result<()> {
        let options = BasicCancelOptions::default();
        let tag = self.tag.as_str();
        answer(self.outlet.channel.basic_cancel(tag.into(), options))
            .await
            .context("changing the prefetch")?;
        // The stream ends behind the last message that was delivered. Not one may be left out:
        // an acknowledgement covers every message before it.
        let drained = async {
            while let Some(arrival) = self.arrivals.recv().await {
                self.ahead.extend(arrival?);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(ANSWER_WITHIN, drained)
            .await
            .context("the cancelled consumer did not end")??;
        self.consume(window).await
    }

    /// Collects a batch of at most `most` messages: up to the limits of count and bytes, until a
    /// suspect comes, which is a batch of its own, or until the first message has waited long
    /// enough and the batch before it is done (`writable`). `None` when told to stop.
    ///
    /// # Errors
    /// When the consumer is lost, or is alive but gets nothing although messages are ready.
    pub async fn next_batch(
        &mut self,
        settings: &LoopArgs,
        most: usize,
        writable: &Semaphore,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Batch>> {
        let Some(first) = self.first(settings.stall_after / 3, stop).await? else {
            return Ok(None);
        };
        let counted = self.counted;
        let again = |delivery: &Delivery| delivery.redelivered && !counted;
        let enough = Instant::now() + linger(&first, settings.batch_wait);
        let mut batch = Batch {
            suspicious: is_suspect(&first),
            again: again(&first),
            deliveries: vec![first],
        };
        let mut bytes = batch.deliveries[0].data.len();
        while !batch.suspicious && batch.deliveries.len() < most && bytes < settings.batch_bytes {
            let Some(delivery) = self.ahead.pop_front() else {
                let patience = async {
                    let _writable = writable.acquire().await;
                    tokio::time::sleep_until(enough).await;
                };
                tokio::select! {
                    biased;
                    arrival = self.arrivals.recv() => {
                        self.ahead.extend(arrival.context(CANCELLED)??);
                        continue;
                    }
                    () = patience => break,
                }
            };
            if is_suspect(&delivery) || again(&delivery) != batch.again {
                batch.suspicious = is_suspect(&delivery);
                self.ahead.push_front(delivery);
                break;
            }
            bytes += delivery.data.len();
            batch.deliveries.push(delivery);
        }
        Ok(Some(batch))
    }

    /// Waits for a message. A consumer that gets none while the queue has some is a dead one
    /// that nobody has told.
    async fn first(
        &mut self,
        look_every: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Delivery>> {
        let mut passed_over = 0;
        loop {
            if stop.is_cancelled() {
                return Ok(None);
            }
            if let Some(delivery) = self.ahead.pop_front() {
                return Ok(Some(delivery));
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                arrival = self.arrivals.recv() => {
                    self.ahead.extend(arrival.context(CANCELLED)??);
                    continue;
                }
                () = tokio::time::sleep(look_every) => {}
            }
            passed_over = if self.ready_messages().await? > 0 {
                passed_over + 1
            } else {
                0
            };
            if passed_over == 2 {
                bail!("messages are ready in the queue, but none is delivered");
            }
        }
    }

    /// Messages in the queue that are ready to be delivered.
    async fn ready_messages(&self) -> anyhow::Result<u32> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let name = self.queue.as_str().into();
        let channel = &self.outlet.channel;
        let queue = answer(channel.queue_declare(name, options, FieldTable::default())).await?;
        Ok(queue.message_count())
    }

    /// The way back to the broker.
    #[must_use]
    pub const fn outlet(&self) -> &Outlet {
        &self.outlet
    }
}

impl Outlet {
    /// Acknowledges the batch with one frame, through the last delivery's own acker: it knows
    /// whether its channel is still the one that delivered.
    ///
    /// # Errors
    /// When the acknowledgement could not be sent: the broker delivers the batch again.
    pub async fn acknowledge(&self, batch: Batch) -> anyhow::Result<()> {
        let Some(last) = batch.deliveries.last() else {
            return Ok(());
        };
        let sent = answer(last.acker.ack(BasicAckOptions { multiple: true }))
            .await
            .context("acknowledging")?;
        if !sent {
            bail!("the channel was lost before the acknowledgement; the broker delivers again");
        }
        let bytes = batch.deliveries.iter().map(|one| one.data.len()).sum();
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The channel that it consumes by.
    pub(super) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Closes the connection; what is unacknowledged goes back to the queue.
    pub async fn close(&self) {
        close(&self.connection.connection).await;
    }
}

/// How long a batch that begins with a message waits for more.
fn linger(first: &Delivery, longest: Duration) -> Duration {
    let now = Utc::now();
    let age = published_at(&first.properties, now)
        .and_then(|published| (now - published).to_std().ok())
        .unwrap_or_default();
    (age / LINGER_SHARE).max(LINGER).min(longest)
}

/// Carries deliveries from lapin's stream, which has no bound, to the lane, and knows how many
/// bytes the lane holds.
struct Pump {
    outlet: Outlet,
    limit: usize,
}

impl Pump {
    async fn run(
        self,
        consumer: Consumer,
        arrive: mpsc::UnboundedSender<anyhow::Result<Vec<Delivery>>>,
    ) {
        let mut chunks = consumer.ready_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let mut arrived = Vec::with_capacity(chunk.len());
            let mut lost = None;
            for arrival in chunk {
                match arrival {
                    Ok(delivery) if self.fits(delivery.data.len()) => arrived.push(delivery),
                    Ok(_) => {
                        // Only cutting the line stops the broker at once.
                        self.outlet.connection.cut();
                        lost = Some(anyhow::anyhow!(
                            "more than {} bytes in flight: the messages go back to the queue, fewer are taken at a time",
                            self.limit
                        ));
                        break;
                    }
                    Err(error) => {
                        lost = Some(
                            anyhow::Error::new(error).context("the broker closed the channel"),
                        );
                    }
                }
            }
            let ends = lost.is_some();
            if arrive.send(Ok(arrived)).is_err()
                || lost.is_some_and(|lost| arrive.send(Err(lost)).is_err())
                || ends
            {
                return;
            }
        }
    }

    /// Whether a body may be held too. The window follows the sizes seen; bodies that suddenly
    /// are much larger get past it.
    fn fits(&self, size: usize) -> bool {
        let before = self.outlet.held.fetch_add(size, Ordering::Relaxed);
        before == 0 || before + size <= self.limit
    }
}
