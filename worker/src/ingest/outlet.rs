//! The way back to the broker, and what carries messages from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use acequia_link::GATHER;
use acequia_link::broker::Connected;
use acequia_link::guard::Note;
use anyhow::Context;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;

use super::Lost;
use super::batch::Batch;
use crate::amqp::{answer, close};
use crate::metrics::Flow;

/// Messages that are handed on together when they arrive together.
const CHUNK: usize = 256;

/// The way back to the broker: acknowledgements, and giving up.
#[derive(Clone)]
pub struct Outlet {
    channel: Channel,
    connection: Arc<Connected>,
    held: Arc<AtomicUsize>,
    /// Size of the message that was one too many.
    overflow: Arc<AtomicUsize>,
    flow: Flow,
}

impl Outlet {
    /// Of a channel that nothing was delivered by yet.
    #[must_use]
    pub fn new(channel: Channel, connected: Connected, flow: Flow) -> Self {
        Self {
            channel,
            connection: Arc::new(connected),
            held: Arc::default(),
            overflow: Arc::default(),
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
            return Err(Lost::Channel.into());
        }
        let bytes = batch.bytes();
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.flow.settled(batch.deliveries.len(), bytes);
        Ok(())
    }

    /// Size of the message for which the line was cut; 0 when it was not.
    pub(super) fn overflow(&self) -> usize {
        self.overflow.load(Ordering::Relaxed)
    }

    /// What is in flight, for the metrics.
    pub(super) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Bytes of memory that a delivery takes: its body, and properties that are worth a note.
    pub(super) fn size(&self, delivery: &Delivery) -> usize {
        let notes = &self.connection.notes;
        delivery.data.len() + notes.weight(self.channel.id(), delivery.delivery_tag)
    }

    /// Whether something of a delivery cannot be read.
    pub(super) fn is_unreadable(&self, delivery: &Delivery) -> bool {
        let notes = &self.connection.notes;
        notes.is_unreadable(self.channel.id(), delivery.delivery_tag)
    }

    /// Takes what was noted of a delivery.
    pub(super) fn take_note(&self, delivery: &Delivery) -> Option<Note> {
        let notes = &self.connection.notes;
        notes.take(self.channel.id(), delivery.delivery_tag)
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

/// Carries deliveries from lapin's stream, which has no bound, to the lane, and knows how many
/// bytes the lane holds.
pub struct Pump {
    /// Cuts the line when too much comes.
    pub outlet: Outlet,
    /// Most bytes that the lane may hold.
    pub limit: usize,
}

impl Pump {
    /// Carries until the consumer ends or nobody takes what it carries.
    pub async fn run(
        self,
        consumer: Consumer,
        arrive: mpsc::UnboundedSender<anyhow::Result<Vec<Delivery>>>,
    ) {
        let mut chunks = consumer.ready_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let drained = chunk.len() < CHUNK;
            let mut arrived = Vec::with_capacity(chunk.len());
            let mut lost = None;
            for arrival in chunk {
                match arrival {
                    Ok(delivery) if self.fits(self.outlet.size(&delivery)) => {
                        arrived.push(delivery);
                    }
                    Ok(delivery) => {
                        let size = self.outlet.size(&delivery);
                        self.outlet.overflow.store(size, Ordering::Relaxed);
                        // Only cutting the line stops the broker at once.
                        self.outlet.connection.cut();
                        lost = Some(Lost::Overflow(self.limit).into());
                        break;
                    }
                    Err(error) => {
                        lost = Some(
                            anyhow::Error::new(error).context("the broker closed the channel"),
                        );
                    }
                }
            }
            let sizes = arrived.iter().map(|delivery| self.outlet.size(delivery));
            let bytes = sizes.sum();
            self.outlet.flow.arrived(arrived.len(), bytes);
            let ends = lost.is_some();
            if arrive.send(Ok(arrived)).is_err()
                || lost.is_some_and(|lost| arrive.send(Err(lost)).is_err())
                || ends
            {
                return;
            }
            // Who waits for the next message is woken while the library still hands over the others.
            if drained {
                tokio::time::sleep(GATHER).await;
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
