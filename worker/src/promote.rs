//! The promote loop: from staging to the core, one transaction of merge functions at a time.

use std::time::{Duration, Instant, SystemTime};

use acequia_contracts::Domain;
use acequia_store::db::Session;
use acequia_store::failure::describe;
use acequia_store::promotion::{self, Promoted, SLOW_REMEDY, left_some};
use acequia_telemetry::{KeyValue, SpanKind, Start, Traces, of_text};
use sqlx::PgConnection;
use tracing::warn;

use crate::acknowledged::look;
use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// Pause after a promotion, in which rows gather for the next: a promotion costs 1 to 2 ms beside its rows.
/// A few rows are followed by a short pause, since few more will come within it; many rows gather for longer.
const SHORTEST_REST: Duration = Duration::from_millis(3);
const LONGEST_REST: Duration = Duration::from_millis(30);
/// The pause for each row, up to [`FEW_ROWS`] and beyond.
const REST: Duration = Duration::from_millis(1);
const FEW_ROWS: u32 = 5;
const REST_OF_MANY: Duration = Duration::from_micros(50);

/// The pause after a promotion of some rows.
fn rest(rows: u32) -> Duration {
    let few = REST * rows.min(FEW_ROWS);
    few.max(REST_OF_MANY.saturating_mul(rows))
        .clamp(SHORTEST_REST, LONGEST_REST)
}

/// Promotes inside a span, linked to those of the batches; also returns the span for the log.
async fn traced(
    traces: &Traces,
    connection: &mut PgConnection,
    domain: &str,
    max_rows: i32,
) -> sqlx::Result<(Vec<Promoted>, tracing::Span)> {
    let at = SystemTime::now();
    let outcome = promotion::promote_and_list(connection, domain, max_rows).await;
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

/// The promote loop.
pub struct Promote;

impl PeriodicTask for Promote {
    const NAME: &'static str = "promote";

    async fn prepare(&self, connection: &mut Session, context: &WorkerContext) -> sqlx::Result<()> {
        // A lane meets a new server when it has something to write; this loop meets it at once.
        look(connection, &context.process()).await?;
        if !promotion::check_references_per_statement(connection).await? {
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
                promotion::promote(connection, domain.name, most).await?,
                tracing::Span::none(),
            ),
            Some(traces) => traced(traces, connection, domain.name, most).await?,
        };
        if promoted.is_empty() {
            return Ok(Poll::Idle(context.settings.poll_every));
        }
        context.wakes.wake("merged", domain.name);
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
        let rows: i64 = promoted.iter().map(Promoted::rows).sum();
        Ok(Poll::Rest {
            at_least: rest(u32::try_from(rows).unwrap_or(u32::MAX)),
            at_most: context.settings.poll_every,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_rows() {
        let millis =
            [0, 1, 3, 5, 8, 160, 400, 1_000_000, u32::MAX].map(|rows| rest(rows).as_millis());
        assert_eq!(millis, [3, 3, 3, 5, 5, 8, 20, 30, 30]);
    }
}
