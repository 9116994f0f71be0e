//! The API on real servers, with a real worker beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod agreement;
mod document;
mod faults;
mod generated;
mod examples;
mod messages;
mod metrics;
mod quarantine;
mod reading;
mod support;
