//! The measurements.

mod drain;
mod growth;
mod hostile;
mod latency;
mod limits;
mod memory;
mod peers;
mod publishing;
mod scale;
mod start;

use std::pin::Pin;

use crate::ground::Ground;
use crate::sample::Sample;

pub use drain::{Drained, drain};

/// Samples of one run.
pub type Played<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Sample>>> + 'a>>;

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
    "used",
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
        Scenario {
            name: "peers",
            about: "the same drain by a tuned Python worker, and by FastStream as its documentation shows it",
            long: false,
            columns: THROUGHPUT,
            play: |ground| Box::pin(peers::play(ground)),
        },
        Scenario {
            name: "shuffled",
            about: "a drain of the same messages in random order: most rows wait for the rows they refer to",
            long: false,
            columns: THROUGHPUT,
            play: |ground| Box::pin(drain::play_shuffled(ground)),
        },
        Scenario {
            name: "hostile",
            about: "a drain with 5 % invalid messages, 5 % copies, 10 % orphans and bodies up to 64 KB, and a clean one",
            long: false,
            columns: &[
                "messages",
                "mean_bytes",
                "rate",
                "worker_us",
                "postgresql_us",
                "rabbitmq_us",
                "peak_mb",
            ],
            play: |ground| Box::pin(hostile::play(ground)),
        },
        Scenario {
            name: "scale",
            about: "a drain by several workers, and by several pipelines side by side on the same servers",
            long: false,
            columns: THROUGHPUT,
            play: |ground| Box::pin(scale::play(ground)),
        },
        Scenario {
            name: "publisher",
            about: "messages confirmed into a quorum queue, by the publisher and by a loop that does nothing else",
            long: false,
            columns: &["messages", "rate", "worker_us", "rabbitmq_us"],
            play: |ground| Box::pin(publishing::play(ground)),
        },
        Scenario {
            name: "start",
            about: "from the start of a worker to its first committed batch, while messages wait",
            long: false,
            columns: &["first_ms"],
            play: |ground| Box::pin(start::play(ground)),
        },
        Scenario {
            name: "latency",
            about: "from the publisher's call until the message can be read in the core, and in the slowest materialized mart",
            long: false,
            columns: &[
                "rate",
                "core_p50_ms",
                "core_p95_ms",
                "core_p99_ms",
                "core_max_ms",
                "mart_p50_ms",
                "mart_p99_ms",
                "peak_mb",
            ],
            play: |ground| Box::pin(latency::play(ground)),
        },
        Scenario {
            name: "growth",
            about: "a drain into a core with rows in it and a month of staging partitions",
            long: true,
            columns: THROUGHPUT,
            play: |ground| Box::pin(growth::play(ground)),
        },
        Scenario {
            name: "memory",
            about: "the worker's memory over twenty times the messages, published and drained at the same time",
            long: true,
            columns: &[
                "messages",
                "rate",
                "peak_mb",
                "early_mb",
                "late_mb",
                "worker_us",
            ],
            play: |ground| Box::pin(memory::play(ground)),
        },
    ]
}

/// The scenario of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().iter().find(|scenario| scenario.name == name)
}
