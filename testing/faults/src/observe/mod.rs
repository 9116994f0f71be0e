//! What Prometheus sees of a fault: a real one, with the project's settings and rules, over the
//! workers, the broker and the database of a test environment, on a shortened time scale.

mod detection_signals;
mod prometheus;
mod runbook_actions;
mod settings;

pub use detection_signals::{Observer, Seen, placed, table};
pub use prometheus::Prometheus;
pub use settings::{TimeScale, scaled};
