//! The measurements.

mod api;
mod drain;
mod growth;
mod hostile;
mod latency;
mod limits;
mod memory;
mod peers;
mod publishing;
mod quarantine;
mod scale;
mod start;

use std::pin::Pin;

use crate::environment::BenchEnv;
use crate::sample::Sample;

pub use drain::{Drained, drain};

/// Samples of one run.
pub type Played<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Sample>>> + 'a>>;

/// Something that is measured, once a run.
#[derive(Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Description.
    pub about: &'static str,
    /// Takes very long: only when it is named.
    pub long: bool,
    /// Figures that its table shows; see `report::COLUMNS`.
    pub columns: &'static [&'static str],
    /// Plays it.
    pub play: for<'a> fn(&'a BenchEnv<'a>) -> Played<'a>,
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
            play: |bench| Box::pin(drain::play(bench)),
        },
        Scenario {
            name: "limits",
            about: "what bounds it: consuming alone, consuming and staging, the merges alone, a bare COPY",
            long: false,
            columns: THROUGHPUT,
            play: |bench| Box::pin(limits::play(bench)),
        },
        Scenario {
            name: "peers",
            about: "the same drain by a tuned Python worker, and by FastStream as its documentation shows it",
            long: false,
            columns: THROUGHPUT,
            play: |bench| Box::pin(peers::play(bench)),
        },
        Scenario {
            name: "shuffled",
            about: "a drain of the same messages in random order: most rows wait for the rows they refer to",
            long: false,
            columns: THROUGHPUT,
            play: |bench| Box::pin(drain::play_shuffled(bench)),
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
            play: |bench| Box::pin(hostile::play(bench)),
        },
        Scenario {
            name: "scale",
            about: "a drain by several workers, and by several pipelines side by side on the same servers",
            long: false,
            columns: THROUGHPUT,
            play: |bench| Box::pin(scale::play(bench)),
        },
        Scenario {
            name: "publisher",
            about: "messages confirmed into a quorum queue, by the publisher and by a loop that does nothing else",
            long: false,
            columns: &["messages", "rate", "worker_us", "rabbitmq_us"],
            play: |bench| Box::pin(publishing::play(bench)),
        },
        Scenario {
            name: "start",
            about: "from the start of a worker to its first committed batch, while messages wait",
            long: false,
            columns: &["first_ms"],
            play: |bench| Box::pin(start::play(bench)),
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
            play: |bench| Box::pin(latency::play(bench)),
        },
        Scenario {
            name: "api",
            about: "64 callers at once: a mart page beside a handler that does nothing, a message beside a bare publish; memory with many streams and connections",
            long: false,
            columns: &[
                "calls_s",
                "call_p50_ms",
                "call_p99_ms",
                "api_us",
                "before_mb",
                "api_mb",
            ],
            play: |bench| Box::pin(api::play(bench)),
        },
        Scenario {
            name: "quarantine",
            about: "lists and groups of a million refused messages by the API",
            long: true,
            columns: &["call_p50_ms", "call_max_ms"],
            play: |bench| Box::pin(quarantine::play(bench)),
        },
        Scenario {
            name: "growth",
            about: "a drain into a core with rows in it and a month of staging partitions",
            long: true,
            columns: THROUGHPUT,
            play: |bench| Box::pin(growth::play(bench)),
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
            play: |bench| Box::pin(memory::play(bench)),
        },
    ]
}

/// The scenario of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().iter().find(|scenario| scenario.name == name)
}
