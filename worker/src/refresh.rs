//! The refresh loop: refreshes materialized marts whose tables have changed and pass their rules.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use acequia_contracts::Domain;
use acequia_store::failure::describe;
use acequia_store::marts::{self, Refreshed};
use acequia_telemetry::{KeyValue, MOST_LINKS, Span, SpanKind, Start, Traces, of_text};
use sqlx::PgConnection;
use tracing::warn;

use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// The loop rests this many times as long as it checked rules: they take at most a fifth of its
/// time.
const REST: u32 = 4;

/// Starts the span of a refresh, linked to those of the batches that it is about to show.
async fn begin(traces: &Traces, connection: &mut PgConnection, mart: &str) -> sqlx::Result<Span> {
    let at = SystemTime::now();
    let batches = marts::spans_not_shown(connection, mart, MOST_LINKS).await?;
    Ok(traces.start(Start {
        name: format!("refresh {mart}"),
        kind: SpanKind::Internal,
        at,
        parent: None,
        links: batches.iter().filter_map(|text| of_text(text)).collect(),
        attributes: vec![KeyValue::new("acequia.mart", mart.to_owned())],
    }))
}

fn end(span: &mut Span, refreshed: &sqlx::Result<Refreshed>) {
    match refreshed {
        Ok(Refreshed::Rows(rows)) => span.set([KeyValue::new("acequia.rows", *rows)]),
        Ok(Refreshed::Blocked(rules)) => {
            span.set([KeyValue::new("acequia.blocking_rules", rules.join(" "))]);
        }
        Ok(Refreshed::Busy) => {}
        Err(error) => span.fail(describe(error)),
    }
}

/// The refresh loop.
#[derive(Default)]
pub struct Refresh {
    /// Blocked marts and the rules that block them: logged once, not at every refresh.
    blocked: Mutex<HashMap<String, Vec<String>>>,
}

impl Refresh {
    fn block(&self, mart: &str, rules: Vec<String>) {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if blocked.get(mart) != Some(&rules) {
            warn!(
                event = "mart.blocked",
                mart,
                rules = rules.join(" "),
                "not refreshed while rules fail on what it reads; worker gate list says more"
            );
            blocked.insert(mart.to_owned(), rules);
        }
    }

    fn release(&self, mart: &str) {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.remove(mart);
    }
}

impl PeriodicTask for Refresh {
    const NAME: &'static str = "refresh";
    const SHORT: bool = false;

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let mut audited = Duration::ZERO;
        let backlog = Some(context.settings.promote_max);
        for (mart, held_by) in marts::due(connection, domain.name, backlog).await? {
            // The check loop finds out when its rules pass again; checking here as well, for as
            // long as it is blocked, would cost and change nothing.
            if let Some(rules) = held_by {
                self.block(&mart, rules);
                continue;
            }
            let begun = Instant::now();
            let mut span = match &context.traces {
                Some(traces) => Some(begin(traces, connection, &mart).await?),
                None => None,
            };
            let log = span.as_ref().map_or_else(tracing::Span::none, Span::of_log);
            let rule_max = context.settings.rules.rule_max;
            // One broken mart must not keep the others old.
            let refreshed = marts::refresh_timed(connection, &mart, rule_max, &mut audited).await;
            if let Some(span) = &mut span {
                end(span, &refreshed);
            }
            let _entered = log.entered();
            match refreshed {
                Ok(Refreshed::Rows(rows)) => {
                    self.release(&mart);
                    context
                        .metrics
                        .marts
                        .refreshed(&mart, rows, begun.elapsed());
                }
                Ok(Refreshed::Blocked(rules)) => self.block(&mart, rules),
                Ok(Refreshed::Busy) => {}
                Err(failed) => context.metrics.marts.failed(&mart, &failed),
            }
        }
        Ok(Poll::Rest {
            at_least: context.settings.refresh_every.max(audited * REST),
            at_most: context.settings.poll_every,
        })
    }
}
