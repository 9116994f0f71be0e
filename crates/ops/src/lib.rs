//! Actions and queries of operators: messages in quarantine, traces, gates, the ledger, the state of an
//! installation. Each function takes plain parameters and returns what `serde` can write; how that is
//! shown, and who may ask, is the caller's.

pub mod archives;
pub mod doctor;
pub mod freshness;
pub mod gates;
pub mod ledger;
pub mod lineage;
pub mod marts;
pub mod quality;
pub mod quarantine;
pub mod reconciliation;
pub mod streams;
pub mod trace;
