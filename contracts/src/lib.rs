//! What a message is: types with their rules, the catalog of all of them, sample messages.
//!
//! A domain is a module of this crate and one line in [`catalog`]. Nothing here knows of the
//! broker or of SQL beyond names.

use std::sync::LazyLock;

pub mod academico;
mod catalog;
pub mod consumo;
mod decode;
mod field;
pub mod fixtures;
#[cfg(feature = "generate")]
pub mod generate;
mod message;
pub mod rules;
mod violation;

pub use catalog::{Domain, Entity};
pub use decode::{Envelope, MAX_DEPTH, decode, entity_of};
pub use field::{Exact, Field, Kind, Values};
pub use message::{Column, Message};
pub use rules::Context;
pub use violation::{Code, Stage, Violation, broken, flatten};

/// The largest body that is taken, in bytes. Larger ones go to quarantine unread.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

static CATALOG: LazyLock<Vec<Domain>> =
    LazyLock::new(|| vec![academico::domain(), consumo::domain()]);

/// Every domain of the platform.
#[must_use]
pub fn catalog() -> &'static [Domain] {
    &CATALOG
}

/// The domain of a name.
#[must_use]
pub fn domain(name: &str) -> Option<&'static Domain> {
    catalog().iter().find(|domain| domain.name == name)
}
