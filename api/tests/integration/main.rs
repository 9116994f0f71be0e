//! The API on real servers, with a real worker beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod consumo;
mod document;
mod messages;
mod quarantine;
mod reading;
mod support;
