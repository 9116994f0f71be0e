//! Metrics of the outbox relay.

use acequia_contracts::Domain;
use acequia_telemetry::metrics::Registrar;
use prometheus::{IntCounterVec, Result};
use tracing::info;

use super::positive;

/// Metrics of the outbox relay.
#[derive(Debug)]
pub struct Outbox {
    published: IntCounterVec,
}

impl Outbox {
    pub(super) fn new(registrar: &Registrar<'_>, domains: &[&'static Domain]) -> Result<Self> {
        let metrics = Self {
            published: registrar.counters(
                "acequia_outbox_published_messages_total",
                "Messages of the outbox that the broker has confirmed.",
                &["domain"],
            )?,
        };
        for domain in domains {
            metrics.published.with_label_values(&[domain.name]);
        }
        Ok(metrics)
    }

    /// The broker has confirmed messages, and they are marked.
    pub fn published(&self, domain: &str, messages: usize) {
        info!(event = "outbox.published", domain, messages, "published");
        self.published
            .with_label_values(&[domain])
            .inc_by(positive(messages));
    }
}
