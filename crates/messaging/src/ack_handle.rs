//! Acknowledging batches, and forwarding deliveries from the AMQP library to the lane.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use acequia_net::COALESCE_FOR;
use acequia_net::broker::Connected;
use acequia_net::guard::Note;
use acequia_net::topology::{ANSWER_WITHIN, answer, close};
use anyhow::Context;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::{Channel, Consumer};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{Batch, DisconnectReason, Flow};

/// Messages that are handed on together when they arrive together.
const CHUNK: usize = 256;

/// Acknowledges batches, or closes the connection so that the broker delivers them again.
#[derive(Clone)]
pub struct AckHandle {
    channel: Channel,
    connection: Arc<Connected>,
    held: Arc<AtomicUsize>,
    /// Size of the message that was one too many.
    overflow: Arc<AtomicUsize>,
    tally: Arc<Tally>,
    flow: Flow,
}

/// Deliveries to a consumer, and those not acknowledged yet.
#[derive(Debug, Default)]
struct Tally {
    counts: Mutex<Counts>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    arrived: u64,
    /// Messages that arrived together and are held, the oldest first.
    held: VecDeque<(usize, Instant)>,
    /// Tasks that wait until the arrived messages are counted.
    waiting: Vec<oneshot::Sender<()>>,
    /// Whether there is no consumer and every delivered message is counted.
    idle: bool,
}

impl Tally {
    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn arrived(&self, messages: usize) {
        self.with(|counts| {
            counts.arrived += messages as u64;
            counts.held.push_back((messages, Instant::now()));
        });
    }

    fn settled(&self, mut messages: usize) {
        self.with(|counts| {
            while let Some((held, _)) = counts.held.front_mut() {
                if *held > messages {
                    *held -= messages;
                    return;
                }
                messages -= *held;
                counts.held.pop_front();
            }
        });
    }
}

impl AckHandle {
    /// A handle for a channel without deliveries so far.
    #[must_use]
    pub fn new(channel: Channel, connected: Connected, flow: Flow) -> Self {
        Self {
            channel,
            connection: Arc::new(connected),
            held: Arc::default(),
            overflow: Arc::default(),
            tally: Arc::default(),
            flow,
        }
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
            return Err(DisconnectReason::Channel.into());
        }
        let bytes = batch.bytes();
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.flow.settled(batch.deliveries.len(), bytes);
        self.tally.settled(batch.deliveries.len());
        Ok(())
    }

    /// Size of the message for which the line was cut; 0 when it was not.
    #[must_use]
    pub fn overflow(&self) -> usize {
        self.overflow.load(Ordering::Relaxed)
    }

    /// How many messages the consumer was given, and since when it holds the oldest one that is not
    /// acknowledged.
    pub(crate) fn tally(&self) -> (u64, Option<Instant>) {
        (self.tally).with(|counts| (counts.arrived, counts.held.front().map(|(_, at)| *at)))
    }

    /// Notes whether there is a consumer: without one everything that has arrived is counted.
    pub(crate) fn consuming(&self, is: bool) {
        let waiting = self.tally.with(|counts| {
            counts.idle = !is;
            if is {
                Vec::new()
            } else {
                std::mem::take(&mut counts.waiting)
            }
        });
        for done in waiting {
            // The task that asked may have gone away.
            let _ = done.send(());
        }
    }

    /// Returns when everything that has arrived by now is counted.
    ///
    /// # Errors
    /// When the forwarder has ended.
    pub(crate) async fn counted(&self) -> anyhow::Result<()> {
        let (done, counted) = oneshot::channel();
        let idle = self.tally.with(|counts| {
            if !counts.idle {
                counts.waiting.push(done);
            }
            counts.idle
        });
        if idle {
            return Ok(());
        }
        self.tally.asked.notify_one();
        Ok(tokio::time::timeout(ANSWER_WITHIN, counted).await??)
    }

    /// The messages in flight, for the metrics.
    pub(crate) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Bytes of memory that a delivery takes: its body, and properties that are worth a note.
    pub(crate) fn size(&self, delivery: &Delivery) -> usize {
        let notes = &self.connection.notes;
        delivery.data.len() + notes.weight(self.channel.id(), delivery.delivery_tag)
    }

    /// Whether something of a delivery cannot be read.
    pub(crate) fn is_unreadable(&self, delivery: &Delivery) -> bool {
        let notes = &self.connection.notes;
        notes.is_unreadable(self.channel.id(), delivery.delivery_tag)
    }

    /// Takes the guard's note on a delivery.
    pub(crate) fn take_note(&self, delivery: &Delivery) -> Option<Note> {
        let notes = &self.connection.notes;
        notes.take(self.channel.id(), delivery.delivery_tag)
    }

    /// The channel that it consumes by.
    pub(crate) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Closes the connection; unacknowledged messages go back to the queue.
    pub async fn close(&self) {
        close(&self.connection.connection).await;
    }
}

/// Forwards deliveries from lapin's stream, which has no bound, to the lane, and limits the
/// bytes that the lane holds.
pub struct DeliveryForwarder {
    /// Closes the connection when too many bytes arrive.
    pub acks: AckHandle,
    /// Maximum number of bytes that the lane may hold.
    pub limit: usize,
}

impl DeliveryForwarder {
    /// Forwards until the consumer ends or the lane is gone.
    pub async fn run(
        self,
        consumer: Consumer,
        arrive: mpsc::UnboundedSender<anyhow::Result<Vec<Delivery>>>,
    ) {
        let mut chunks = consumer.ready_chunks(CHUNK);
        // Callers that asked before the end of the stream was seen.
        let mut waiting = Vec::new();
        loop {
            let tally = &self.acks.tally;
            waiting.append(&mut tally.with(|counts| std::mem::take(&mut counts.waiting)));
            let chunk = tokio::select! {
                biased;
                chunk = chunks.next() => chunk,
                () = std::future::ready(()), if !waiting.is_empty() => {
                    // Nothing is there: that was looked at first.
                    for done in waiting.drain(..) {
                        let _ = done.send(());
                    }
                    continue;
                }
                () = tally.asked.notified() => continue,
            };
            let Some(chunk) = chunk else { return };
            let drained = chunk.len() < CHUNK;
            let mut arrived = Vec::with_capacity(chunk.len());
            let mut lost = None;
            for arrival in chunk {
                match arrival {
                    Ok(delivery) if self.fits(self.acks.size(&delivery)) => {
                        arrived.push(delivery);
                    }
                    Ok(delivery) => {
                        let size = self.acks.size(&delivery);
                        self.acks.overflow.store(size, Ordering::Relaxed);
                        // Only cutting the line stops the broker at once.
                        self.acks.connection.cut();
                        lost = Some(DisconnectReason::Overflow(self.limit).into());
                        break;
                    }
                    Err(error) => {
                        lost = Some(
                            anyhow::Error::new(error).context("the broker closed the channel"),
                        );
                    }
                }
            }
            let sizes = arrived.iter().map(|delivery| self.acks.size(delivery));
            let bytes = sizes.sum();
            self.acks.flow.arrived(arrived.len(), bytes);
            self.acks.tally.arrived(arrived.len());
            let ends = lost.is_some();
            if arrive.send(Ok(arrived)).is_err()
                || lost.is_some_and(|lost| arrive.send(Err(lost)).is_err())
                || ends
            {
                return;
            }
            // The task that waits for the next message is woken while the library still hands over the others.
            if drained {
                for done in waiting.drain(..) {
                    let _ = done.send(());
                }
                tokio::time::sleep(COALESCE_FOR).await;
            }
        }
    }

    /// Whether a body may be held too. The window follows the sizes seen; bodies that suddenly
    /// are much larger get past it.
    fn fits(&self, size: usize) -> bool {
        let before = self.acks.held.fetch_add(size, Ordering::Relaxed);
        before == 0 || before + size <= self.limit
    }
}
