//! What Prometheus sees of a fault: a real one, with the project's settings and rules, over the
//! workers, the broker and the database of a stage, in a hurry.

mod prometheus;
mod remedies;
mod settings;
mod signs;

pub use prometheus::Prometheus;
pub use settings::{Hurry, hurried};
pub use signs::{Observer, Seen, placed, table};
