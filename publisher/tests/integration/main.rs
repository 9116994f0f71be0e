//! The publisher from outside. One binary: the servers that it needs are started once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broker;
mod command;
mod lines;
mod metrics;
mod nouns;
mod plan;
mod security;
mod settings;
mod support;
mod traces;
mod troubles;
