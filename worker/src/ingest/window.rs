//! How many messages the broker may have in flight to a lane.
//!
//! A message in flight costs memory, and each loss of the connection brings it one delivery
//! nearer to the limit at which the broker gives it up. So a consumer begins with one message
//! and widens its window while all is well; a message that several deliveries did not get done,
//! and large bodies, narrow it again.

use lapin::message::Delivery;
use lapin::types::AMQPValue;

/// From this many earlier deliveries on a message is suspected of crashing workers: it is taken
/// alone, so that only itself is delivered in vain again.
const SUSPECT_AFTER: i64 = 3;
/// The window grows by this factor.
const GROWTH: u16 = 8;

/// Size of the window of one lane.
#[derive(Debug)]
pub struct Window {
    size: u16,
    most: u16,
    budget: usize,
    largest: usize,
}

impl Window {
    /// A window for up to `most` messages that together have at most `budget` bytes.
    #[must_use]
    pub const fn new(most: u16, budget: usize) -> Self {
        Self {
            size: 1,
            most,
            budget,
            largest: 0,
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

    /// Learns from the bodies of a batch. The largest one decides; its weight fades by a quarter
    /// a batch.
    pub fn saw(&mut self, largest: usize) {
        self.largest = largest.max(self.largest - self.largest / 4);
    }

    /// Chooses the size anew after a batch that went well; `true` when it changed. Small changes
    /// are not worth a question to the broker.
    pub fn adapt(&mut self, suspicious: bool) -> bool {
        let fits = u16::try_from(self.budget / self.largest.max(1)).unwrap_or(u16::MAX);
        let fits = fits.clamp(1, self.most);
        let next = if suspicious {
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

/// Whether a message was delivered in vain so often that it may be what crashes workers.
#[must_use]
pub fn is_suspect(delivery: &Delivery) -> bool {
    deliveries_before(delivery) >= SUSPECT_AFTER
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

    fn sizes(window: &mut Window, largest: usize, batches: usize) -> Vec<u16> {
        (0..batches)
            .map(|_| {
                window.saw(largest);
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
        window.saw(10 << 20);
        assert!(window.adapt(false));
        assert_eq!(window.size(), 6);
        // A body larger than the budget is still taken, alone.
        window.saw(100 << 20);
        assert!(window.adapt(false));
        assert_eq!(window.size(), 1);
        // Long after the last large one it is as wide as before.
        assert_eq!(sizes(&mut window, 100, 200).last(), Some(&10_000));
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
