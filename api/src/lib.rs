//! The platform over HTTP: what people and programs read, send and decide. Any number of these processes may run beside each
//! other; what they have to remember is in the database.

#![warn(clippy::print_stderr)]

pub mod access;
pub mod app;
pub mod auth;
pub mod body;
pub mod cli;
pub mod config;
pub mod console;
pub mod data;
pub mod database;
pub mod docs;
pub mod domains;
pub mod events;
pub mod exact;
pub mod filters;
pub mod layer;
pub mod limit;
pub mod metrics;
pub mod operations;
pub mod paging;
pub mod params;
pub mod precondition;
pub mod problem;
pub mod publish;
pub mod routes;
pub mod run;
pub mod scope;
pub mod server;
