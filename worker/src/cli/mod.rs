//! The commands: their options and their output. Their actions are in `acequia_ops`,
//! `acequia_archive` and the loops.

mod actor;
pub mod archive;
mod archive_read;
mod connection;
pub mod doctor;
pub mod gate;
pub mod ledger;
pub mod migrate;
pub mod output;
pub mod pause;
pub mod purge;
pub mod quarantine;
pub mod rules;
pub mod trace;
mod trace_text;
