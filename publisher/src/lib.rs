//! Publishes messages and reports the result of each: synthetic data of the domains,
//! made by their generators, and files with one JSON object per line.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use acequia_publisher::{Ids, Publisher, messages};
//!
//! let domain = acequia_contracts::catalog()[0].name;
//! let messages = messages(domain, &["--seed", "7", "--duplicates", "5"], Ids::Fresh)?;
//! let mut publisher = Publisher::connect("amqp://app:app_password@127.0.0.1:5672/%2f").await?;
//! let summary = publisher.send_all(messages).await;
//! publisher.close().await;
//! assert!(summary.is_complete(), "{summary}");
//! # Ok(())
//! # }
//! ```
#![warn(clippy::print_stderr)]

mod backlog;
mod checked_lines;
pub mod cli;
mod commands;
mod confirm_tracker;
mod contracts;
mod foreign;
mod ids;
mod link;
mod loss;
mod metrics;
mod ndjson;
mod outgoing;
mod pauses;
mod plan;
mod progress;
mod publish_window;
mod publisher;
mod raw_lines;
mod rejects;
mod run;
mod summary;
mod validate;

pub use acequia_net::SecretUrl;
pub use checked_lines::{CheckedLine, CheckedLines, Scope, UnreadableFile};
pub use commands::execute;
pub use ids::Ids;
pub use link::{ConnectError, broker_url};
pub use metrics::Metrics;
pub use ndjson::{BadLine, Lines, write_lines};
pub use outgoing::{EXCHANGE, Outgoing, Route};
pub use plan::{Mix, messages, plan};
pub use publisher::{Publisher, Settings};
pub use summary::{Counts, Failure, Summary};
