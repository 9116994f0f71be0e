//! Metrics of the outbox relay.

use acequia_contracts::Domain;
use acequia_telemetry::metric_set;
use acequia_telemetry::metrics::Registrar;
use prometheus::Result;
use tracing::info;

use super::positive;

metric_set! {
    /// Metrics of the outbox relay.
    pub struct Outbox {
        published: counters(
            "acequia_outbox_published_messages_total",
            "Messages of the outbox that the broker has confirmed.",
            &["domain"],
        ),
    }
}

impl Outbox {
    pub(super) fn new(registrar: &Registrar<'_>, domains: &[&'static Domain]) -> Result<Self> {
        let metrics = Self::register(registrar)?;
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
