//! Messages with properties that cannot be read: they are not decoded, and kept with every byte.

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Code, Violation};
use acequia_net::guard::Note;
use acequia_net::properties::{Fault, stable_parts};
use lapin::message::Delivery;
use sha2::{Digest, Sha256};

use super::decode::{DecodedBatch, Rejected, named_outside};
use super::properties::{came_by, clean, named};

impl DecodedBatch {
    /// Files a delivery of which the guard of the connection left something out.
    pub fn add_unreadable(
        &mut self,
        position: usize,
        delivery: &Delivery,
        queue: &str,
        note: Note,
    ) {
        let violations = note.unreadable.iter().map(|one| {
            let code = match one.fault {
                Fault::NotUtf8 => Code::PropertyNotUtf8,
                Fault::TooDeep => Code::HeadersTooDeep,
                Fault::Malformed => Code::PropertyMalformed,
            };
            Violation::field(code, clean(&one.path), one.to_string())
        });
        self.rejected.push(Rejected {
            delivery: position,
            entity: named_outside(self.domain, delivery),
            identity: named(&delivery.properties)
                .unwrap_or_else(|| of_everything(delivery, queue, &note)),
            violations: violations.collect(),
            sqlstate: None,
        });
        self.notes.insert(position, note);
    }
}

/// The identity of a message whose id cannot be read, or that has none: two that differ in what cannot
/// be read are two, and a second delivery of one is no other message.
fn of_everything(delivery: &Delivery, queue: &str, note: &Note) -> Identity {
    let added = |name: &[u8]| {
        [
            &b"x-delivery-"[..],
            b"x-acquired-",
            b"x-death",
            b"x-first-death-",
            b"x-last-death-",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    };
    let mut hash = Sha256::new();
    for part in stable_parts(&note.list, added) {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.update(&delivery.data);
    Identity::of_bytes(&came_by(delivery, queue), &hash.finalize())
}
