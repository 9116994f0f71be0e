//! The worker against a real RabbitMQ and a real PostgreSQL. Each test has its own database and
//! its own virtual host, so they may run in parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

mod archive;
mod bad_input;
mod bounds;
mod conservation;
mod consumo;
mod delivery;
mod drift;
mod freshness;
mod gates;
mod grants;
mod isolation;
mod limits;
mod locks;
mod logs;
mod marts;
mod metrics;
mod operations;
mod oracle;
mod order;
mod pending;
mod permutations;
mod quarantine;
mod queues;
mod references;
mod replay;
mod replay_faults;
mod retention;
mod security;
mod smoke;
mod stored_values;
mod trace;
mod traces;
mod unicode;
