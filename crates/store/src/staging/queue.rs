//! Decodes the messages of a queue.

use std::collections::HashMap;
use std::sync::LazyLock;

use acequia_contracts::envelope::UNKNOWN;
use acequia_contracts::{Context, Domain, catalog};
use acequia_net::guard::Note;
use acequia_net::topology::queue_of;
use lapin::message::Delivery;

use super::{DecodedBatch, first_death_queue};

/// Messages decoded before the task yields its thread.
const DECODED_AT_ONCE: usize = 128;

/// Dead letters whose original queue is unknown.
static NOBODYS: LazyLock<Domain> = LazyLock::new(|| Domain::new(UNKNOWN));

/// Decodes the messages of a queue into one batch per domain. `domain` is `None` for dead letters, whose domain is that
/// of their original queue. `unreadable` maps positions to the parts of a message that could not be read.
pub async fn decode(
    queue: &str,
    domain: Option<&'static Domain>,
    messages: &[Delivery],
    mut unreadable: HashMap<usize, Note>,
    context: &Context,
) -> Vec<DecodedBatch> {
    let mut batches: Vec<DecodedBatch> = match domain {
        Some(domain) => vec![DecodedBatch::new(domain)],
        None => {
            let domains = catalog().iter().chain([&*NOBODYS]);
            domains.map(DecodedBatch::new).collect()
        }
    };
    for (position, delivery) in messages.iter().enumerate() {
        if position % DECODED_AT_ONCE == DECODED_AT_ONCE - 1 {
            tokio::task::yield_now().await; // the batch before this one is being written
        }
        let index = match domain {
            Some(_) => 0,
            None => origin_of(delivery, &batches),
        };
        let Some(batch) = batches.get_mut(index) else {
            continue;
        };
        if let Some(note) = unreadable.remove(&position) {
            batch.add_unreadable(position, delivery, queue, note);
        } else if domain.is_none() {
            batch.add_dead(position, delivery, queue);
        } else {
            batch.add(position, delivery, queue, context);
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// The domain whose queue gave a message up. Dead letters of unknown origin get a batch of their own, so that they do
/// not appear in the ledger of a domain.
fn origin_of(delivery: &Delivery, domains: &[DecodedBatch]) -> usize {
    let key = delivery.routing_key.as_str();
    let origin = first_death_queue(&delivery.properties);
    let index = domains.iter().position(|decoded| {
        let name = decoded.domain.name;
        origin.as_deref() == Some(queue_of(name).as_str())
            || key
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
    });
    index.unwrap_or(domains.len() - 1)
}
