//! Collects the messages of a batch.

use std::collections::HashMap;
use std::time::Duration;

use acequia_telemetry::health::LoopHealth;
use chrono::Utc;
use lapin::message::Delivery;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::window::is_poison_candidate;
use crate::{Batch, DisconnectReason, Ended, STEADY, Source, WritePermit};

/// Shortest wait for a batch to fill.
const LINGER: Duration = Duration::from_millis(4);
/// A batch waits for more messages: one part in this many of the age of its first message, or a time that
/// grows with the size of the batch before it, if that is longer. So fresh messages are not held up, while a backlog,
/// and messages that arrive faster than small batches can be written, are written in large batches.
const LINGER_SHARE: u32 = 20;
/// Extra wait for each message of the batch before. Below 12,500 messages a second (one for each 80 µs)
/// that is little; above, batches grow until what each of them costs by itself does not matter.
const LINGER_EACH: Duration = Duration::from_micros(80);
/// ... up to this.
const LINGER_MORE: Duration = Duration::from_millis(40);

impl Source {
    /// Collects a batch of at most `most` messages: up to the limits of count and bytes, until a
    /// poison-message candidate comes, which is a batch of its own, or until the first message has waited long
    /// enough and the batch before it is done (`permit`). `None` after a stop request. An empty queue counts as a success
    /// of the lane in `health`, and so does a pause.
    ///
    /// # Errors
    /// When the consumer is lost, or is alive but gets nothing although messages are ready.
    pub async fn next_batch(
        &mut self,
        most: usize,
        permit: &WritePermit,
        stop: &CancellationToken,
        health: &LoopHealth,
    ) -> anyhow::Result<Option<Batch>> {
        let Some(first) = self.first(permit, stop, health).await? else {
            return Ok(None);
        };
        let counted = self.settings.counts_deliveries;
        let acks = self.acks.clone();
        // An unreadable message never counts as redelivered: it goes to quarantine from here.
        let again =
            |delivery: &Delivery| delivery.redelivered && !counted && !acks.is_unreadable(delivery);
        let enough = Instant::now() + self.linger(&first);
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
            if bytes >= self.settings.batch_bytes {
                batch.ended = Ended::Bytes;
                break;
            }
            let Some(delivery) = self.ahead.pop_front() else {
                if !self.consuming {
                    batch.ended = Ended::Wait;
                    break;
                }
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

    /// Waits for a message. A consumer that gets none while the queue has some is dead,
    /// although the broker has not cancelled it.
    async fn first(
        &mut self,
        permit: &WritePermit,
        stop: &CancellationToken,
        health: &LoopHealth,
    ) -> anyhow::Result<Option<Delivery>> {
        let stall_after = self.settings.stall_after;
        // A lane that was lost is known to work again as soon as nothing happens to it for a while.
        let mut look_after = if health.expects_success() {
            STEADY.min(stall_after / 3)
        } else {
            stall_after / 3
        };
        let mut passed_over = 0;
        loop {
            if stop.is_cancelled() {
                return Ok(None);
            }
            if self.consuming && self.is_paused() {
                self.pause().await?;
            }
            if let Some(delivery) = self.ahead.pop_front() {
                return Ok(Some(delivery));
            }
            if !self.consuming {
                if self.is_paused() {
                    health.succeeded();
                    self.wait_for_resumption(stall_after / 3, stop).await?;
                } else {
                    self.resume().await?;
                }
                continue;
            }
            let mut paused = self.paused.clone();
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = Self::until(&mut paused, true) => continue,
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
                health.succeeded();
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

    /// Waits for the end of the pause, a stop request, or the time of the next report to `health`.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn wait_for_resumption(
        &mut self,
        look_after: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = Self::until(&mut self.paused, false) => return Ok(()),
            () = tokio::time::sleep(look_after) => {}
        }
        self.waiting().await?;
        Ok(())
    }

    /// Linger time of a batch, given its first message and the size of the previous batch.
    fn linger(&self, first: &Delivery) -> Duration {
        let now = Utc::now();
        let published = (self.settings.published_at)(&first.properties, now);
        let age = published
            .and_then(|published| (now - published).to_std().ok())
            .unwrap_or_default();
        let more = LINGER_EACH.saturating_mul(self.collected).min(LINGER_MORE);
        (age / LINGER_SHARE)
            .max(more)
            .max(LINGER)
            .min(self.settings.batch_wait)
    }
}
