//! Progress reports of a copy that takes long.

use std::time::{Duration, Instant};

use tracing::info;

use super::row_group::RowGroup;

/// Time between two lines of the log about a long copy.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A running copy, which logs its progress every few seconds.
pub struct Progress {
    what: &'static str,
    partition: String,
    whole: i64,
    rows: i64,
    bytes: usize,
    begun: Instant,
    told: Instant,
}

impl Progress {
    /// At the beginning.
    #[must_use]
    pub fn new(what: &'static str, partition: &str, whole: i64) -> Self {
        Self {
            what,
            partition: partition.to_owned(),
            whole,
            rows: 0,
            bytes: 0,
            begun: Instant::now(),
            told: Instant::now(),
        }
    }

    /// Rows were copied.
    pub fn add(&mut self, row_group: &RowGroup) {
        self.rows += i64::try_from(row_group.rows()).unwrap_or_default();
        self.bytes += row_group
            .columns
            .iter()
            .map(|column| column.bytes)
            .sum::<usize>();
        if self.told.elapsed() < TELL_EVERY || self.rows == 0 {
            return;
        }
        self.told = Instant::now();
        let left = (self.whole - self.rows).max(0) as f64 / self.rows as f64;
        let seconds_left = (self.begun.elapsed().as_secs_f64() * left).round();
        info!(
            event = "archive.progress",
            what = self.what,
            partition = self.partition,
            rows = self.rows,
            of = self.whole,
            megabytes = self.bytes / 1_000_000,
            seconds_left,
            "copying"
        );
    }
}
