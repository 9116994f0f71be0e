//! What a lane takes its messages from: connection, topology, consumer, as one unit that is made
//! anew after any loss.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use acequia_link::broker;
use anyhow::Context;
use chrono::Utc;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::answers::{Watch, ready_messages};
use super::flow::Turn;
use super::identity::published_at;
use super::outlet::{Outlet, Pump};
use super::window::{Sizes, is_suspect};
use super::{Lane, Lost};
use crate::amqp::{ANSWER_WITHIN, answer, declare};
use crate::config::LoopArgs;
use crate::looks::Looks;
use crate::run::Shared;

/// Shortest wait for a batch to fill.
const LINGER: Duration = Duration::from_millis(4);
/// A batch waits for more messages for this share of the time that its first one is under way
/// already, or for a time that grows with the batch before: fresh messages are not held up, a
/// backlog goes in large batches, and so does what comes faster than small batches can be written.
const LINGER_SHARE: u32 = 20;
/// What each message of the batch before adds. Below 12,500 messages a second (one for each 80 µs)
/// that is little; above, batches grow until what each of them costs by itself does not matter.
const LINGER_EACH: Duration = Duration::from_micros(80);
/// ... up to this.
const LINGER_MORE: Duration = Duration::from_millis(40);

/// What ended the collection of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As many messages as may be.
    Full,
    /// As many bytes as may be.
    Bytes,
    /// The first message has waited for long enough.
    Wait,
    /// A message that must not be in one batch with its neighbour.
    Apart,
}

impl Ended {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Full, Self::Bytes, Self::Wait, Self::Apart];

    /// A short name for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Bytes => "bytes",
            Self::Wait => "wait",
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
    /// Sizes of the bodies.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes::of(self.deliveries.iter().map(|delivery| delivery.data.len()))
    }
}

/// A consumer with the connection and channel that it lives on.
pub struct Source {
    queue: String,
    looks: Arc<Looks>,
    outlet: Outlet,
    tag: String,
    /// Ends with the source: it holds the connection, which would live on with its messages.
    pump: Option<AbortOnDropHandle<()>>,
    /// Ends with the source, as the pump does.
    watch: Option<AbortOnDropHandle<()>>,
    arrivals: mpsc::UnboundedReceiver<anyhow::Result<Vec<Delivery>>>,
    /// Messages that have arrived and belong to a later batch.
    ahead: VecDeque<Delivery>,
    budget: usize,
    /// Messages of the last batch.
    collected: u32,
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
        let watched = answer(connected.connection.create_channel()).await?;
        let took = shared.metrics.ingest.broker_answers(&lane.queue);
        let outlet = Outlet::new(channel, connected, shared.metrics.ingest.flow(&lane.queue));
        let mut source = Self {
            queue: lane.queue.clone(),
            looks: shared.looks.clone(),
            counted: lane.legacy_of().is_none(),
            outlet: outlet.clone(),
            tag: String::new(),
            pump: None,
            watch: None,
            arrivals: mpsc::unbounded_channel().1,
            ahead: VecDeque::new(),
            budget: shared.settings.in_flight_bytes,
            collected: 0,
        };
        source.outlet.flow().reset();
        source.consume(window).await?;
        let watch = Watch {
            channel: watched,
            queue: lane.queue.clone(),
            took,
            outlet,
            looks: shared.looks.clone(),
        };
        source.watch = Some(AbortOnDropHandle::new(tokio::spawn(watch.run())));
        Ok(source)
    }

    /// Starts a consumer that may have `window` messages in flight.
    async fn consume(&mut self, window: u16) -> anyhow::Result<()> {
        let qos = BasicQosOptions::default();
        let channel = self.outlet.channel();
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
        self.outlet.flow().allowed(window);
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
        answer(self.outlet.channel().basic_cancel(tag.into(), options))
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
    /// enough and the batch before it is done (`turn`). `None` when told to stop.
    ///
    /// # Errors
    /// When the consumer is lost, or is alive but gets nothing although messages are ready.
    pub async fn next_batch(
        &mut self,
        settings: &LoopArgs,
        most: usize,
        turn: &Turn,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Batch>> {
        let Some(first) = self.first(settings.stall_after / 3, stop).await? else {
            return Ok(None);
        };
        let counted = self.counted;
        let again = |delivery: &Delivery| delivery.redelivered && !counted;
        let enough = Instant::now() + linger(&first, self.collected, settings.batch_wait);
        let mut batch = Batch {
            suspicious: is_suspect(&first),
            again: again(&first),
            ended: Ended::Apart,
            deliveries: vec![first],
        };
        let mut bytes = batch.deliveries[0].data.len();
        while !batch.suspicious {
            if batch.deliveries.len() >= most {
                batch.ended = Ended::Full;
                break;
            }
            if bytes >= settings.batch_bytes {
                batch.ended = Ended::Bytes;
                break;
            }
            let Some(delivery) = self.ahead.pop_front() else {
                let patience = async {
                    let _turn = turn.take().await;
                    tokio::time::sleep_until(enough).await;
                };
                tokio::select! {
                    biased;
                    arrival = self.arrivals.recv() => {
                        self.ahead.extend(arrival.ok_or(Lost::Cancelled)??);
                        continue;
                    }
                    () = patience => {
                        batch.ended = Ended::Wait;
                        break;
                    }
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
        self.collected = u32::try_from(batch.deliveries.len()).unwrap_or(u32::MAX);
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
                    self.ahead.extend(arrival.ok_or(Lost::Cancelled)??);
                    continue;
                }
                () = tokio::time::sleep(look_every) => {}
            }
            let ready = ready_messages(self.outlet.channel(), &self.queue).await?;
            passed_over = if ready > 0 { passed_over + 1 } else { 0 };
            if passed_over == 2 {
                return Err(Lost::Starved.into());
            }
        }
    }

    /// The way back to the broker.
    #[must_use]
    pub const fn outlet(&self) -> &Outlet {
        &self.outlet
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.outlet.flow().reset();
        // Aborted before the last look is taken back.
        self.watch = None;
        self.looks.lost(&self.queue);
    }
}

/// How long a batch that begins with a message waits for more, where the batch before had so many.
fn linger(first: &Delivery, before: u32, longest: Duration) -> Duration {
    let now = Utc::now();
    let age = published_at(&first.properties, now)
        .and_then(|published| (now - published).to_std().ok())
        .unwrap_or_default();
    let more = LINGER_EACH.saturating_mul(before).min(LINGER_MORE);
    (age / LINGER_SHARE).max(more).max(LINGER).min(longest)
}
