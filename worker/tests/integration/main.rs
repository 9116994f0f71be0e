//! The worker against a real RabbitMQ and a real PostgreSQL. Each test has its own database and
//! its own virtual host, so they may run in parallel.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

mod oracle;
mod permutations;
mod retention;
mod smoke;
