//! Reads the state of the database into gauges, for every scrape, at most every few seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use acequia_contracts::envelope::UNKNOWN;
use acequia_net::SecretUrl;
use acequia_store::db;
use acequia_store::state::{DomainState, State};
use sqlx::{Connection as _, PgConnection};

use crate::context::WorkerContext;
use crate::metrics::{DatabaseGauges, Metrics, Open};

/// Scrapes that come faster than this see the last reading again.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Longest time for a reading: then the gauges have no value rather than an old one.
const WITHIN: Duration = Duration::from_secs(3);
/// How long a page waits for a reading. A reading takes 3 ms; when the machine or the database is
/// busy, it continues in the background, and the page shows the previous one.
const PATIENCE: Duration = Duration::from_millis(7);

/// The reader of the database's state.
#[derive(Default)]
pub struct DatabaseMetrics {
    reader: Arc<tokio::sync::Mutex<Reader>>,
    shown: Arc<Shown>,
}

/// Guards the gauges that pages show.
#[derive(Default)]
struct Shown {
    /// Held while gauges are set and while they are written down, so that no page shows half.
    whole: std::sync::Mutex<()>,
    /// Whether there has been a reading.
    any: AtomicBool,
}

impl Shown {
    fn whole(&self) -> std::sync::MutexGuard<'_, ()> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Reader {
    connection: Option<(PgConnection, Open)>,
    read_at: Option<Instant>,
}

impl DatabaseMetrics {
    /// Reads the state again when the last reading is old, and sets the gauges. Returns when that is
    /// done, or when a page should wait no longer.
    pub async fn update(&self, context: &Arc<WorkerContext>) {
        let (reader, shown, context) = (self.reader.clone(), self.shown.clone(), context.clone());
        let any = shown.any.load(Ordering::Acquire);
        let reading = tokio::spawn(async move {
            let mut reader = reader.lock().await;
            reader
                .update(&context.database, &context.metrics, &shown)
                .await;
        });
        // The first page has nothing older to show.
        let patience = if any { PATIENCE } else { WITHIN };
        tokio::time::timeout(patience, reading).await.ok();
    }

    /// The page, with the gauges of one reading.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn page(&self, metrics: &Metrics) -> prometheus::Result<String> {
        let _whole = self.shown.whole();
        metrics.page()
    }
}

impl Reader {
    async fn update(&mut self, database: &SecretUrl, metrics: &Metrics, shown: &Shown) {
        if self.read_at.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            return;
        }
        let begun = Instant::now();
        let read = read(&mut self.connection, database, metrics);
        let read = tokio::time::timeout(WITHIN, read)
            .await
            .unwrap_or_else(|_| Err(db::no_answer(WITHIN)));
        self.read_at = Some(Instant::now());
        let _whole = shown.whole();
        let gauges = &metrics.database;
        gauges.read_seconds.set(begun.elapsed().as_secs_f64());
        gauges.up.set(f64::from(u8::from(read.is_ok())));
        // No value rather than the last one, which may have become wrong.
        gauges.reset();
        match read {
            Ok(state) => show(state, metrics),
            Err(error) => {
                tracing::debug!(%error, "state of the database not read");
                self.connection = None;
            }
        }
        shown.any.store(true, Ordering::Release);
    }
}

async fn read(
    connection: &mut Option<(PgConnection, Open)>,
    database: &SecretUrl,
    metrics: &Metrics,
) -> sqlx::Result<State> {
    let (connection, _) = match connection {
        Some(connection) => connection,
        None => {
            let attempt = db::connect(database, "metrics").await;
            let open = connection.insert(metrics.loops.connected("metrics", attempt)?);
            // A new session is slow to answer its first question; that says nothing of the server.
            open.0.ping().await?;
            open
        }
    };
    let asked = Instant::now();
    connection.ping().await?;
    let pings = &metrics.database.pings;
    pings.observe(asked.elapsed().as_secs_f64());
    State::read(connection).await
}

/// Sets the gauges.
fn show(state: State, metrics: &Metrics) {
    let gauges = &metrics.database;
    for row in state.archives {
        let table = [row.table_name.as_str()];
        gauges.archived_rows.with_label_values(&table).set(row.rows);
        gauges
            .archived_hot
            .with_label_values(&table)
            .set(row.bytes_hot);
        gauges
            .archived_bytes
            .with_label_values(&table)
            .set(row.bytes_archived);
    }
    for row in state.archive_runs {
        let domain = [row.domain.as_str()];
        for (gauge, value) in [
            (&gauges.archive_last_run, row.last_good),
            (&gauges.archive_failed, row.failed),
            (&gauges.archive_late, row.late_rows),
        ] {
            gauge.with_label_values(&domain).set(value);
        }
    }
    for row in state.ticks {
        metrics.ticks.create(&row.function);
        for (gauge, value) in [
            (&gauges.tick_lag, row.late),
            (&gauges.tick_interval, row.every),
            (&gauges.tick_failures, row.failures),
        ] {
            gauge.with_label_values(&[&row.function]).set(value);
        }
    }
    for row in state.domains {
        show_domain(&row, gauges);
    }
    for row in state.marts {
        if row.materialized {
            metrics.marts.create(&row.mart);
        }
        for (gauge, value) in [
            (&gauges.mart_refreshed, row.refreshed.unwrap_or(0.0)),
            (&gauges.mart_data_as_of, row.data_as_of.unwrap_or(0.0)),
            (
                &gauges.mart_complete_through,
                row.complete_through.unwrap_or(0.0),
            ),
            (&gauges.mart_missing, row.missing),
            (&gauges.mart_staleness, row.staleness),
            (&gauges.mart_objective, row.objective),
            (&gauges.mart_gate_closed, row.gate_closed),
            (&gauges.mart_trusted, row.trusted),
        ] {
            gauge.with_label_values(&[&row.mart]).set(value);
        }
    }
    for row in state.rules {
        let labels = [row.rule.as_str(), row.severity.as_str()];
        gauges
            .dq_failing
            .with_label_values(&labels)
            .set(row.failing);
        gauges.dq_passed.with_label_values(&labels).set(row.passed);
        gauges
            .dq_rule_errors
            .with_label_values(&labels)
            .set(row.rule_error);
        let rule = [row.rule.as_str()];
        gauges
            .dq_last_run
            .with_label_values(&rule)
            .set(row.last_run);
        gauges.dq_duration.with_label_values(&rule).set(row.seconds);
    }
}

fn show_domain(row: &DomainState, gauges: &DatabaseGauges) {
    let domain = [row.domain.as_str()];
    for (gauge, value) in [
        (&gauges.quarantine_open, row.quarantine),
        (&gauges.unaccounted, row.unaccounted),
    ] {
        gauge.with_label_values(&domain).set(value);
    }
    if row.domain == UNKNOWN {
        return; // nobody's dead letters: nothing else can be of no domain
    }
    for (gauge, value) in [
        (&gauges.staged_rows, row.staged),
        (&gauges.oldest_staged, row.staged_age),
        (&gauges.pending_rows, row.pending),
        (&gauges.written_off, row.written_off),
        (&gauges.outbox_waiting, row.told),
        (&gauges.outbox_oldest, row.told_age),
    ] {
        gauge.with_label_values(&domain).set(value);
    }
}
