//! Messages on their way into staging and quarantine: decoded into columns, and written in one
//! transaction with the batch's ledger rows.

mod copies;
mod corrections;
mod dead_letter;
mod decode;
mod insert;
mod properties;
mod quarantine;
mod queue;
mod recent;
mod replayed;
mod session;
mod unreadable;
mod write;

pub use decode::{DecodedBatch, EntityRows, Rejected};
pub use properties::{CAME_BY, came_by, first_death_queue, named, published_at, sent};
pub use queue::decode;
pub use session::{keep_plans, quarantine_writable};
pub use write::{Counts, Store, WriteMode, Written};
