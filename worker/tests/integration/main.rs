//! The worker against a real RabbitMQ and a real PostgreSQL. Each test has its own database and
//! its own virtual host, so they may run in parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

mod accepted;
mod accounts;
mod archive;
mod backup;
mod bad_input;
mod bounds;
mod conservation;
mod consumo;
mod dead_letters;
mod delivery;
mod drift;
mod duties;
mod failover;
mod freshness;
mod gates;
mod grants;
mod identity;
mod isolation;
mod limits;
mod locks;
mod log_output;
mod logs;
mod mart_pages;
mod marts;
mod metrics;
mod operations;
mod oracle;
mod order;
mod pending;
mod permutations;
mod pooler;
mod quarantine;
mod queues;
mod references;
mod refusals;
mod replay;
mod replay_faults;
mod retention;
mod security;
mod settings;
mod silence;
mod smoke;
mod stored_values;
mod times;
mod trace;
mod traces;
mod unicode;
mod unseen;
mod upgrade;
mod volume;
mod wire;
mod write_off;
