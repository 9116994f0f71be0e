//! The commands: their options, and what they print. What they do is in `acequia_ops`,
//! `acequia_archive` and the loops.

mod actor;
pub mod archive;
mod archive_read;
pub mod doctor;
pub mod gate;
pub mod ledger;
mod output;
pub mod purge;
pub mod quarantine;
pub mod trace;
mod trace_text;
