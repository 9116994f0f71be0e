//! Measures the pipeline, its limits and alternative programs in one run: same
//! servers, same messages, one after the other. A figure alone says little; a ratio within one run
//! says the same on every machine.
//!
//! A [`Scenario`] plays once a run and gives [`Sample`]s; the [`Report`] has their medians, their
//! spread, and the ratios that are promised.

pub mod cpu;
pub mod environment;
pub mod guard;
pub mod http;
pub mod load;
pub mod machine;
pub mod process;
pub mod report;
pub mod sample;
pub mod scenarios;
pub mod statements;
pub mod targets;
pub mod watch;

pub use environment::{BenchEnv, Size};
pub use report::Report;
pub use sample::Sample;
pub use scenarios::{Scenario, all, find};
