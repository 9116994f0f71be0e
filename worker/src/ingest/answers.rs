//! How fast the broker answers: is it slow, or are we?

use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use prometheus::Histogram;
use tokio::time::Instant;

use crate::amqp::answer;

/// Time between two questions. The broker's part of one is a look at the queue's counters.
const EVERY: Duration = Duration::from_secs(5);

/// Asks about a queue again and again, whether the lane is busy or idle, and takes the time. On a
/// channel of its own, so that no answer of the lane's waits behind these; on the lane's
/// connection, so that they take the way of its messages. Ends with the channel.
pub async fn watch(channel: Channel, queue: String, took: Histogram) {
    loop {
        let asked = Instant::now();
        let answered = ready_messages(&channel, &queue).await.is_ok();
        // A question that is given up took that long at least.
        if answered || channel.status().connected() {
            took.observe(asked.elapsed().as_secs_f64());
        }
        if !channel.status().connected() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Messages in a queue that are ready to be delivered.
///
/// # Errors
/// When there is no such queue, or no answer in time.
pub async fn ready_messages(channel: &Channel, queue: &str) -> anyhow::Result<u32> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default());
    Ok(answer(queue).await?.message_count())
}
