//! What is measured.

mod drain;
mod limits;

use std::pin::Pin;

use crate::ground::Ground;
use crate::sample::Sample;

pub use drain::{Drained, drain};

/// Samples of one run.
pub type Played<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Sample>>> + Send + 'a>>;

/// Something that is measured, once a run.
#[derive(Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Takes very long: only when it is named.
    pub long: bool,
    /// Figures that its table shows; see `report::COLUMNS`.
    pub columns: &'static [&'static str],
    /// Plays it.
    pub play: for<'a> fn(&'a Ground<'a>) -> Played<'a>,
}

/// Columns of scenarios that are about throughput.
const THROUGHPUT: &[&str] = &[
    "messages",
    "rate",
    "worker_us",
    "postgresql_us",
    "rabbitmq_us",
    "peak_mb",
];

/// All of them, in the order in which they are played.
#[must_use]
pub fn all() -> &'static [Scenario] {
    &[
        Scenario {
            name: "drain",
            about: "a full queue, from the start of the worker until everything is promoted",
            long: false,
            columns: THROUGHPUT,
            play: |ground| Box::pin(drain::play(ground)),
        },
        Scenario {
            name: "limits",
            about: "what bounds it: consuming alone, consuming and staging, the merges alone, a bare COPY",
            long: false,
            columns: THROUGHPUT,
            play: |ground| Box::pin(limits::play(ground)),
        },
    ]
}

/// The scenario of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().iter().find(|scenario| scenario.name == name)
}
