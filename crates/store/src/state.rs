//! The state of the platform as the database shows it: backlogs, ledger, marts, rules, archives. Numbers
//! are those of gauges: times in seconds since 1970, spans in seconds, truth as 1 or 0.

use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

const DOMAINS: &str = "
select d.domain,
       coalesce(c.staged, 0)::float8 as staged, coalesce(s.age, 0)::float8 as staged_age,
       coalesce(p.rows, 0)::float8 as pending, coalesce(q.rows, 0)::float8 as quarantine,
       coalesce(c.unaccounted, 0)::float8 as unaccounted, coalesce(c.written_off, 0)::float8 as written_off,
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
    select domain, sum(abs(unaccounted)) as unaccounted, sum(staged) as staged, sum(written_off) as written_off
    from core.conservation group by domain
) c using (domain)
left join (
    select domain, count(*) as rows, extract(epoch from now() - min(created_at)) as age
    from core.outbox where published_at is null group by domain
) o using (domain)";

const MARTS: &str = "
select mart, kind = 'materialized' as materialized, extract(epoch from refreshed_at)::float8 as refreshed,
       extract(epoch from data_as_of)::float8 as data_as_of,
       extract(epoch from complete_through)::float8 as complete_through, missing::float8 as missing,
       greatest(coalesce(extract(epoch from now() - behind_since), 0), 0)::float8 as staleness,
       extract(epoch from objective)::float8 as objective,
       (gate = 'closed')::int::float8 as gate_closed, trusted::int::float8 as trusted
from marts.freshness";

const RULES: &str = "
select r.rule, r.severity, coalesce(l.failing_count, 0)::float8 as failing, (l.outcome = 'pass')::int::float8 as passed,
       (l.outcome = 'error')::int::float8 as rule_error, extract(epoch from l.check_time)::float8 as last_run,
       coalesce(l.duration_ms / 1000, 0)::float8 as seconds
from core.dq_rules r
cross join lateral (
    select d.* from core.dq_results d where d.check_name = r.rule order by d.id desc limit 1
) l
where r.enabled";

const ARCHIVES: &str = "
select p.table_name, coalesce(sum(a.row_count), 0)::float8 as rows, coalesce(sum(a.bytes_hot), 0)::float8 as bytes_hot,
       coalesce(sum(a.bytes_archived), 0)::float8 as bytes_archived
from core.lifecycle_policies p
left join core.archives a on a.table_name = p.table_name and a.state = 'archived'
group by p.table_name";

const ARCHIVE_RUNS: &str = "
select d.domain, coalesce(extract(epoch from ok.finished_at), 0)::float8 as last_good,
       coalesce((last.status = 'failed')::int, 0)::float8 as failed,
       coalesce(w.rows, 0)::float8 as late_rows
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

const TICKS: &str = "
select t.function, extract(epoch from t.late)::float8 as late, extract(epoch from t.every)::float8 as every,
       t.failures::float8 as failures
from core.tick_status t";

/// A domain; `(unknown)` for dead letters of no domain.
#[derive(Debug, Serialize, FromRow)]
pub struct DomainState {
    /// Domain.
    pub domain: String,
    /// Rows that wait for promotion.
    pub staged: f64,
    /// Age of the oldest of them.
    pub staged_age: f64,
    /// Rows that wait for the row they refer to.
    pub pending: f64,
    /// Open rows of the quarantine.
    pub quarantine: f64,
    /// Messages that are not accounted for.
    pub unaccounted: f64,
    /// Rows that were written off.
    pub written_off: f64,
    /// Messages of the outbox that wait for the broker.
    pub told: f64,
    /// Age of the oldest of them.
    pub told_age: f64,
}

/// A row of `marts.freshness`.
#[derive(Debug, Serialize, FromRow)]
pub struct MartState {
    /// Mart.
    pub mart: String,
    /// Whether it is refreshed, or a view.
    pub materialized: bool,
    /// Time of its last refresh.
    pub refreshed: Option<f64>,
    /// Newest data in it.
    pub data_as_of: Option<f64>,
    /// Everything published until then is in it.
    pub complete_through: Option<f64>,
    /// Rows of the core that it does not show yet.
    pub missing: f64,
    /// How long it has lacked something.
    pub staleness: f64,
    /// How long it may.
    pub objective: f64,
    /// Whether rules block it.
    pub gate_closed: f64,
    /// Whether no rule of severity error fails on it.
    pub trusted: f64,
}

/// The last result of a rule.
#[derive(Debug, Serialize, FromRow)]
pub struct RuleState {
    /// Rule.
    pub rule: String,
    /// `warn` or `error`.
    pub severity: String,
    /// Failing rows.
    pub failing: f64,
    /// Whether it passed.
    pub passed: f64,
    /// Whether it could not run.
    pub rule_error: f64,
    /// When it ran.
    pub last_run: f64,
    /// How long.
    pub seconds: f64,
}

/// The archives of a table that has a policy.
#[derive(Debug, Serialize, FromRow)]
pub struct ArchiveState {
    /// Table.
    pub table_name: String,
    /// Archived rows.
    pub rows: f64,
    /// Bytes that they took in the database.
    pub bytes_hot: f64,
    /// Bytes that they take in the object store.
    pub bytes_archived: f64,
}

/// The runs of the archive for a domain.
#[derive(Debug, Serialize, FromRow)]
pub struct ArchiveRunState {
    /// Domain.
    pub domain: String,
    /// End of the last run of the schedule that succeeded; 0 when there is none.
    pub last_good: f64,
    /// Whether the last run failed.
    pub failed: f64,
    /// Rows that wait for an archive.
    pub late_rows: f64,
}

/// A tick.
#[derive(Debug, Serialize, FromRow)]
pub struct TickState {
    /// Function.
    pub function: String,
    /// How long ago it should have succeeded.
    pub late: f64,
    /// Its interval.
    pub every: f64,
    /// Failed calls since its last success.
    pub failures: f64,
}

/// One reading.
#[derive(Debug, Serialize)]
pub struct State {
    /// Every domain, and none.
    pub domains: Vec<DomainState>,
    /// Every mart.
    pub marts: Vec<MartState>,
    /// Every rule that is enabled and has run.
    pub rules: Vec<RuleState>,
    /// Every table with a policy.
    pub archives: Vec<ArchiveState>,
    /// Every domain.
    pub archive_runs: Vec<ArchiveRunState>,
    /// Every tick.
    pub ticks: Vec<TickState>,
}

impl State {
    /// Reads it.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    pub async fn read(connection: &mut PgConnection) -> sqlx::Result<Self> {
        Ok(Self {
            domains: sqlx::query_as(DOMAINS).fetch_all(&mut *connection).await?,
            marts: sqlx::query_as(MARTS).fetch_all(&mut *connection).await?,
            rules: sqlx::query_as(RULES).fetch_all(&mut *connection).await?,
            archives: sqlx::query_as(ARCHIVES).fetch_all(&mut *connection).await?,
            archive_runs: sqlx::query_as(ARCHIVE_RUNS)
                .fetch_all(&mut *connection)
                .await?,
            ticks: sqlx::query_as(TICKS).fetch_all(&mut *connection).await?,
        })
    }
}
