//! The connections that lanes write by: one for each domain, whatever the number of its queues (ADR 44).

use acequia_contracts::Domain;
use acequia_store::db::Session;
use tokio::sync::{Mutex, MutexGuard};

use crate::metrics::Open;
use crate::queue_consumer::QueueConsumer;

/// A place for a connection; empty until a lane needs it, and after it was lost.
pub type Slot = Mutex<Option<(Session, Open)>>;
/// The turn to write by a connection.
pub type ConnectionGuard<'a> = MutexGuard<'a, Option<(Session, Open)>>;

/// The connections of the lanes of a process.
#[derive(Debug)]
pub struct Writers {
    slots: Vec<(&'static str, Slot)>,
    spare: Slot,
}

impl Writers {
    /// No connection is open yet.
    #[must_use]
    pub fn new(domains: &[&'static Domain]) -> Self {
        let slot = |domain: &&'static Domain| (domain.name, Slot::default());
        Self {
            slots: domains.iter().map(slot).collect(),
            spare: Slot::default(),
        }
    }

    /// The connection of a lane. Dead letters are few: they go by that of the first domain.
    #[must_use]
    pub fn of(&self, lane: &QueueConsumer) -> &Slot {
        let own = |(name, _): &&(&'static str, Slot)| {
            lane.domain.is_none_or(|domain| domain.name == *name)
        };
        let slot = self.slots.iter().find(own);
        slot.map_or(&self.spare, |(_, slot)| slot)
    }
}
