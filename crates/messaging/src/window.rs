//! The prefetch window of a lane.
//!
//! A message in flight costs memory, and each loss of the connection brings it one delivery
//! nearer to the limit at which the broker gives it up. So a consumer begins with one message
//! and widens its window while all is well; a message that was delivered several times without an
//! acknowledgement, and large bodies, narrow it again.

use lapin::message::Delivery;
use lapin::types::AMQPValue;

/// From this many earlier deliveries on a message is suspected of crashing workers: it is taken
/// alone, so that no other message is redelivered with it.
const POISON_AFTER: i64 = 3;
/// The window grows by this factor.
const GROWTH: u16 = 8;

/// Sizes of bodies, as far as a window must know them. What was seen once weighs a quarter less
/// with each batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sizes {
    /// Bytes of the largest body.
    largest: f64,
    /// Mean.
    mean: f64,
    /// Mean of the squares.
    square: f64,
}

impl Sizes {
    /// The sizes of some bodies.
    #[must_use]
    pub fn of(bodies: impl IntoIterator<Item = usize>) -> Self {
        let (mut count, mut sizes) = (0.0_f64, Self::default());
        for bytes in bodies {
            let bytes = u32::try_from(bytes).map_or(f64::from(u32::MAX), f64::from);
            count += 1.0;
            sizes.largest = sizes.largest.max(bytes);
            sizes.mean += bytes;
            sizes.square += bytes * bytes;
        }
        sizes.mean /= count.max(1.0);
        sizes.square /= count.max(1.0);
        sizes
    }

    fn saw(&mut self, new: Self) {
        const KEPT: f64 = 0.75;
        self.largest = new.largest.max(self.largest * KEPT);
        self.mean = new.mean.max(self.mean * KEPT);
        self.square = new.square.max(self.square * KEPT);
    }

    /// How many bodies fit into a budget of bytes: either as if all were as large as the largest, or
    /// so that their sum stays below the budget by [`DEVIATIONS`]. Of mixed sizes that is
    /// many more, since not all are large at once. Bodies of which [`MANY`] would not fit are not
    /// left to chance: they come one behind the other.
    fn that_fit(&self, budget: f64) -> f64 {
        let surely = budget / self.largest.max(1.0);
        if surely < MANY {
            return surely;
        }
        // n * mean + DEVIATIONS * sqrt(n) * deviation = budget, solved for sqrt(n).
        let mean = self.mean.max(1.0);
        let spread = DEVIATIONS * (self.square - self.mean * self.mean).max(0.0).sqrt();
        let root = (spread.mul_add(spread, 4.0 * mean * budget).sqrt() - spread) / (2.0 * mean);
        (root * root).max(surely)
    }
}

/// Bodies of the largest size that must fit for the sum to be left to statistics.
const MANY: f64 = 64.0;
/// Standard deviations that the sum of the bodies in flight stays below the budget.
const DEVIATIONS: f64 = 4.0;

/// Size of the window of one lane.
#[derive(Debug)]
pub struct Window {
    size: u16,
    most: u16,
    budget: f64,
    sizes: Sizes,
}

impl Window {
    /// A window for up to `most` messages that together have about `budget` bytes at most.
    #[must_use]
    pub fn new(most: u16, budget: usize) -> Self {
        Self {
            size: 1,
            most,
            budget: u32::try_from(budget).map_or(f64::from(u32::MAX), f64::from),
            sizes: Sizes::default(),
        }
    }

    /// Begins again with one message; what was learned about sizes stays.
    pub const fn restart(&mut self) {
        self.size = 1;
    }

    /// Messages that may be in flight.
    #[must_use]
    pub const fn size(&self) -> u16 {
        self.size
    }

    /// Learns from the bodies of a batch.
    pub fn saw(&mut self, sizes: Sizes) {
        self.sizes.saw(sizes);
    }

    /// Adjusts the size after a batch that went well; `true` when it changed. Small changes
    /// are not worth a question to the broker.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped before
    pub fn adapt(&mut self, poison_candidate: bool) -> bool {
        let fits = self.sizes.that_fit(self.budget).floor();
        let fits = fits.clamp(1.0, f64::from(self.most)) as u16;
        let next = if poison_candidate {
            1
        } else if fits < self.size / 2 {
            fits
        } else if fits > self.size {
            fits.min(self.size.saturating_mul(GROWTH))
        } else {
            self.size
        };
        let small = next > self.size && next < self.size.saturating_mul(2) && next < self.most;
        let changed = next != self.size && !small;
        if changed {
            self.size = next;
        }
        changed
    }
}

/// Whether a message was redelivered so often that it may be the one that crashes workers. Of one that
/// comes for the first time the count is its publisher's, not the queue's.
#[must_use]
pub fn is_poison_candidate(delivery: &Delivery) -> bool {
    delivery.redelivered && deliveries_before(delivery) >= POISON_AFTER
}

/// Earlier deliveries, as quorum queues count them; brokers differ in the integer type.
fn deliveries_before(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-delivery-count")) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        Some(AMQPValue::LongUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortUInt(count)) => i64::from(*count),
        Some(AMQPValue::Timestamp(count)) => i64::try_from(*count).unwrap_or(i64::MAX),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(window: &mut Window, bytes: usize, batches: usize) -> Vec<u16> {
        (0..batches)
            .map(|_| {
                window.saw(Sizes::of([bytes; 3]));
                window.adapt(false);
                window.size()
            })
            .collect()
    }

    #[test]
    fn it_begins_with_one_message_and_widens_to_the_most() {
        let mut window = Window::new(10_000, 64 << 20);
        assert_eq!(window.size(), 1);
        assert_eq!(
            sizes(&mut window, 100, 6),
            [8, 64, 512, 4096, 10_000, 10_000]
        );
        window.restart();
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn large_bodies_never_fill_more_than_the_budget() {
        let mut window = Window::new(10_000, 64 << 20);
        sizes(&mut window, 100, 6);
        window.saw(Sizes::of([10 << 20]));
        assert!(window.adapt(false));
        assert_eq!(window.size(), 6);
        // A body larger than the budget is still taken, alone.
        window.saw(Sizes::of([100 << 20]));
        assert!(window.adapt(false));
        assert_eq!(window.size(), 1);
        // Long after the last large one it is as wide as before.
        assert_eq!(sizes(&mut window, 100, 200).last(), Some(&10_000));
    }

    #[test]
    fn mixed_sizes_are_taken_for_what_they_are() {
        // One body in a thousand is of 64 KiB: were all so large, a thousand would fit.
        let batch = || (0..1000).map(|place| if place == 0 { 64 << 10 } else { 400 });
        let mut window = Window::new(60_000, 64 << 20);
        for _ in 0..10 {
            window.saw(Sizes::of(batch()));
            window.adapt(false);
        }
        assert_eq!(window.size(), 60_000);
        let together: usize = batch().sum::<usize>() * 60;
        assert!(together < 64 << 20, "{together} bytes");
        // Mixed and many: no more than the budget has room for.
        let mut window = Window::new(60_000, 4 << 20);
        for _ in 0..10 {
            window.saw(Sizes::of(batch()));
            window.adapt(false);
        }
        let together = batch().sum::<usize>() * usize::from(window.size()) / 1000;
        assert!(
            (1 << 20..4 << 20).contains(&together),
            "{} messages of {together} bytes",
            window.size()
        );
    }

    #[test]
    fn a_suspect_narrows_it_to_one() {
        let mut window = Window::new(10_000, 64 << 20);
        sizes(&mut window, 100, 6);
        assert!(window.adapt(true));
        assert_eq!(window.size(), 1);
        assert!(!window.adapt(true));
    }
}
