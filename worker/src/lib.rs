//! How messages move: ingest, promote, check, refresh, deliver. No domain is named here; what a message
//! is comes from the catalog of `acequia_contracts`, what becomes of it from SQL.

#![warn(clippy::print_stderr)]

pub mod acknowledged;
mod archive;
pub mod check;
pub mod cli;
pub mod config;
pub mod context;
mod deliver;
pub mod health;
pub mod http;
pub mod ingest;
pub mod lane;
mod listen;
pub mod look;
pub mod looks;
pub mod maintain;
pub mod metrics;
mod pool;
pub mod promote;
pub mod refresh;
pub mod run;
pub mod settings;
pub mod status;
mod wakes;
mod worker_loop;
