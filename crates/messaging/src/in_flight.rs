//! Metrics of the messages in flight on a lane.

use prometheus::IntGauge;

/// Gauges of the messages that a lane holds of its queue.
#[derive(Debug, Clone)]
pub struct Flow {
    messages: IntGauge,
    bytes: IntGauge,
    prefetch: IntGauge,
}

impl Flow {
    /// Gauges of messages and bytes that are delivered and not acknowledged, and of the prefetch.
    #[must_use]
    pub const fn new(messages: IntGauge, bytes: IntGauge, prefetch: IntGauge) -> Self {
        Self {
            messages,
            bytes,
            prefetch,
        }
    }

    /// Messages were delivered.
    pub fn arrived(&self, messages: usize, bytes: usize) {
        self.messages.add(signed(messages));
        self.bytes.add(signed(bytes));
    }

    /// Messages were acknowledged.
    pub fn settled(&self, messages: usize, bytes: usize) {
        self.messages.sub(signed(messages));
        self.bytes.sub(signed(bytes));
    }

    /// Notes the number of messages that may be in flight from now on.
    pub fn allowed(&self, prefetch: u16) {
        self.prefetch.set(prefetch.into());
    }

    /// The consumer is gone, and with it what it held.
    pub fn reset(&self) {
        for gauge in [&self.messages, &self.bytes, &self.prefetch] {
            gauge.set(0);
        }
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
