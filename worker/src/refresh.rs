//! The refresh loop: materialized marts, when the core they read has changed and passes its rules.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use acequia_contracts::Domain;
use acequia_store::failure::describe;
use acequia_telemetry::{KeyValue, MOST_LINKS, Span, SpanKind, Start, Traces, of_text};
use chrono::Utc;
use sqlx::{Connection as _, PgConnection};
use tracing::warn;

use crate::check::run_rules;
use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// The loop rests this many times as long as it checked rules: they take at most a fifth of its
/// time.
const REST: u32 = 4;

/// What became of a mart that needs a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// It was refreshed and has this number of rows.
    Rows(i64),
    /// These rules fail on what it would show: it stays as it is.
    Blocked(Vec<String>),
    /// Another process is at it.
    Busy,
}

/// The materialized marts of a domain that show an older core than there is, in their order, with
/// the rules that block them. While more than `backlog` rows wait for promotion, a mart is left out
/// until it has lacked something for a quarter of its objective: what it showed would be old in a
/// moment, and reading the core again and again would keep the backlog from getting smaller.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn due(
    connection: &mut PgConnection,
    domain: &str,
    backlog: Option<i32>,
) -> sqlx::Result<Vec<(String, Option<Vec<String>>)>> {
    sqlx::query_as(
        "select mart, case when not due then blocking_rules end from core.mart_status
         where domain = $1 and needs_refresh
           and ($2 is null or coalesce(behind_since, '-infinity') <= now() - objective / 4 or core.staged_rows($1) <= $2)
         order by position",
    )
    .bind(domain)
    .bind(backlog)
    .fetch_all(connection)
    .await
}

/// Checks one mart, each rule for at most `rule_max`, and refreshes it. A failure is kept in the
/// refresh log.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn refresh(
    connection: &mut PgConnection,
    mart: &str,
    rule_max: Duration,
) -> sqlx::Result<Refreshed> {
    let started = Utc::now();
    let refreshed = audit_and_publish(connection, mart, rule_max, &mut Duration::default()).await;
    keep_failure(connection, mart, started, refreshed).await
}

async fn keep_failure<T>(
    connection: &mut PgConnection,
    mart: &str,
    started: chrono::DateTime<Utc>,
    refreshed: sqlx::Result<T>,
) -> sqlx::Result<T> {
    if let Err(failed) = &refreshed {
        sqlx::query("select core.refresh_failed($1, $2, $3)")
            .bind(mart)
            .bind(started)
            .bind(describe(failed))
            .execute(connection)
            .await?;
    }
    refreshed
}

/// One snapshot for both: the published rows are the checked ones, whatever is promoted meanwhile.
async fn audit_and_publish(
    connection: &mut PgConnection,
    mart: &str,
    rule_max: Duration,
    audited: &mut Duration,
) -> sqlx::Result<Refreshed> {
    let begun = Instant::now();
    let mut transaction = connection
        .begin_with("begin isolation level repeatable read")
        .await?;
    let rules: Option<Vec<String>> = sqlx::query_scalar("select core.due_audit($1)")
        .bind(mart)
        .fetch_one(&mut *transaction)
        .await?;
    let Some(rules) = rules else {
        transaction.rollback().await?;
        return Ok(Refreshed::Busy);
    };
    run_rules(&mut transaction, &rules, rule_max).await?;
    let blocking: Vec<String> = sqlx::query_scalar("select core.closed_gates($1)")
        .bind(mart)
        .fetch_one(&mut *transaction)
        .await?;
    *audited += begun.elapsed();
    let refreshed = if blocking.is_empty() {
        sqlx::query_scalar("select core.refresh_mart($1)")
            .bind(mart)
            .fetch_one(&mut *transaction)
            .await
            .map(|rows: Option<i64>| rows.map_or(Refreshed::Busy, Refreshed::Rows))?
    } else {
        Refreshed::Blocked(blocking)
    };
    // Of a mart that is blocked the results are kept.
    transaction.commit().await?;
    Ok(refreshed)
}

/// The newest spans of batches that the mart does not show yet.
const BATCHES: &str = "
select b.trace_context from core.marts m
join core.batches b on b.domain = m.domain and b.state = 'promoted' and b.trace_context is not null
where m.mart = $1 and b.promoted_at > coalesce((
    select r.promoted_through from core.mart_refresh_log r where r.mart = m.mart and r.status = 'ok' order by r.id desc limit 1
), '-infinity')
order by b.promoted_at desc limit $2";

/// Starts the span of a refresh, linked to those of the batches that it is about to show.
async fn begin(traces: &Traces, connection: &mut PgConnection, mart: &str) -> sqlx::Result<Span> {
    let at = SystemTime::now();
    let batches: Vec<String> = sqlx::query_scalar(BATCHES)
        .bind(mart)
        .bind(i64::try_from(MOST_LINKS).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
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
    /// Marts that are blocked, by which rules: told once, not every time that they are passed over.
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
        for (mart, held_by) in due(connection, domain.name, backlog).await? {
            // The check loop finds out when its rules pass again; checking here as well, for as
            // long as it is blocked, would cost and change nothing.
            if let Some(rules) = held_by {
                self.block(&mart, rules);
                continue;
            }
            let (begun, started) = (Instant::now(), Utc::now());
            let mut span = match &context.traces {
                Some(traces) => Some(begin(traces, connection, &mart).await?),
                None => None,
            };
            let log = span.as_ref().map_or_else(tracing::Span::none, Span::of_log);
            let rule_max = context.settings.rules.rule_max;
            let refreshed = audit_and_publish(connection, &mart, rule_max, &mut audited).await;
            // One broken mart must not keep the others old.
            let refreshed = keep_failure(connection, &mart, started, refreshed).await;
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
