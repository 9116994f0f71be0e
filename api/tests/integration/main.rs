//! The API on real servers, with a real worker beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod agreement;
mod archives;
mod consumo;
mod document;
mod edits;
mod examples;
mod faults;
mod generated;
mod messages;
mod metrics;
mod parquet;
mod process;
mod quarantine;
mod reading;
mod streams;
mod support;
mod undo;
