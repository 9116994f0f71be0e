//! Synthetic data: what a domain offers so that the publisher can make messages for it.

mod seeded_rng;

use chrono::{DateTime, Utc};
use clap::{ArgMatches, Command};
use std::fmt;

pub use seeded_rng::SeededRng;

/// One synthetic message.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// Entity inside the domain.
    pub entity: &'static str,
    /// Event time, also in the body as `ts`.
    pub at: DateTime<Utc>,
    /// The JSON body.
    pub body: Vec<u8>,
}

/// A seeded source of messages. The same options and seed give the same messages, byte for
/// byte, on every machine.
pub trait Generator: Sync + fmt::Debug {
    /// Adds the domain's own options to `publisher generate <domain>`.
    fn options(&self, command: Command) -> Command;

    /// The messages, parents before children.
    ///
    /// # Errors
    /// When options contradict each other; `clap` shows the error as a usage error.
    fn generate(
        &self,
        options: &ArgMatches,
        seed: u64,
    ) -> Result<Box<dyn Iterator<Item = Synthetic> + Send>, clap::Error>;
}
