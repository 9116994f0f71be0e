//! Messages on their way into staging and quarantine: decoded into columns, and written in one
//! transaction with the batch's accounts.

mod copies;
mod dead_letter;
mod insert;
mod properties;
mod quarantine;
mod replayed;
mod sort;
mod unreadable;
mod write;

pub use properties::{CAME_BY, came_by, first_death_queue, named, published_at, sent};
pub use sort::{EntityRows, Rejected, Sorted};
pub use write::{Counts, Purpose, Store, Written};
