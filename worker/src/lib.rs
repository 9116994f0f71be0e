//! How messages move: ingest, promote, check, refresh, ticks, outbox relay. No domain is named here: message types
//! come from the catalog of `acequia_contracts`, merges from SQL.

#![warn(clippy::print_stderr)]

pub mod acknowledged;
mod archive;
pub mod check;
pub mod cli;
pub mod config;
pub mod context;
pub mod database_metrics;
pub mod http;
pub mod ingest;
mod listen;
pub mod looks;
pub mod maintain;
pub mod metrics;
mod outbox_relay;
pub mod pauses;
pub mod promote;
pub mod queue_consumer;
pub mod refresh;
pub mod run;
pub mod settings;
pub mod ticks;
mod wakes;
mod worker_loop;
