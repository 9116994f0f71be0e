//! Probes a queue: response time of the broker, ready messages, messages that the lane holds.

use std::sync::Arc;
use std::time::Instant;

use acequia_net::topology::answer;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Queue};
use prometheus::Histogram;

use crate::AckHandle;
use crate::look::{EVERY, Look, Looks};

/// The probe of a lane's queue, for as long as its consumer lives.
pub struct Watch {
    /// A channel of its own, so that no answer of the lane's waits behind the questions whose time
    /// is taken; on the lane's connection, so that they take the way of its messages.
    pub channel: Channel,
    /// The queue.
    pub queue: String,
    /// Histogram of the response times.
    pub took: Histogram,
    /// Deliveries and acknowledgements of the lane.
    pub acks: AckHandle,
    /// Observations of all lanes.
    pub looks: Arc<Looks>,
}

impl Watch {
    /// Asks again and again, whether the lane is busy or idle. The broker's part of a question is a
    /// look at the queue's counters. Ends with the channel.
    pub async fn run(self) {
        let since = Instant::now();
        loop {
            let asked = Instant::now();
            let answered = ready_messages(&self.channel, &self.queue).await.is_ok();
            // A question that is given up took that long at least.
            if answered || self.channel.status().connected() {
                self.took.observe(asked.elapsed().as_secs_f64());
            }
            if !self.channel.status().connected() {
                return;
            }
            if let Ok(look) = self.look(since).await {
                self.looks.seen(&self.queue, look);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Asked by the channel that the messages come by: what was delivered before the answer has
    /// arrived before it, and is counted when the forwarder has been at the end of its stream.
    async fn look(&self, since: Instant) -> anyhow::Result<Look> {
        let asked = Instant::now();
        let queue = declared(self.acks.channel(), &self.queue).await?;
        self.acks.counted().await?;
        let (arrived, held_since) = self.acks.tally();
        Ok(Look {
            since,
            asked,
            ready: queue.message_count(),
            consumers: queue.consumer_count(),
            arrived,
            held_since,
        })
    }
}

/// Messages in a queue that are ready to be delivered.
///
/// # Errors
/// When there is no such queue, or no answer in time.
pub async fn ready_messages(channel: &Channel, queue: &str) -> anyhow::Result<u32> {
    Ok(declared(channel, queue).await?.message_count())
}

async fn declared(channel: &Channel, queue: &str) -> anyhow::Result<Queue> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    answer(channel.queue_declare(queue.into(), options, FieldTable::default())).await
}
