//! What people do and ask: messages in quarantine, traces, gates, the ledger, the state of an
//! installation. Each function takes plain parameters and returns what `serde` can write; how that is
//! shown, and who may ask, is the caller's.

pub mod doctor;
pub mod gates;
pub mod ledger;
pub mod quarantine;
pub mod trace;
