//! How messages move: ingest, promote, check, refresh, deliver. No domain is named here; what a message
//! is comes from the catalog of `acequia_contracts`, what becomes of it from SQL.

#![warn(clippy::print_stderr)]

pub mod acknowledged;
pub mod amqp;
pub mod archive;
pub mod check;
pub mod clock;
pub mod config;
pub mod db;
mod deliver;
pub mod doctor;
mod failpoint;
pub mod failure;
pub mod gate;
pub mod health;
pub mod http;
pub mod ingest;
pub mod ledger;
pub mod looks;
pub mod maintain;
pub mod metrics;
pub mod migrate;
mod operator;
mod pool;
pub mod pooler;
pub mod promote;
pub mod quarantine;
pub mod refresh;
pub mod run;
pub mod settings;
pub mod status;
mod text;
pub mod trace;
mod wakes;
mod worker_loop;
