//! Reads the state of the database into gauges, for every scrape, at most every few seconds.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, FromRow, PgConnection};
use tokio::sync::Mutex;

use crate::config::SecretUrl;
use crate::db;
use crate::metrics::{Metrics, Open};

/// Scrapes that come faster than this see the last reading again.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Longest time for a reading: a page without these gauges is worth more than one that comes too
/// late for Prometheus, which then knows nothing of the worker.
const WITHIN: Duration = Duration::from_secs(3);

const DOMAINS: &str = "
select d.domain,
       coalesce(s.rows, 0)::float8 as staged, coalesce(s.age, 0)::float8 as staged_age,
       coalesce(p.rows, 0)::float8 as pending, coalesce(q.rows, 0)::float8 as quarantine,
       coalesce(c.difference, 0)::float8 as difference,
       coalesce(o.rows, 0)::float8 as told, coalesce(o.age, 0)::float8 as told_age
from (select distinct domain from core.entities) d
left join (
    select b.domain, sum(e.staged) as rows, extract(epoch from now() - min(b.received_at)) as age
    from core.batches b join core.batch_entities e using (batch_id) where b.state = 'staged' group by b.domain
) s using (domain)
left join (
    select split_part(entity, '.', 1) as domain, count(*) as rows from core.pending group by 1
) p using (domain)
left join (
    select domain, count(*) as rows from core.quarantine_open group by domain
) q using (domain)
left join (
    select domain, sum(abs(difference)) as difference from core.conservation group by domain
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<(PgConnection, Open)>,
    read_at: Option<Instant>,
}

impl Status {
    /// Reads the state anew when the last reading is old, and sets the gauges.
    pub async fn update(&self, database: &SecretUrl, metrics: &Metrics) {
        let mut state = self.state.lock().await;
        if state.read_at.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            return;
        }
        let begun = Instant::now();
        let read = read(&mut state.connection, database, metrics);
        let read = tokio::time::timeout(WITHIN, read)
            .await
            .unwrap_or_else(|_| Err(db::no_answer(WITHIN)));
        state.read_at = Some(Instant::now());
        let gauges = &metrics.database;
        gauges.read_seconds.set(begun.elapsed().as_secs_f64());
        if let Err(error) = &read {
            tracing::debug!(%error, "state of the database not read");
            state.connection = None;
            // No value rather than the last one, which may have become wrong.
            gauges.reset();
        }
        gauges.up.set(f64::from(u8::from(read.is_ok())));
    }
}

async fn read(
    connection: &mut Option<(PgConnection, Open)>,
    database: &SecretUrl,
    metrics: &Metrics,
) -> sqlx::Result<()> {
    let gauges = &metrics.database;
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
    gauges.answers.observe(asked.elapsed().as_secs_f64());
    let domains: Vec<DomainRow> = sqlx::query_as(DOMAINS).fetch_all(&mut *connection).await?;
    let marts: Vec<MartRow> = sqlx::query_as(MARTS).fetch_all(&mut *connection).await?;
    let rules: Vec<RuleRow> = sqlx::query_as(RULES).fetch_all(&mut *connection).await?;
    let archives: Vec<(String, f64, f64, f64)> =
        sqlx::query_as(ARCHIVES).fetch_all(&mut *connection).await?;
    let runs: Vec<(String, f64, f64, f64)> = sqlx::query_as(ARCHIVE_RUNS)
        .fetch_all(&mut *connection)
        .await?;
    gauges.reset();
    for (table, rows, hot, bytes) in archives {
        gauges.archived_rows.with_label_values(&[&table]).set(rows);
        gauges.archived_hot.with_label_values(&[&table]).set(hot);
        gauges
            .archived_bytes
            .with_label_values(&[&table])
            .set(bytes);
    }
    for (domain, last, failed, late) in runs {
        let domain = [domain.as_str()];
        gauges.archive_last_run.with_label_values(&domain).set(last);
        gauges.archive_failed.with_label_values(&domain).set(failed);
        gauges.archive_late.with_label_values(&domain).set(late);
    }
    for row in domains {
        let domain = [row.domain.as_str()];
        for (gauge, value) in [
            (&gauges.staged_rows, row.staged),
            (&gauges.oldest_staged, row.staged_age),
            (&gauges.pending_rows, row.pending),
            (&gauges.quarantine_open, row.quarantine),
            (&gauges.conservation, row.difference),
            (&gauges.outbox_waiting, row.told),
            (&gauges.outbox_oldest, row.told_age),
        ] {
            gauge.with_label_values(&domain).set(value);
        }
    }
    for row in marts {
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
    for (rule, severity, failing, passed, broken, run, seconds) in rules {
        let labels = [rule.as_str(), severity.as_str()];
        gauges.dq_failing.with_label_values(&labels).set(failing);
        gauges.dq_passed.with_label_values(&labels).set(passed);
        gauges.dq_broken.with_label_values(&labels).set(broken);
        let rule = [rule.as_str()];
        gauges.dq_last_run.with_label_values(&rule).set(run);
        gauges.dq_duration.with_label_values(&rule).set(seconds);
    }
    Ok(())
}
