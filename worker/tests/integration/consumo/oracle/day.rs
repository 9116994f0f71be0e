//! Sums, means and counts of a day.

use super::Day;

impl Day {
    pub(super) fn sum(&self, of: impl Fn(usize) -> bool) -> i64 {
        let hours = self.hours.iter().filter(|(_, hour, _)| of(*hour));
        hours.map(|(.., reading)| reading.wh).sum()
    }

    pub(super) fn n(&self) -> i64 {
        i64::try_from(self.hours.len()).unwrap()
    }

    fn nights(&self) -> i64 {
        i64::try_from(self.hours.iter().filter(|(_, h, _)| night(*h)).count()).unwrap()
    }

    /// Mean hour of the night, if there is enough of it.
    pub(super) fn night(&self) -> Option<i64> {
        (self.nights() >= 5).then(|| self.sum(night) / self.nights())
    }

    /// Mean hour, if there is enough of the day.
    pub(super) fn mean(&self) -> Option<i64> {
        (self.n() >= 20).then(|| self.sum(|_| true) / self.n())
    }

    pub(super) fn variation(&self) -> f64 {
        let n = self.n() as f64;
        let mean = self.sum(|_| true) as f64 / n;
        let squares: f64 = self.hours.iter().map(|(.., r)| (r.wh as f64).powi(2)).sum();
        (squares / n - mean * mean).max(0.0).sqrt() / mean.max(1.0)
    }
}

pub(super) const fn night(hour: usize) -> bool {
    hour < 6 || hour == 23
}

pub(super) fn peak(hour: usize) -> bool {
    (18..=22).contains(&hour)
}
