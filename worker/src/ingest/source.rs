//! What a lane takes its messages from: connection, topology, consumer, as one unit that is made
//! anew after any loss.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use acequia_link::broker::{self, Connected};
use anyhow::Context;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::window::is_suspect;
use super::{Lane, Lost};
use crate::amqp::{ANSWER_WITHIN, answer, close, declare};
use crate::config::LoopArgs;
use crate::metrics::Flow;
use crate::run::Shared;

/// A batch that gets no further message for this long is staged without waiting for more.
const QUIET: Duration = Duration::from_millis(2);

/// What ended the collection of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As many messages as may be.
    Full,
    /// As many bytes as may be.
    Bytes,
    /// The first message has waited for long enough.
    Wait,
    /// The queue fell quiet.
    Quiet,
    /// A message that must not be in one batch with its neighbour.
    Apart,
}

impl Ended {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Full,
        Self::Bytes,
        Self::Wait,
        Self::Quiet,
        Self::Apart,
    ];

    /// A short name for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Bytes => "bytes",
            Self::Wait => "wait",
            Self::Quiet => "quiet",
            Self::Apart => "apart",
        }
    }
}

/// Messages taken together.
pub struct Batch {
    /// The messages, in the order of the queue; never empty.
    pub deliveries: Vec<Delivery>,
    /// It consists of a suspect of crashing workers, or one comes next.
    pub suspicious: bool,
    /// They were delivered before, by a queue that does not count how often.
    pub again: bool,
    /// Why there are no more of them.
    pub ended: Ended,
}

impl Batch {
    /// Bytes of the largest body.
    #[must_use]
    pub fn largest(&self) -> usize {
        let sizes = self.deliveries.iter().map(|delivery| delivery.data.len());
        sizes.max().unwrap_or(0)
    }
}

/// A consumer with the connection and channel that it lives on.
pub struct Source {
    queue: String,
    channel: Channel,
    connection: Arc<Connected>,
    tag: String,
    /// Ends with the source: it holds the connection, which would live on with its messages.
    pump: Option<AbortOnDropHandle<()>>,
    arrivals: mpsc::UnboundedReceiver<anyhow::Result<Delivery>>,
    /// Messages that have arrived and belong to a later batch.
    ahead: VecDeque<Delivery>,
    held: Arc<AtomicUsize>,
    flow: Flow,
    budget: usize,
    /// The queue counts how often it delivers a message.
    counted: bool,
}

impl Source {
    /// Connects, declares, and starts to consume.
    ///
    /// # Errors
    /// When any of these fails or the broker does not answer.
    pub async fn open(shared: &Shared, lane: &Lane, window: u16) -> anyhow::Result<Self> {
        let name = format!("acequia-worker {}", lane.queue);
        let connected = broker::connect(&shared.broker, &name).await?;
        declare(&connected.connection, &shared.domains).await?;
        let channel = answer(connected.connection.create_channel()).await?;
        let mut source = Self {
            queue: lane.queue.clone(),
            counted: lane.legacy_of().is_none(),
            channel,
            connection: Arc::new(connected),
            tag: String::new(),
            pump: None,
            arrivals: mpsc::unbounded_channel().1,
            ahead: VecDeque::new(),
            held: Arc::default(),
            flow: shared.metrics.ingest.flow(&lane.queue),
            budget: shared.settings.in_flight_bytes,
        };
        source.flow.reset();
        source.consume(window).await?;
        Ok(source)
    }

    /// Starts a consumer that may have `window` messages in flight.
    async fn consume(&mut self, window: u16) -> anyhow::Result<()> {
        let qos = BasicQosOptions::default();
        answer(self.channel.basic_qos(window, qos))
            .await
            .context("prefetch")?;
        let (queue, options) = (self.queue.as_str(), BasicConsumeOptions::default());
        let start =
            self.channel
                .basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let consumer = answer(start)
            .await
            .with_context(|| format!("consuming from {queue}"))?;
        self.tag = consumer.tag().to_string();
        let (arrive, arrivals) = mpsc::unbounded_channel();
        self.arrivals = arrivals;
        self.flow.allowed(window);
        let pump = Pump {
            held: self.held.clone(),
            flow: self.flow.clone(),
            limit: self.budget.saturating_mul(2),
            connection: self.connection.clone(),
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
        answer(self.channel.basic_cancel(self.tag.as_str().into(), options))
            .await
            .context("changing the prefetch")?;
        // The stream ends behind the last message that was delivered. Not one may be left out:
        // an acknowledgement covers every message before it.
        let drained = async {
            while let Some(arrival) = self.arrivals.recv().await {
                self.ahead.push_back(arrival?);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(ANSWER_WITHIN, drained)
            .await
            .context("the cancelled consumer did not end")??;
        self.consume(window).await
    }

    /// Collects a batch: up to the limits of count, bytes and time, until the queue falls quiet,
    /// or until a suspect comes, which is a batch of its own. `None` when told to stop.
    ///
    /// # Errors
    /// When the consumer is lost, or is alive but gets nothing although messages are ready.
    pub async fn next_batch(
        &mut self,
        settings: &LoopArgs,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Batch>> {
        let Some(first) = self.first(settings.stall_after / 3, stop).await? else {
            return Ok(None);
        };
        let counted = self.counted;
        let again = |delivery: &Delivery| delivery.redelivered && !counted;
        let mut batch = Batch {
            suspicious: is_suspect(&first),
            again: again(&first),
            ended: Ended::Apart,
            deliveries: vec![first],
        };
        let mut bytes = batch.deliveries[0].data.len();
        let deadline = tokio::time::Instant::now() + settings.batch_wait;
        while !batch.suspicious {
            if batch.deliveries.len() >= usize::from(settings.batch_max) {
                batch.ended = Ended::Full;
                break;
            }
            if bytes >= settings.batch_bytes {
                batch.ended = Ended::Bytes;
                break;
            }
            let quiet = deadline.min(tokio::time::Instant::now() + QUIET);
            let Some(delivery) = self.another(quiet).await? else {
                batch.ended = if quiet == deadline {
                    Ended::Wait
                } else {
                    Ended::Quiet
                };
                break;
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
        if let Some(delivery) = self.ahead.pop_front() {
            return Ok(Some(delivery));
        }
        let mut passed_over = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                arrival = self.arrivals.recv() => return arrival.ok_or(Lost::Cancelled)?.map(Some),
                () = tokio::time::sleep(look_every) => {}
            }
            passed_over = if self.ready_messages().await? > 0 {
                passed_over + 1
            } else {
                0
            };
            if passed_over == 2 {
                return Err(Lost::Starved.into());
            }
        }
    }

    /// The next message that is there or comes until `deadline`.
    async fn another(
        &mut self,
        deadline: tokio::time::Instant,
    ) -> anyhow::Result<Option<Delivery>> {
        if let Some(delivery) = self.ahead.pop_front() {
            return Ok(Some(delivery));
        }
        let arrival = match self.arrivals.try_recv() {
            Ok(arrival) => Some(arrival),
            Err(mpsc::error::TryRecvError::Disconnected) => return Err(Lost::Cancelled.into()),
            Err(mpsc::error::TryRecvError::Empty) => {
                match tokio::time::timeout_at(deadline, self.arrivals.recv()).await {
                    Ok(arrival) => Some(arrival.ok_or(Lost::Cancelled)?),
                    Err(_) => None,
                }
            }
        };
        arrival.transpose()
    }

    /// Messages in the queue that are ready to be delivered.
    async fn ready_messages(&self) -> anyhow::Result<u32> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let name = self.queue.as_str().into();
        let queue = answer(
            self.channel
                .queue_declare(name, options, FieldTable::default()),
        )
        .await?;
        Ok(queue.message_count())
    }

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
            return Err(Lost::Channel.into());
        }
        let bytes = batch.deliveries.iter().map(|one| one.data.len()).sum();
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.flow.settled(batch.deliveries.len(), bytes);
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

impl Drop for Source {
    fn drop(&mut self) {
        self.flow.reset();
    }
}

/// Carries deliveries from lapin's stream, which has no bound, to the lane, and knows how many
/// bytes the lane holds.
struct Pump {
    held: Arc<AtomicUsize>,
    flow: Flow,
    limit: usize,
    connection: Arc<Connected>,
}

impl Pump {
    async fn run(
        self,
        mut consumer: Consumer,
        arrive: mpsc::UnboundedSender<anyhow::Result<Delivery>>,
    ) {
        while let Some(arrival) = consumer.next().await {
            let size = arrival.as_ref().map_or(0, |delivery| delivery.data.len());
            let before = self.held.fetch_add(size, Ordering::Relaxed);
            if arrival.is_ok() {
                self.flow.arrived(size);
            }
            // The window follows the sizes seen; bodies that suddenly are much larger get past
            // it. Only cutting the line stops the broker at once.
            if before > 0 && before + size > self.limit {
                self.connection.cut();
                let _ = arrive.send(Err(Lost::Overflow(self.limit).into()));
                return;
            }
            let arrival = arrival.context("the broker closed the channel");
            if arrive.send(arrival).is_err() {
                return;
            }
        }
    }
}
