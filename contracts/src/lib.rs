//! Message contracts: types with their rules, the catalog of all types, sample messages.
//!
//! A domain is a module of this crate and one line in [`catalog`]. Nothing here knows of the
//! broker or of SQL beyond names.

use std::sync::LazyLock;

// The domains, a line for each: scripts/new-domain.sh adds to this list.
pub mod academico;
pub mod consumo;

mod asyncapi;
mod body;
mod catalog;
mod check;
mod compat;
mod decode;
mod delete;
pub mod envelope;
mod exact_decimal;
mod field;
pub mod fixtures;
#[cfg(feature = "generate")]
pub mod generate;
mod json;
mod merge;
mod message;
mod report;
pub mod rules;
pub mod schema;
mod time;
mod violation;

pub use asyncapi::{Topology, asyncapi};
pub use body::body_text;
pub use catalog::{Domain, Entity};
pub use check::CatalogError;
pub use compat::{Breaking, ChangeKind, breaking};
pub use decode::{Envelope, decode, entity_of};
pub use delete::{OP_FIELD, Op};
pub use exact_decimal::ExactDecimal;
pub use field::{Field, Kind, Values};
pub use merge::{Change, DefaultValue, MergeKind, MergeSpec, MissingParent, Parent};
pub use message::{Column, Message};
pub use report::nameless;
pub use rules::Context;
pub use schema::{Rule, schema};
pub use time::{Date, Instant};
pub use violation::{Code, Stage, Violation, flatten, violation};

/// The largest body that is taken, in bytes. Larger ones go to quarantine unread.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The deepest nesting of objects and lists that a message may have.
pub const MAX_DEPTH: usize = 64;

/// The version of the contract that is served: what `v` of a message says, if it says anything.
pub const CONTRACT_VERSION: i64 = 1;

static CATALOG: LazyLock<Vec<Domain>> = LazyLock::new(|| {
    let domains = vec![
        academico::domain(),
        consumo::domain(),
        // A new domain stands last.
    ];
    for domain in &domains {
        if let Err(error) = domain.check() {
            // A defect of this program, found by the first test that looks at the catalog.
            panic!("{error}");
        }
    }
    domains
});

/// Every domain of the platform.
///
/// # Panics
/// When a declaration contradicts itself, see [`Domain::check`].
#[must_use]
pub fn catalog() -> &'static [Domain] {
    &CATALOG
}

/// The domain of a name.
#[must_use]
pub fn domain(name: &str) -> Option<&'static Domain> {
    catalog().iter().find(|domain| domain.name == name)
}
