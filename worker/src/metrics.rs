//! Metrics of the worker. Every label value is from the catalog or from a closed list, and every
//! series exists from the start, so that rates begin at zero.

use std::time::Duration;

use acequia_contracts::{Code, Domain};
use chrono::Utc;
use lapin::message::Delivery;
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::check::Checked;
use crate::database_gauges::DatabaseGauges;
use crate::failure::Failure;
use crate::ingest::{Lane, Sorted, UNKNOWN, Written};
use crate::promote::Promoted;

/// Seconds from publishing to the core; 30 s is the objective and so a bucket's edge.
const LAG: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0,
    600.0, 1800.0, 3600.0,
];
/// Seconds of work on a batch.
const WORK: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Messages in a batch.
const SIZE: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 30000.0,
];

const OUTCOMES: [&str; 4] = ["inserted", "updated", "unchanged", "stale"];
const FAILURES: [Failure; 4] = [
    Failure::BadData,
    Failure::Transient,
    Failure::Down,
    Failure::Broken,
];
const LOOPS: [&str; 5] = ["promote", "check", "refresh", "maintain", "deliver"];

/// The metrics of one process, in a registry of their own.
pub struct Metrics {
    registry: Registry,
    /// State of the database, set at scrape time.
    pub database: DatabaseGauges,
    received: IntCounterVec,
    received_bytes: IntCounterVec,
    redelivered: IntCounterVec,
    duplicates: IntCounterVec,
    staged: IntCounterVec,
    promoted: IntCounterVec,
    quarantined: IntCounterVec,
    unknown_fields: IntCounterVec,
    batch_messages: HistogramVec,
    decode_seconds: HistogramVec,
    stage_seconds: HistogramVec,
    promote_seconds: HistogramVec,
    refresh_seconds: HistogramVec,
    check_seconds: HistogramVec,
    end_to_end: HistogramVec,
    refresh_failures: IntCounterVec,
    connected: IntGaugeVec,
    disconnects: IntCounterVec,
    paused: IntGaugeVec,
    retries: IntCounterVec,
    delivered: IntCounterVec,
    loop_failures: IntCounterVec,
    ready: IntGaugeVec,
}

/// Registers metrics as it makes them.
pub struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    /// Registers a metric.
    ///
    /// # Errors
    /// When its name is taken.
    pub fn register<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }
    fn int_gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }
    /// Makes and registers a gauge.
    ///
    /// # Errors
    /// When its name is taken.
    pub fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(name, help), labels)?)
    }
    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }
}

impl Metrics {
    /// Registers everything and creates every series of the given domains.
    ///
    /// # Errors
    /// When a metric is registered twice.
    pub fn new(domains: &[&'static Domain]) -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let make = Maker(&registry);
        make.int_gauge(
            "acequia_build_info",
            "Constant 1; the version is in the label.",
            &["component", "version"],
        )?
        .with_label_values(&["worker", env!("CARGO_PKG_VERSION")])
        .set(1);
        let database = DatabaseGauges::new(&make)?;
        let metrics = Self {
            received: make.counter(
                "acequia_received_messages_total",
                "Messages taken from the queue and settled in a committed batch.",
                &["queue"],
            )?,
            received_bytes: make.counter(
                "acequia_received_bytes_total",
                "Body bytes of the received messages.",
                &["queue"],
            )?,
            redelivered: make.counter(
                "acequia_redelivered_messages_total",
                "Received messages that the broker had delivered before.",
                &["queue"],
            )?,
            duplicates: make.counter(
                "acequia_duplicate_messages_total",
                "Messages seen before.",
                &["domain", "entity"],
            )?,
            staged: make.counter(
                "acequia_staged_rows_total",
                "Rows staged.",
                &["domain", "entity"],
            )?,
            promoted: make.counter(
                "acequia_promoted_rows_total",
                "Rows promoted, by outcome.",
                &["domain", "entity", "outcome"],
            )?,
            quarantined: make.counter(
                "acequia_quarantined_messages_total",
                "Messages put in quarantine, by stage and code.",
                &["domain", "stage", "code"],
            )?,
            unknown_fields: make.counter(
                "acequia_unknown_fields_total",
                "Fields of valid messages that the contract does not know.",
                &["domain", "entity"],
            )?,
            batch_messages: make.histogram(
                "acequia_batch_messages",
                "Messages in a staged batch.",
                &["queue"],
                SIZE,
            )?,
            decode_seconds: make.histogram(
                "acequia_decode_duration_seconds",
                "Decoding and validating a batch.",
                &["queue"],
                WORK,
            )?,
            stage_seconds: make.histogram(
                "acequia_stage_duration_seconds",
                "Decoding, validating and staging a batch.",
                &["queue"],
                WORK,
            )?,
            promote_seconds: make.histogram(
                "acequia_promote_duration_seconds",
                "One promotion of staged batches.",
                &["domain"],
                WORK,
            )?,
            refresh_seconds: make.histogram(
                "acequia_refresh_duration_seconds",
                "One refresh of a mart.",
                &["mart"],
                WORK,
            )?,
            check_seconds: make.histogram(
                "acequia_check_duration_seconds",
                "One run of the rules of a domain.",
                &["domain"],
                WORK,
            )?,
            end_to_end: make.histogram(
                "acequia_end_to_end_duration_seconds",
                "From publishing to the core, of the oldest message of each promotion.",
                &["domain"],
                LAG,
            )?,
            refresh_failures: make.counter(
                "acequia_refresh_failures_total",
                "Refreshes that failed.",
                &["mart"],
            )?,
            connected: make.int_gauge(
                "acequia_amqp_connection_up",
                "1 while the lane consumes.",
                &["queue"],
            )?,
            disconnects: make.counter(
                "acequia_amqp_disconnects_total",
                "Times that consuming was interrupted.",
                &["queue"],
            )?,
            paused: make.int_gauge(
                "acequia_ingest_paused",
                "1 while ingest waits for promotion to catch up.",
                &["queue"],
            )?,
            retries: make.counter(
                "acequia_batch_retries_total",
                "Batches that could not be staged at once, by class of failure.",
                &["queue", "failure"],
            )?,
            delivered: make.counter(
                "acequia_outbox_published_total",
                "Messages of the core's own that the broker has confirmed.",
                &["domain"],
            )?,
            loop_failures: make.counter(
                "acequia_loop_failures_total",
                "Failed steps of the loops over the database, by class of failure.",
                &["loop", "failure"],
            )?,
            ready: make.int_gauge(
                "acequia_ready",
                "1 while the loop gets on, as /readyz says.",
                &["loop", "subject"],
            )?,
            database,
            registry,
        };
        metrics.create_series(domains);
        Ok(metrics)
    }

    fn create_series(&self, domains: &[&'static Domain]) {
        for lane in Lane::of(domains) {
            let queue = [lane.queue.as_str()];
            for counter in [
                &self.received,
                &self.received_bytes,
                &self.redelivered,
                &self.disconnects,
            ] {
                counter.with_label_values(&queue);
            }
            for histogram in [
                &self.batch_messages,
                &self.decode_seconds,
                &self.stage_seconds,
            ] {
                histogram.with_label_values(&queue);
            }
            for gauge in [&self.connected, &self.paused] {
                gauge.with_label_values(&queue);
            }
            for failure in FAILURES {
                self.retries
                    .with_label_values(&[lane.queue.as_str(), failure.as_str()]);
            }
        }
        for domain in domains {
            for histogram in [&self.promote_seconds, &self.check_seconds, &self.end_to_end] {
                histogram.with_label_values(&[domain.name]);
            }
            for code in Code::ALL {
                self.quarantined.with_label_values(&[
                    domain.name,
                    code.stage().as_str(),
                    code.as_str(),
                ]);
            }
            self.delivered.with_label_values(&[domain.name]);
            self.duplicates.with_label_values(&[domain.name, UNKNOWN]);
            for entity in &domain.entities {
                for counter in [&self.duplicates, &self.staged, &self.unknown_fields] {
                    counter.with_label_values(&[domain.name, entity.name]);
                }
                for outcome in OUTCOMES {
                    self.promoted
                        .with_label_values(&[domain.name, entity.name, outcome]);
                }
            }
        }
        for name in LOOPS {
            for failure in FAILURES {
                self.loop_failures
                    .with_label_values(&[name, failure.as_str()]);
            }
        }
    }

    /// The page in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn page(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// A batch was staged and committed.
    pub fn staged(
        &self,
        queue: &str,
        sorted: &Sorted,
        written: &Written,
        batch: &[Delivery],
        decoded: Duration,
        whole: Duration,
    ) {
        let domain = sorted.domain.name;
        let received: u64 = written
            .counts
            .iter()
            .map(|(_, counts)| positive(counts.received))
            .sum();
        self.received.with_label_values(&[queue]).inc_by(received);
        self.received_bytes.with_label_values(&[queue]).inc_by(
            batch
                .iter()
                .map(|delivery| delivery.data.len() as u64)
                .sum(),
        );
        self.redelivered
            .with_label_values(&[queue])
            .inc_by(batch.iter().filter(|delivery| delivery.redelivered).count() as u64);
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
        for rows in sorted.good.iter().filter(|rows| rows.unknown_fields > 0) {
            self.unknown_fields
                .with_label_values(&[domain, rows.entity.name])
                .inc_by(rows.unknown_fields);
        }
        for (code, messages) in &written.codes {
            self.quarantined
                .with_label_values(&[domain, code.stage().as_str(), code.as_str()])
                .inc_by(*messages);
        }
        self.batch_messages
            .with_label_values(&[queue])
            .observe(batch.len() as f64);
        self.decode_seconds
            .with_label_values(&[queue])
            .observe(decoded.as_secs_f64());
        self.stage_seconds
            .with_label_values(&[queue])
            .observe(whole.as_secs_f64());
    }

    /// Rows were put in quarantine outside ingest.
    pub fn quarantined(&self, domain: &str, code: Code, rows: i64) {
        self.quarantined
            .with_label_values(&[domain, code.stage().as_str(), code.as_str()])
            .inc_by(u64::try_from(rows).unwrap_or(0));
    }

    /// A promotion was committed.
    pub fn promoted(&self, domain: &str, promoted: &[Promoted], took: Duration) {
        self.promote_seconds
            .with_label_values(&[domain])
            .observe(took.as_secs_f64());
        for entity in promoted {
            let rows = [
                entity.inserted,
                entity.updated,
                entity.unchanged,
                entity.stale,
            ];
            for (outcome, rows) in OUTCOMES.iter().zip(rows) {
                self.promoted
                    .with_label_values(&[domain, &entity.entity, outcome])
                    .inc_by(u64::try_from(rows).unwrap_or(0));
            }
        }
        if let Some(published) = promoted.first().and_then(|first| first.oldest_published_at) {
            let lag = (Utc::now() - published).as_seconds_f64();
            // A publisher whose clock is ahead must not make time run backwards.
            self.end_to_end
                .with_label_values(&[domain])
                .observe(lag.max(0.0));
        }
    }

    /// The rules of a domain ran.
    pub fn checked(&self, domain: &str, results: &[Checked]) {
        let seconds: f64 = results
            .iter()
            .map(|result| result.duration_ms / 1000.0)
            .sum();
        self.check_seconds
            .with_label_values(&[domain])
            .observe(seconds);
    }

    /// A mart was refreshed.
    pub fn refreshed(&self, mart: &str, took: Duration) {
        self.refresh_seconds
            .with_label_values(&[mart])
            .observe(took.as_secs_f64());
    }

    /// Messages of the core's own were published.
    pub fn delivered(&self, domain: &str, messages: usize) {
        self.delivered
            .with_label_values(&[domain])
            .inc_by(messages as u64);
    }

    /// Creates the series of a mart, which only the database knows.
    pub fn create_mart_series(&self, mart: &str) {
        self.refresh_seconds.with_label_values(&[mart]);
        self.refresh_failures.with_label_values(&[mart]);
    }

    /// A refresh failed.
    pub fn refresh_failed(&self, mart: &str) {
        self.refresh_failures.with_label_values(&[mart]).inc();
    }

    /// A lane consumes.
    pub fn connected(&self, queue: &str) {
        self.connected.with_label_values(&[queue]).set(1);
    }

    /// A lane lost broker or database.
    pub fn disconnected(&self, queue: &str) {
        self.connected.with_label_values(&[queue]).set(0);
        self.disconnects.with_label_values(&[queue]).inc();
    }

    /// A lane waits for promotion, or no longer.
    pub fn paused(&self, queue: &str, paused: bool) {
        self.paused
            .with_label_values(&[queue])
            .set(i64::from(paused));
    }

    /// A batch could not be staged at once.
    pub fn retried(&self, queue: &str, failure: Failure) {
        self.retries
            .with_label_values(&[queue, failure.as_str()])
            .inc();
    }

    /// A step of a loop over the database failed.
    pub fn loop_failed(&self, name: &str, failure: Failure) {
        self.loop_failures
            .with_label_values(&[name, failure.as_str()])
            .inc();
    }

    /// What /readyz says of a loop.
    pub fn ready(&self, name: &str, subject: &str, ready: bool) {
        self.ready
            .with_label_values(&[name, subject])
            .set(i64::from(ready));
    }
}

fn positive(count: i32) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
