//! Metrics of ingest, from the queue to staging.

mod series;

use std::time::Duration;

use acequia_contracts::envelope::UNKNOWN;
use acequia_contracts::{Code, Domain};
use acequia_messaging::Flow;
use acequia_store::failure::{Failure, describe, remedy};
use acequia_store::staging::{DecodedBatch, Written};
use acequia_telemetry::metrics::{Registrar, observe};
use chrono::Utc;
use lapin::message::Delivery;
use prometheus::{Histogram, Result};
use tracing::{info, warn};

pub use self::series::Ingest;
use super::positive;
use crate::queue_consumer::QueueConsumer;

impl Ingest {
    pub(super) fn new(
        registrar: &Registrar<'_>,
        domains: &[&'static Domain],
        lanes: &[QueueConsumer],
    ) -> Result<Self> {
        let metrics = Self::register(registrar)?;
        for lane in lanes {
            metrics.create_lane(&lane.queue);
        }
        // Dead letters whose original queue is unknown are of no domain.
        for domain in domains.iter().map(|domain| domain.name).chain([UNKNOWN]) {
            for code in Code::ALL {
                metrics.quarantined.with_label_values(&[
                    domain,
                    code.stage().as_str(),
                    code.as_str(),
                ]);
            }
            metrics.duplicates.with_label_values(&[domain, UNKNOWN]);
        }
        for domain in domains {
            metrics.lost.with_label_values(&[domain.name]);
            for entity in &domain.entities {
                for counter in [
                    &metrics.duplicates,
                    &metrics.staged,
                    &metrics.unknown_fields,
                ] {
                    counter.with_label_values(&[domain.name, entity.name]);
                }
            }
        }
        Ok(metrics)
    }

    /// The gauges of a lane's messages in flight.
    pub fn flow(&self, queue: &str) -> Flow {
        Flow::new(
            self.in_flight_messages.with_label_values(&[queue]),
            self.in_flight_bytes.with_label_values(&[queue]),
            self.prefetch.with_label_values(&[queue]),
        )
    }

    /// Time that the broker takes to answer questions about a queue.
    pub fn broker_pings(&self, queue: &str) -> Histogram {
        self.broker_pings.with_label_values(&[queue])
    }

    /// A lane consumes.
    pub fn started(&self, queue: &str) {
        info!(event = "ingest.started", queue, "consuming");
        self.connected.with_label_values(&[queue]).set(1);
        self.attempts.with_label_values(&[queue, "success"]).inc();
    }

    /// The broker could not be reached, or did not let the lane consume.
    pub fn not_started(&self, queue: &str) {
        self.attempts.with_label_values(&[queue, "failure"]).inc();
    }

    /// A lane lost broker or database, or did not find them.
    pub fn interrupted(
        &self,
        queue: &str,
        reason: &'static str,
        error: &anyhow::Error,
        retry_in: Duration,
    ) {
        warn!(
            event = "ingest.interrupted",
            queue,
            reason,
            error = format!("{error:#}"),
            retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX),
            "consuming restarts"
        );
        let connected = self.connected.with_label_values(&[queue]);
        if connected.get() == 1 {
            connected.set(0);
            self.disconnects.with_label_values(&[queue, reason]).inc();
        }
    }

    /// A lane waits for promotion, or no longer.
    pub fn paused(&self, queue: &str, paused: bool) {
        self.paused
            .with_label_values(&[queue])
            .set(i64::from(paused));
    }

    /// The stream of a domain is paused, or no longer.
    pub fn stream_paused(&self, queue: &str, paused: bool) {
        self.stream_paused
            .with_label_values(&[queue])
            .set(i64::from(paused));
    }

    /// A batch was taken from the queue.
    pub fn taken(&self, queue: &str, reason: &'static str) {
        self.flushes.with_label_values(&[queue, reason]).inc();
    }

    /// A batch could not be staged at once.
    pub fn retried(&self, queue: &str, error: &sqlx::Error, messages: usize) {
        let failure = Failure::of(error);
        warn!(
            event = "batch.retried",
            queue,
            messages,
            failure = failure.as_str(),
            error = describe(error),
            remedy = remedy(error),
            "batch not staged, its messages wait"
        );
        self.retries
            .with_label_values(&[queue, failure.as_str()])
            .inc();
    }

    /// The messages of one domain in a batch were staged and committed; `whole` is the time
    /// since the batch was there.
    pub fn staged(&self, queue: &str, decoded: &DecodedBatch, written: &Written, whole: Duration) {
        let domain = decoded.domain.name;
        let received: u64 = written
            .counts
            .iter()
            .map(|(_, counts)| positive(counts.received))
            .sum();
        self.received.with_label_values(&[queue]).inc_by(received);
        if let Some(published) = decoded.oldest {
            let waited = (Utc::now() - published).as_seconds_f64() - whole.as_secs_f64();
            // A publisher whose clock is ahead must not make time run backwards.
            let histogram = self.in_queue.with_label_values(&[queue]);
            observe(&histogram, waited.max(0.0), received);
        }
        for (entity, counts) in &written.counts {
            self.duplicates
                .with_label_values(&[domain, entity])
                .inc_by(positive(counts.duplicates));
            if counts.staged > 0 {
                self.staged
                    .with_label_values(&[domain, entity])
                    .inc_by(positive(counts.staged));
            }
        }
        for rows in decoded.good.iter().filter(|rows| rows.unknown_fields > 0) {
            self.unknown_fields
                .with_label_values(&[domain, rows.entity.name])
                .inc_by(rows.unknown_fields);
        }
        self.implausible_times
            .with_label_values(&[queue])
            .inc_by(decoded.implausible_times);
        for (code, messages) in &written.codes {
            self.count_quarantined(domain, *code, *messages);
        }
    }

    /// All of a batch is committed, after so long, of which decoding took its part.
    pub fn done(&self, queue: &str, batch: &[Delivery], decoded: Duration, whole: Duration) {
        let bytes = batch.iter().map(|delivery| delivery.data.len() as u64);
        let again = batch.iter().filter(|delivery| delivery.redelivered);
        self.received_bytes
            .with_label_values(&[queue])
            .inc_by(bytes.sum());
        self.redelivered
            .with_label_values(&[queue])
            .inc_by(again.count() as u64);
        for (histogram, value) in [
            (&self.batch_messages, batch.len() as f64),
            (&self.decode_seconds, decoded.as_secs_f64()),
            (&self.stage_seconds, whole.as_secs_f64()),
        ] {
            histogram.with_label_values(&[queue]).observe(value);
        }
    }

    /// Messages that were acknowledged are not in the database any more.
    pub fn lost(&self, domain: &str, messages: i64) {
        self.lost
            .with_label_values(&[domain])
            .inc_by(positive(messages));
    }

    /// Rows whose parent never came, or whose range was purged, were moved to quarantine.
    pub fn expired(&self, domain: &str, entity: &str, code: &str, rows: i64) {
        info!(
            event = "pending.expired",
            domain, entity, code, rows, "rows that waited in vain moved to quarantine"
        );
        let code = if code == Code::Purged.as_str() {
            Code::Purged
        } else {
            Code::Orphan
        };
        self.count_quarantined(domain, code, positive(rows));
    }

    /// Rows that a table of the core refused were moved to quarantine.
    pub fn refused(&self, domain: &str, entity: &str, rows: i64) {
        let code = Code::MergeRefused;
        warn!(
            event = "rows.refused",
            domain,
            entity,
            code = code.as_str(),
            rows,
            "the core refused rows, which are in quarantine now; worker quarantine says why"
        );
        self.count_quarantined(domain, code, positive(rows));
    }

    fn count_quarantined(&self, domain: &str, code: Code, messages: u64) {
        self.quarantined
            .with_label_values(&[domain, code.stage().as_str(), code.as_str()])
            .inc_by(messages);
    }
}
