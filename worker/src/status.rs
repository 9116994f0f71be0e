//! Reads the state of the database into gauges, for every scrape, at most every few seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, FromRow, PgConnection};

use crate::config::SecretUrl;
use crate::db;
use crate::ingest::UNKNOWN;
use crate::metrics::{Metrics, Open};
use crate::run::Shared;

/// Scrapes that come faster than this see the last reading again.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Longest time for a reading: then the gauges have no value rather than an old one.
const WITHIN: Duration = Duration::from_secs(3);
/// How long a page waits for a reading. A reading takes 3 ms; when the machine or the database is
/// busy it goes on behind the page, which shows the one before.
const PATIENCE: Duration = Duration::from_millis(7);

const DOMAINS: &str = "
select d.domain,
       coalesce(c.staged, 0)::float8 as staged, coalesce(s.age, 0)::float8 as staged_age,
       coalesce(p.rows, 0)::float8 as pending, coalesce(q.rows, 0)::float8 as quarantine,
       coalesce(c.difference, 0)::float8 as difference, coalesce(c.written_off, 0)::float8 as written_off,
       coalesce(o.rows, 0)::float8 as told, coalesce(o.age, 0)::float8 as told_age
from (select domain from core.entities union select '(unknown)') d
left join lateral (
    select extract(epoch from now() - b.received_at) as age
    from core.batches b where b.domain = d.domain and b.state = 'staged' order by b.batch_id limit 1
) s on true
left join (
    select split_part(entity, '.', 1) as domain, count(*) as rows from core.pending group by 1
) p using (domain)
left join (
    select domain, count(*) as rows from core.quarantine_open group by domain
) q using (domain)
left join (
    select domain, sum(abs(difference)) as difference, sum(staged) as staged, sum(written_off) as written_off
    from core.conservation group by domain
) c using (domain)
left join (
    select domain, count(*) as rows, extract(epoch from now() - min(created_at)) as age
    from core.outbox where published_at is null group by domain
) o using (domain)";

/// A domain.
#[derive(FromRow)]
struct DomainRow {
    domain: String,
    staged: f64,
    staged_age: f64,
    pending: f64,
    quarantine: f64,
    difference: f64,
    written_off: f64,
    told: f64,
    told_age: f64,
}

const MARTS: &str = "
select mart, kind = 'materialized', extract(epoch from refreshed_at)::float8, extract(epoch from data_as_of)::float8,
       extract(epoch from complete_through)::float8, missing::float8,
       greatest(coalesce(extract(epoch from now() - behind_since), 0), 0)::float8, extract(epoch from objective)::float8,
       (gate = 'closed')::int::float8, trusted::int::float8
from marts.freshness";

/// A row of `marts.freshness`; times in Unix seconds.
#[derive(FromRow)]
struct MartRow(
    String,
    bool,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    f64,
    f64,
    f64,
    f64,
    f64,
);

const RULES: &str = "
select r.rule, r.severity, coalesce(l.failing_count, 0)::float8, (l.outcome = 'pass')::int::float8,
       (l.outcome = 'error')::int::float8, extract(epoch from l.check_time)::float8,
       coalesce(l.duration_ms / 1000, 0)::float8
from core.dq_rules r
cross join lateral (
    select d.* from core.dq_results d where d.check_name = r.rule order by d.id desc limit 1
) l
where r.enabled";

const ARCHIVES: &str = "
select p.table_name, coalesce(sum(a.row_count), 0)::float8, coalesce(sum(a.bytes_hot), 0)::float8,
       coalesce(sum(a.bytes_archived), 0)::float8
from core.lifecycle_policies p
left join core.archives a on a.table_name = p.table_name and a.state = 'archived'
group by p.table_name";

const ARCHIVE_RUNS: &str = "
select d.domain, coalesce(extract(epoch from ok.finished_at), 0)::float8, coalesce((last.status = 'failed')::int, 0)::float8,
       coalesce(w.rows, 0)::float8
from (select distinct domain from core.entities) d
left join lateral (
    select max(r.finished_at) as finished_at from core.archive_runs r
    where r.domain = d.domain and r.scheduled_for is not null and r.status = 'ok'
) ok on true
left join lateral (
    select r.status from core.archive_runs r
    where r.domain = d.domain and r.finished_at is not null order by r.finished_at desc limit 1
) last on true
left join lateral (
    select count(*) as rows from core.pending p
    where p.parent = 'core.archives' and not p.ready and split_part(p.entity, '.', 1) = d.domain
) w on true";

/// Rule, severity, failing rows, passed, broken, last run, its duration.
type RuleRow = (String, String, f64, f64, f64, f64, f64);

/// The reader of the database's state.
#[derive(Default)]
pub struct Status {
    reader: Arc<tokio::sync::Mutex<Reader>>,
    shown: Arc<Shown>,
}

/// What pages show of it.
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

impl Status {
    /// Reads the state anew when the last reading is old, and sets the gauges. Returns when that is
    /// done, or when a page should wait no longer.
    pub async fn update(&self, shared: &Arc<Shared>) {
        let (reader, shown, shared) = (self.reader.clone(), self.shown.clone(), shared.clone());
        let any = shown.any.load(Ordering::Acquire);
        let reading = tokio::spawn(async move {
            let mut reader = reader.lock().await;
            reader
                .update(&shared.database, &shared.metrics, &shown)
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
            Ok(state) => state.show(metrics),
            Err(error) => {
                tracing::debug!(%error, "state of the database not read");
                self.connection = None;
            }
        }
        shown.any.store(true, Ordering::Release);
    }
}

/// One reading.
struct State {
    domains: Vec<DomainRow>,
    marts: Vec<MartRow>,
    rules: Vec<RuleRow>,
    /// Table, rows, bytes hot, bytes archived.
    archives: Vec<(String, f64, f64, f64)>,
    /// Domain, last good run, whether the last failed, late rows.
    archive_runs: Vec<(String, f64, f64, f64)>,
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
    let answers = &metrics.database.answers;
    answers.observe(asked.elapsed().as_secs_f64());
    Ok(State {
        domains: sqlx::query_as(DOMAINS).fetch_all(&mut *connection).await?,
        marts: sqlx::query_as(MARTS).fetch_all(&mut *connection).await?,
        rules: sqlx::query_as(RULES).fetch_all(&mut *connection).await?,
        archives: sqlx::query_as(ARCHIVES).fetch_all(&mut *connection).await?,
        archive_runs: sqlx::query_as(ARCHIVE_RUNS)
            .fetch_all(&mut *connection)
            .await?,
    })
}

impl State {
    /// Sets the gauges.
    fn show(self, metrics: &Metrics) {
        let gauges = &metrics.database;
        for (table, rows, hot, bytes) in self.archives {
            gauges.archived_rows.with_label_values(&[&table]).set(rows);
            gauges.archived_hot.with_label_values(&[&table]).set(hot);
            gauges
                .archived_bytes
                .with_label_values(&[&table])
                .set(bytes);
        }
        for (domain, last, failed, late) in self.archive_runs {
            let domain = [domain.as_str()];
            gauges.archive_last_run.with_label_values(&domain).set(last);
            gauges.archive_failed.with_label_values(&domain).set(failed);
            gauges.archive_late.with_label_values(&domain).set(late);
        }
        for row in self.domains {
            let domain = [row.domain.as_str()];
            gauges
                .quarantine_open
                .with_label_values(&domain)
                .set(row.quarantine);
            gauges
                .conservation
                .with_label_values(&domain)
                .set(row.difference);
            if row.domain == UNKNOWN {
                continue; // nobody's dead letters: nothing else can be of no domain
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
        for row in self.marts {
            let MartRow(mart, materialized, refreshed, as_of, complete, missing, ..) = &row;
            let MartRow(.., behind, objective, closed, trusted) = &row;
            if *materialized {
                metrics.marts.create(mart);
            }
            for (gauge, value) in [
                (&gauges.mart_refreshed, refreshed.unwrap_or(0.0)),
                (&gauges.mart_data_as_of, as_of.unwrap_or(0.0)),
                (&gauges.mart_complete_through, complete.unwrap_or(0.0)),
                (&gauges.mart_missing, *missing),
                (&gauges.mart_behind, *behind),
                (&gauges.mart_objective, *objective),
                (&gauges.mart_gate_closed, *closed),
                (&gauges.mart_trusted, *trusted),
            ] {
                gauge.with_label_values(&[mart]).set(value);
            }
        }
        for (rule, severity, failing, passed, broken, run, seconds) in self.rules {
            let labels = [rule.as_str(), severity.as_str()];
            gauges.dq_failing.with_label_values(&labels).set(failing);
            gauges.dq_passed.with_label_values(&labels).set(passed);
            gauges.dq_broken.with_label_values(&labels).set(broken);
            let rule = [rule.as_str()];
            gauges.dq_last_run.with_label_values(&rule).set(run);
            gauges.dq_duration.with_label_values(&rule).set(seconds);
        }
    }
}
