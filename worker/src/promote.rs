//! The promote loop: from staging to the core, one transaction of merge functions at a time.

use std::time::{Duration, Instant, SystemTime};

use acequia_contracts::Domain;
use acequia_store::db::Session;
use acequia_store::failure::{Failure, describe};
use acequia_store::promotion::{Promoted, SLOW_REMEDY};
use acequia_telemetry::{KeyValue, SpanKind, Start, Traces, of_text};
use sqlx::{Connection as _, PgConnection};
use tracing::warn;

use crate::acknowledged::look;
use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// Whether a promotion of at most `most` rows may have left some of those it found. Rows that came
/// later were announced.
fn left_some(promoted: &[Promoted], most: i32) -> bool {
    // A row that waited and is done now counts once as done, and once less as waiting.
    let taken = promoted
        .iter()
        .map(|entity| entity.rows() + entity.pending + entity.refused);
    taken.sum::<i64>() >= most.into()
        || promoted
            .iter()
            .any(|entity| entity.batches >= MOST_BATCHES || entity.refused > 0)
}

/// Pause after a promotion: for each of its rows, at least and at most. A promotion costs 1 to 2 ms
/// beside its rows: the more come, the more of them go together.
const REST: Duration = Duration::from_micros(50);
const SHORTEST_REST: Duration = Duration::from_millis(8);
const LONGEST_REST: Duration = Duration::from_millis(30);

/// Batches that one promotion takes at most, see `core.next_batches`.
const MOST_BATCHES: i32 = 1000;

/// Merges all staged rows of some batches together.
const TOGETHER: &str = "select * from core.promote($1, $2)";
/// Merges them in parts, down to the rows that are refused, which go to quarantine.
const IN_PARTS: &str = "select * from core.isolate($1, $2)";

/// Merges the oldest staged batches of a domain, up to about `max_rows` rows. Rows that a table of
/// the core refuses go to quarantine.
///
/// # Errors
/// Any error of PostgreSQL other than a refused row; and when more rows are refused than bad
/// data can explain (SQLSTATE AQ001): nothing is promoted then.
pub async fn promote(
    connection: &mut PgConnection,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<Vec<Promoted>> {
    match merge(connection, TOGETHER, domain, max_rows).await {
        Err(error) if Failure::of(&error) == Failure::BadData => {
            merge(connection, IN_PARTS, domain, max_rows).await
        }
        outcome => outcome,
    }
}

async fn merge(
    connection: &mut PgConnection,
    way: &'static str,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<Vec<Promoted>> {
    sqlx::query_as(way)
        .bind(domain)
        .bind(max_rows)
        .fetch_all(connection)
        .await
}

/// The batches of this transaction: it has the lock of the domain, but others may have promoted
/// while it waited for it.
const PROMOTED_NOW: &str = "
select b.batch_id, b.trace_context from core.batches b
where b.domain = $1 and b.state = 'promoted' and b.promoted_at >= now()
  and b.xmin::text::bigint = pg_current_xact_id()::text::bigint % 4294967296
order by b.batch_id";

/// Promotes in one way and lists the batches with their spans.
async fn merge_and_list(
    connection: &mut PgConnection,
    way: &'static str,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<(Vec<Promoted>, Vec<(i64, Option<String>)>)> {
    // Dropped after an error, it is rolled back before the next statement.
    let mut transaction = connection.begin().await?;
    let promoted = merge(&mut transaction, way, domain, max_rows).await?;
    let batches = if promoted.is_empty() {
        Vec::new()
    } else {
        sqlx::query_as(PROMOTED_NOW)
            .bind(domain)
            .fetch_all(&mut *transaction)
            .await?
    };
    transaction.commit().await?;
    Ok((promoted, batches))
}

/// Promotes inside a span, linked to those of the batches; also returns the span for the log.
async fn traced(
    traces: &Traces,
    connection: &mut PgConnection,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<(Vec<Promoted>, tracing::Span)> {
    let at = SystemTime::now();
    let mut outcome = merge_and_list(connection, TOGETHER, domain, max_rows).await;
    if let Err(error) = &outcome
        && Failure::of(error) == Failure::BadData
    {
        outcome = merge_and_list(connection, IN_PARTS, domain, max_rows).await;
    }
    let (outcome, batches) = match outcome {
        Ok((promoted, batches)) => (Ok(promoted), batches),
        Err(error) => (Err(error), Vec::new()),
    };
    if outcome.as_ref().is_ok_and(Vec::is_empty) {
        return Ok((Vec::new(), tracing::Span::none()));
    }
    let ids: Vec<i64> = batches.iter().map(|(id, _)| *id).collect();
    let links = batches.iter().filter_map(|(_, text)| text.as_deref());
    let mut span = traces.start(Start {
        name: format!("promote {domain}"),
        kind: SpanKind::Internal,
        at,
        parent: None,
        links: links.filter_map(of_text).collect(),
        attributes: vec![KeyValue::new("acequia.domain", domain.to_owned())],
    });
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    span.set([KeyValue::new("acequia.batches", count)]);
    if let (Some(first), Some(last)) = (ids.first(), ids.last()) {
        span.set([
            KeyValue::new("acequia.batch.first", *first),
            KeyValue::new("acequia.batch.last", *last),
        ]);
    }
    if let Err(error) = &outcome {
        span.fail(describe(error));
    }
    Ok((outcome?, span.of_log()))
}

/// Lets the triggers of `core.guard_references` check the foreign keys, all rows of a statement at
/// once, in place of PostgreSQL's own, which go row by row. `false` when the role may not do so.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn check_references_per_statement(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select case when has_parameter_privilege('session_replication_role', 'set') \
         then set_config('session_replication_role', 'replica', false) = 'replica' else false end",
    )
    .fetch_one(connection)
    .await
}

/// The promote loop.
pub struct Promote;

impl PeriodicTask for Promote {
    const NAME: &'static str = "promote";

    async fn prepare(&self, connection: &mut Session, context: &WorkerContext) -> sqlx::Result<()> {
        // A lane meets a new server when it has something to write; this loop meets it at once.
        look(connection, &context.process()).await?;
        if !check_references_per_statement(connection).await? {
            warn!(
                event = "promote.slow",
                remedy = SLOW_REMEDY,
                "foreign keys are checked row by row, which halves the speed of promotion"
            );
        }
        Ok(())
    }

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let begun = Instant::now();
        let most = context.settings.promote_max;
        let (promoted, log) = match &context.traces {
            None => (
                promote(connection, domain.name, most).await?,
                tracing::Span::none(),
            ),
            Some(traces) => traced(traces, connection, domain.name, most).await?,
        };
        if promoted.is_empty() {
            return Ok(Poll::Idle(context.settings.poll_every));
        }
        log.in_scope(|| {
            let metrics = &context.metrics.promotion;
            metrics.promoted(domain.name, &promoted, begun.elapsed());
            for entity in promoted.iter().filter(|entity| entity.refused > 0) {
                let metrics = &context.metrics.ingest;
                metrics.refused(domain.name, &entity.entity, entity.refused);
            }
        });
        if left_some(&promoted, most) {
            return Ok(Poll::Again);
        }
        // What comes meanwhile goes with the next.
        let rows: i64 = promoted.iter().map(Promoted::rows).sum();
        let rest = REST.saturating_mul(u32::try_from(rows).unwrap_or_default());
        Ok(Poll::Rest {
            at_least: rest.clamp(SHORTEST_REST, LONGEST_REST),
            at_most: context.settings.poll_every,
        })
    }
}
