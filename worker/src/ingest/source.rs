//! What a lane takes its messages from: connection, topology, consumer, as one unit that is made
//! anew after any loss.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use acequia_net::broker;
use acequia_net::topology::{ANSWER_WITHIN, DEAD_QUEUE, Mismatch, answer, declare};
use acequia_store::staging::published_at;
use anyhow::Context;
use chrono::Utc;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::ack_handle::{AckHandle, DeliveryForwarder};
use super::batch::{Batch, Ended};
use super::broker_probe::{Watch, ready_messages};
use super::disconnect::OtherArguments;
use super::flow::WritePermit;
use super::stage::Writer;
use super::window::is_poison_candidate;
use super::{DisconnectReason, STEADY};
use crate::context::WorkerContext;
use crate::look::Looks;
use crate::queue_consumer::{QueueConsumer, queues_of};

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

/// A consumer with the connection and channel that it lives on.
pub struct Source {
    queue: String,
    looks: Arc<Looks>,
    acks: AckHandle,
    tag: String,
    /// Ends with the source: it holds the connection, which would live on with its messages.
    forwarder: Option<AbortOnDropHandle<()>>,
    /// Ends with the source, as the forwarder does.
    watch: Option<AbortOnDropHandle<()>>,
    arrivals: mpsc::UnboundedReceiver<anyhow::Result<Vec<Delivery>>>,
    /// Messages that have arrived and belong to a later batch.
    ahead: VecDeque<Delivery>,
    budget: usize,
    /// Messages of the last batch.
    collected: u32,
    /// The queue counts how often it delivers a message.
    counted: bool,
    /// Messages that waited when it began.
    found: u32,
}

impl Source {
    /// Connects, declares, and starts to consume.
    ///
    /// # Errors
    /// When any of these fails or the broker does not answer.
    pub async fn open(
        context: &WorkerContext,
        lane: &QueueConsumer,
        window: u16,
    ) -> anyhow::Result<Self> {
        let name = format!("acequia-worker {}", lane.queue);
        let connected = broker::connect(&context.broker, &name).await?;
        let others = declare(&connected.connection, &queues_of(&context.domains)).await?;
        consumable(lane, &others)?;
        let channel = answer(connected.connection.create_channel()).await?;
        let watched = answer(connected.connection.create_channel()).await?;
        let took = context.metrics.ingest.broker_pings(&lane.queue);
        let acks = AckHandle::new(channel, connected, context.metrics.ingest.flow(&lane.queue));
        let mut source = Self {
            queue: lane.queue.clone(),
            looks: context.looks.clone(),
            counted: lane.legacy_of().is_none(),
            acks: acks.clone(),
            tag: String::new(),
            forwarder: None,
            watch: None,
            arrivals: mpsc::unbounded_channel().1,
            ahead: VecDeque::new(),
            budget: context.settings.in_flight_bytes,
            collected: 0,
            found: 0,
        };
        source.acks.flow().reset();
        source.found = source.waiting().await?;
        source.consume(window).await?;
        let watch = Watch {
            channel: watched,
            queue: lane.queue.clone(),
            took,
            acks,
            looks: context.looks.clone(),
        };
        source.watch = Some(AbortOnDropHandle::new(tokio::spawn(watch.run())));
        Ok(source)
    }

    /// Starts a consumer that may have `window` messages in flight.
    async fn consume(&mut self, window: u16) -> anyhow::Result<()> {
        let qos = BasicQosOptions::default();
        let channel = self.acks.channel();
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
        self.acks.flow().allowed(window);
        let forwarder = DeliveryForwarder {
            acks: self.acks.clone(),
            limit: self.budget.saturating_mul(2),
        };
        self.forwarder = Some(AbortOnDropHandle::new(tokio::spawn(
            forwarder.run(consumer, arrive),
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
        answer(self.acks.channel().basic_cancel(tag.into(), options))
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
    /// poison-message candidate comes, which is a batch of its own, or until the first message has waited long
    /// enough and the batch before it is done (`permit`). `None` when told to stop.
    ///
    /// # Errors
    /// When the consumer is lost, or is alive but gets nothing although messages are ready.
    pub async fn next_batch(
        &mut self,
        writer: &Writer<'_>,
        most: usize,
        permit: &WritePermit,
    ) -> anyhow::Result<Option<Batch>> {
        let settings = &writer.context.settings;
        let Some(first) = self.first(writer, permit).await? else {
            return Ok(None);
        };
        let counted = self.counted;
        let acks = self.acks.clone();
        // What cannot be read is not looked at either: it goes to quarantine from here.
        let again =
            |delivery: &Delivery| delivery.redelivered && !counted && !acks.is_unreadable(delivery);
        let enough = Instant::now() + linger(&first, self.collected, settings.batch_wait);
        let mut batch = Batch {
            poison_candidate: is_poison_candidate(&first),
            again: again(&first),
            ended: Ended::Apart,
            deliveries: vec![first],
            notes: HashMap::new(),
        };
        let mut bytes = self.acks.size(&batch.deliveries[0]);
        while !batch.poison_candidate {
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
                    let _permit = permit.take().await;
                    tokio::time::sleep_until(enough).await;
                };
                tokio::select! {
                    biased;
                    arrival = self.arrivals.recv() => {
                        self.ahead.extend(arrival.ok_or(DisconnectReason::Cancelled)??);
                        continue;
                    }
                    () = patience => {
                        batch.ended = Ended::Wait;
                        break;
                    }
                }
            };
            if is_poison_candidate(&delivery) || again(&delivery) != batch.again {
                batch.poison_candidate = is_poison_candidate(&delivery);
                self.ahead.push_front(delivery);
                break;
            }
            bytes += self.acks.size(&delivery);
            batch.deliveries.push(delivery);
        }
        let noted = batch.deliveries.iter().enumerate();
        batch.notes = noted
            .filter_map(|(position, delivery)| Some((position, self.acks.take_note(delivery)?)))
            .collect();
        self.collected = u32::try_from(batch.deliveries.len()).unwrap_or(u32::MAX);
        Ok(Some(batch))
    }

    /// Waits for a message. A consumer that gets none while the queue has some is a dead one
    /// that nobody has told.
    async fn first(
        &mut self,
        writer: &Writer<'_>,
        permit: &WritePermit,
    ) -> anyhow::Result<Option<Delivery>> {
        let stop = writer.stop;
        let stall_after = writer.context.settings.stall_after;
        // A lane that was lost is known to work again as soon as nothing happens to it for a while.
        let mut look_after = if writer.health.owes() {
            STEADY.min(stall_after / 3)
        } else {
            stall_after / 3
        };
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
                    self.ahead.extend(arrival.ok_or(DisconnectReason::Cancelled)??);
                    continue;
                }
                () = tokio::time::sleep(look_after) => {}
            }
            let early = look_after < stall_after / 3;
            look_after = stall_after / 3;
            let ready = self.waiting().await?;
            if ready == 0 && permit.is_free() {
                writer.health.succeeded();
            }
            if early {
                continue;
            }
            passed_over = if ready > 0 { passed_over + 1 } else { 0 };
            if passed_over == 2 {
                return Err(DisconnectReason::Starved.into());
            }
        }
    }

    /// Messages that are ready in the queue.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn waiting(&self) -> anyhow::Result<u32> {
        ready_messages(self.acks.channel(), &self.queue).await
    }

    /// Messages that were ready in the queue when consuming began.
    #[must_use]
    pub const fn found(&self) -> u32 {
        self.found
    }

    /// The way back to the broker.
    #[must_use]
    pub const fn acks(&self) -> &AckHandle {
        &self.acks
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.acks.flow().reset();
        // Aborted before the last look is taken back.
        self.watch = None;
        self.looks.lost(&self.queue);
    }
}

/// Whether a lane may consume although queues have other arguments than they should. Another lane's
/// queue is none of its business. Its own may lack the dead-lettering that the promise rests on; dead
/// letters are safer in quarantine than in a queue of whatever kind.
fn consumable(lane: &QueueConsumer, others: &[Mismatch]) -> anyhow::Result<()> {
    let Some(other) = others.iter().find(|other| other.queue == lane.queue) else {
        return Ok(());
    };
    let (queue, difference) = (&other.queue, &other.difference);
    if queue == DEAD_QUEUE {
        warn!(
            event = "queue.other_arguments",
            queue,
            difference,
            remedy = other.remedy(),
            "the queue was declared with other arguments"
        );
        return Ok(());
    }
    Err(anyhow::Error::new(OtherArguments(format!(
        "queue {queue} was declared with other arguments ({difference}). {}",
        other.remedy()
    ))))
}

/// How long a batch that begins with `first` waits for more messages; `before` is the size of the
/// batch before.
fn linger(first: &Delivery, before: u32, longest: Duration) -> Duration {
    let now = Utc::now();
    let age = published_at(&first.properties, now)
        .and_then(|published| (now - published).to_std().ok())
        .unwrap_or_default();
    let more = LINGER_EACH.saturating_mul(before).min(LINGER_MORE);
    (age / LINGER_SHARE).max(more).max(LINGER).min(longest)
}
