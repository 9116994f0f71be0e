//! Metrics of promotion, from staging to the domain tables.

use std::time::Duration;

use acequia_contracts::Domain;
use acequia_store::promotion::Promoted;
use acequia_telemetry::metric_set;
use acequia_telemetry::metrics::{Registrar, observe};
use chrono::Utc;
use prometheus::Result;
use tracing::info;

use super::{LAG, WORK, positive};

const OUTCOMES: [&str; 5] = ["inserted", "updated", "unchanged", "stale", "deleted"];

metric_set! {
    /// Metrics of the promote loop.
    pub struct Promotion {
        rows: counters(
            "acequia_promoted_rows_total",
            "Rows promoted, by outcome.",
            &["domain", "entity", "outcome"],
        ),
        seconds: histograms(
            "acequia_promote_duration_seconds",
            "One promotion of staged batches.",
            &["domain"], WORK,
        ),
        end_to_end: histograms(
            "acequia_end_to_end_duration_seconds",
            "From publishing to the core; each promoted message counts with the time of the oldest of its promotion.",
            &["domain"], LAG,
        ),
    }
}

impl Promotion {
    pub(super) fn new(registrar: &Registrar<'_>, domains: &[&'static Domain]) -> Result<Self> {
        let metrics = Self::register(registrar)?;
        for domain in domains {
            for histogram in [&metrics.seconds, &metrics.end_to_end] {
                histogram.with_label_values(&[domain.name]);
            }
            for entity in &domain.entities {
                for outcome in OUTCOMES {
                    metrics
                        .rows
                        .with_label_values(&[domain.name, entity.name, outcome]);
                }
            }
        }
        Ok(metrics)
    }

    /// A promotion was committed.
    pub fn promoted(&self, domain: &str, promoted: &[Promoted], took: Duration) {
        let rows = promoted.iter().map(Promoted::rows).sum::<i64>();
        info!(
            event = "batch.promoted",
            domain,
            batches = promoted.first().map_or(0, |first| first.batches),
            rows,
            pending = promoted.iter().map(|entity| entity.pending).sum::<i64>(),
            duration_s = took.as_secs_f64(),
            "promoted"
        );
        self.seconds
            .with_label_values(&[domain])
            .observe(took.as_secs_f64());
        for entity in promoted {
            let counts = [
                entity.inserted,
                entity.updated,
                entity.unchanged,
                entity.stale,
                entity.deleted,
            ];
            for (outcome, count) in OUTCOMES.iter().zip(counts) {
                self.rows
                    .with_label_values(&[domain, &entity.entity, outcome])
                    .inc_by(positive(count));
            }
        }
        if let Some(published) = promoted.first().and_then(|first| first.oldest_published_at) {
            let lag = (Utc::now() - published).as_seconds_f64();
            // A publisher whose clock is ahead must not make time run backwards.
            let histogram = self.end_to_end.with_label_values(&[domain]);
            observe(&histogram, lag.max(0.0), positive(rows));
        }
    }
}
