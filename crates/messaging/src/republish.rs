//! Moves redelivered messages out of a queue that does not count deliveries.
//!
//! A message that kills the worker is delivered again as often as the queue has it. The domain's
//! own queue counts that and gives it up in the end; a classic queue, which the publishers of a
//! reference system declare, does not. So what such a queue delivers for the second time is not
//! even looked at: it moves to the domain's queue, under the identity that it has.

use std::time::Duration;

use acequia_net::topology::answer;
use anyhow::{Context, bail};
use lapin::Confirmation;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};

use crate::{AckHandle, Batch};

/// Time limit of the broker for a batch.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(60);

impl AckHandle {
    /// Publishes a batch to another queue and waits until the broker has all of it. The batch is
    /// still to be acknowledged; a crash before that makes copies, which count as duplicates. Header `came_by` says
    /// which queue a message came by first.
    ///
    /// # Errors
    /// When the broker does not take a message or does not answer.
    pub async fn republish(
        &self,
        batch: &Batch,
        came_by: &str,
        from: &str,
        to: &str,
    ) -> anyhow::Result<()> {
        let publish = async {
            let channel = self.channel();
            answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
            let mut confirms = Vec::with_capacity(batch.deliveries.len());
            for delivery in &batch.deliveries {
                let mut headers = delivery.properties.headers().clone().unwrap_or_default();
                mark(&mut headers, came_by, from);
                let properties = delivery.properties.clone().with_headers(headers);
                let options = BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                };
                let sent = channel
                    .basic_publish(
                        "".into(),
                        to.into(),
                        options,
                        &delivery.data,
                        properties.with_delivery_mode(2),
                    )
                    .await?;
                confirms.push(sent);
            }
            for confirm in confirms {
                // One with a message inside is one that no queue took.
                if confirm.await? != Confirmation::Ack(None) {
                    bail!("the broker did not take a message");
                }
            }
            Ok(())
        };
        tokio::time::timeout(CONFIRMED_WITHIN, publish)
            .await
            .context("no confirmation")
            .flatten()
            .with_context(|| format!("passing messages on from {from} to {to}"))
    }
}

fn mark(headers: &mut FieldTable, came_by: &str, from: &str) {
    if !headers.inner().contains_key(came_by) {
        let from = AMQPValue::LongString(LongString::from(from));
        headers.insert(came_by.into(), from);
    }
}
