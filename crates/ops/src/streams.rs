//! Each domain's way from its queues to its tables: what waits where, for how long, and how fast it moves.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use sqlx_macros::FromRow;

/// The stream of a domain.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stream {
    /// Domain.
    pub domain: String,
    /// Its queues as the workers saw them last.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Queue>))]
    pub queues: Json<Vec<Queue>>,
    /// Last look at its queues; null when one was never seen.
    pub observed_at: Option<DateTime<Utc>>,
    /// Messages ready in its queues.
    pub ready: i64,
    /// Consumers of its queues.
    pub consumers: i64,
    /// Since when, at least, messages wait in its queues.
    pub queued_since: Option<DateTime<Utc>>,
    /// When an operator paused it: workers leave its messages in the queues since; null when they take them.
    pub paused_at: Option<DateTime<Utc>>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Why.
    pub pause_reason: Option<String>,
    /// Rows that wait for promotion.
    pub staged: i64,
    /// Arrival of the oldest batch that waits for promotion.
    pub staged_since: Option<DateTime<Utc>>,
    /// Rows that wait for the row they refer to.
    pub pending: i64,
    /// Open rows in quarantine.
    pub quarantine_open: i64,
    /// Messages per second that arrived in the last minute.
    pub arrived_per_s: f64,
    /// Messages per second that arrived in the last quarter of an hour.
    pub arrived_per_s_15m: f64,
    /// Seconds that the waiting messages take at the speed of the last minute; null when nothing waits or nothing moves.
    pub backlog_s: Option<f64>,
    /// Last arrival of a batch.
    pub last_batch_at: Option<DateTime<Utc>>,
    /// Newest publish time of what was merged.
    pub merged_through: Option<DateTime<Utc>>,
    /// Last merge.
    pub last_merge_at: Option<DateTime<Utc>>,
}

/// A queue.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Queue {
    /// Name.
    pub queue: String,
    /// Messages ready.
    pub ready: i64,
    /// Consumers.
    pub consumers: i64,
    /// When a worker looked.
    pub looked_at: Option<DateTime<Utc>>,
}

/// Result of pausing or resuming a stream.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = StreamChange))]
pub struct Change {
    /// Domain.
    pub domain: String,
    /// Whether it is paused now.
    pub paused: bool,
    /// Whether it was not before: done again, nothing changes.
    pub changed: bool,
    /// Since when; null when it was not paused and nothing changed.
    pub since: Option<DateTime<Utc>>,
    /// Who decided so.
    pub who: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

const STREAMS: &str = "
select s.*, case when s.ready + s.staged > 0 and s.arrived_per_s > 0 then (s.ready + s.staged) / s.arrived_per_s end as backlog_s
from (
    select d.domain,
           coalesce(q.queues, '[]') as queues, p.observed_at, coalesce(q.ready, 0)::bigint as ready,
           coalesce(q.consumers, 0)::bigint as consumers, p.queued_since,
           x.paused_at, x.paused_by, x.reason as pause_reason,
           coalesce(c.staged, 0)::bigint as staged, o.received_at as staged_since, coalesce(w.rows, 0)::bigint as pending,
           coalesce(u.rows, 0)::bigint as quarantine_open,
           coalesce(r.last_minute, 0)::float8 / 60 as arrived_per_s, coalesce(r.last_quarter, 0)::float8 / 900 as arrived_per_s_15m,
           l.last_batch_at, m.merged_through, m.last_merge_at
    from (select distinct e.domain from core.entities e) d
    left join core.queue_progress p on p.domain = d.domain
    left join core.stream_pauses x on x.domain = d.domain and x.resumed_at is null
    left join (
        select l.domain, sum(l.ready) as ready, sum(l.consumers) as consumers,
               jsonb_agg(jsonb_build_object('queue', l.queue, 'ready', l.ready, 'consumers', l.consumers, 'looked_at', l.looked_at)
                   order by l.queue) as queues
        from core.queue_looks l group by l.domain
    ) q on q.domain = d.domain
    left join (
        select a.domain, sum(a.staged) as staged from core.conservation a group by a.domain
    ) c on c.domain = d.domain
    left join lateral (
        select b.received_at from core.batches b where b.domain = d.domain and b.state = 'staged' order by b.batch_id limit 1
    ) o on true
    left join (
        select split_part(n.entity, '.', 1) as domain, count(*) as rows from core.pending n group by 1
    ) w on w.domain = d.domain
    left join (
        select n.domain, count(*) as rows from core.quarantine_open n group by n.domain
    ) u on u.domain = d.domain
    left join lateral (
        select sum(e.received) filter (where b.received_at > now() - interval '1 minute') as last_minute,
               sum(e.received) as last_quarter
        from core.batches b
        join core.batch_entities e on e.batch_id = b.batch_id
        where b.domain = d.domain and b.received_at > now() - interval '15 minutes'
    ) r on true
    left join lateral (
        select max(b.received_at) as last_batch_at from core.batches b where b.domain = d.domain
    ) l on true
    left join (
        select s.domain, max(s.newest_published_at) as merged_through, max(s.merged_at) as last_merge_at
        from core.entity_state s group by s.domain
    ) m on m.domain = d.domain
) s
where $1::text[] is null or s.domain = any ($1)
order by s.domain";

/// The streams of domains, of all when `None`.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    domains: Option<&[String]>,
) -> sqlx::Result<Vec<Stream>> {
    sqlx::query_as(STREAMS)
        .bind(domains)
        .fetch_all(connection)
        .await
}

/// Pauses the stream of a domain, or resumes it; `None` when there is no such domain. Without an actor the audit log names the
/// role of the database.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn set_paused(
    connection: &mut PgConnection,
    domain: &str,
    paused: bool,
    who: Option<&str>,
    reason: &str,
) -> sqlx::Result<Option<Change>> {
    let statement = if paused {
        "select * from core.pause_stream($1, $2, $3)"
    } else {
        "select * from core.resume_stream($1, $2, $3)"
    };
    sqlx::query_as(statement)
        .bind(domain)
        .bind(who)
        .bind(reason)
        .fetch_optional(connection)
        .await
}
