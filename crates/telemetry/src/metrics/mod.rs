//! Metrics that every program has, and how they are made. What each metric is stands in
//! `prometheus/metrics.yml`; a test of each program compares its page with that file.

mod log;
mod process;
mod registrar;
mod set;

pub(crate) use log::{CountEvents, count_dropped_lines, dropped_line, panicked};
pub use process::Process;
pub use registrar::{Registrar, observe};

use prometheus::{Registry, TextEncoder};

/// The type of the page: Prometheus 3 refuses one without it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page in Prometheus' text format.
///
/// # Errors
/// When a metric cannot be written as text.
pub fn page(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
