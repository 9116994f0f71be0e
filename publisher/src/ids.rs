//! Message ids.

use chrono::{DateTime, Utc};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use uuid::{Builder, Uuid};

/// Sources of message ids. All are UUIDs of version 7, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// New ones: the messages are other messages each time.
    Fresh,
    /// The same ones each time, four thousand per millisecond from the base time on.
    Seeded {
        /// Seed of the random part.
        seed: u64,
        /// Time of the first id.
        base: DateTime<Utc>,
    },
}

/// A running series of ids.
#[derive(Debug)]
pub(crate) struct Series {
    rng: Box<ChaCha8Rng>,
    clock: Clock,
    millis: u64,
    /// Ids made in this millisecond.
    made: u16,
}

/// Source of the time in an id.
#[derive(Debug, Clone, Copy)]
enum Clock {
    System,
    /// The number of ids made.
    Count,
}

/// Ids per millisecond that keep their order: as many as twelve bits can tell apart, but a
/// round number of them.
const PER_MILLI: u16 = 4000;

impl Series {
    pub(crate) fn new(ids: Ids) -> Self {
        let (rng, clock, millis) = match ids {
            Ids::Fresh => (rand::make_rng(), Clock::System, 0),
            Ids::Seeded { seed, base } => {
                let millis = u64::try_from(base.timestamp_millis()).unwrap_or_default();
                (ChaCha8Rng::seed_from_u64(seed), Clock::Count, millis)
            }
        };
        Self {
            rng: Box::new(rng),
            clock,
            millis,
            made: 0,
        }
    }

    pub(crate) fn next(&mut self) -> Uuid {
        let now = match self.clock {
            Clock::System => u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default(),
            Clock::Count => self.millis,
        };
        if now > self.millis {
            (self.millis, self.made) = (now, 0);
        } else if self.made == PER_MILLI {
            // Ahead of the clock rather than out of order.
            (self.millis, self.made) = (self.millis + 1, 0);
        }
        let mut bytes = [0; 10];
        self.rng.fill_bytes(&mut bytes);
        // The bits behind the milliseconds count up.
        bytes[..2].copy_from_slice(&self.made.to_be_bytes());
        self.made += 1;
        Builder::from_unix_timestamp_millis(self.millis, &bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fresh_ids_are_ascending_and_other_ones_each_time() {
        let ids = || {
            let mut series = Series::new(Ids::Fresh);
            (0..10_000).map(|_| series.next()).collect::<Vec<_>>()
        };
        let (one, other) = (ids(), ids());
        assert!(one.is_sorted_by(|a, b| a < b));
        assert_ne!(one[0], other[0]);
    }

    #[test]
    fn seeded_ids_are_ascending_and_the_same_each_time() {
        let base: DateTime<Utc> = "2024-03-01T00:00:00Z".parse().unwrap();
        let ids = |seed| {
            let mut series = Series::new(Ids::Seeded { seed, base });
            (0..10_000).map(|_| series.next()).collect::<Vec<_>>()
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert!(ids(1).is_sorted_by(|a, b| a < b));
        for id in ids(1) {
            assert_eq!(id.get_version_num(), 7);
            let (seconds, _) = id.get_timestamp().unwrap().to_unix();
            assert_eq!(seconds, base.timestamp() as u64);
        }
    }
}
