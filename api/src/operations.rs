//! Carries out bulk actions, one at a time in each process. Progress is kept after each chunk, so that another process
//! continues where one was killed; a message that is then sent twice has no second effect.

use std::time::{Duration, Instant};

use acequia_net::SecretUrl;
use acequia_ops::quarantine::{
    Actor, Filters, Job, Progress, Report, Sender, discard_some, replay_some, restore_some,
    undo_some,
};
use serde_json::json;
use sqlx::PgConnection;
use tracing::{info, warn};

use crate::app::App;
use crate::data::events;
use crate::data::operations::{self, Operation, Step, Unfinished};
use crate::metrics;
use crate::problem::{Code, Problem, Result};

/// Time between two polls for work that was not announced, left behind by another process.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Least time between two events of the same operation.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Rows that could not be replayed are named up to this number.
const NAMED: usize = 100;

/// A connection that replays.
///
/// # Errors
/// `broker_unavailable`.
pub async fn sender(url: &SecretUrl) -> Result<Sender> {
    Sender::connect(url, "acequia-api replay")
        .await
        .map_err(|error| {
            warn!(
                event = "broker.away",
                error = format!("{error:#}"),
                "cannot replay"
            );
            Problem::new(
                Code::BrokerUnavailable,
                "the broker does not answer: try again when /readyz says that it is back",
            )
            .retry_after(5)
        })
}

/// Last progress of the bulk actions that this process has seen, and when.
#[derive(Debug, Default)]
pub struct Watch(Option<(Unfinished, Instant)>);

impl Watch {
    /// Looks again.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    pub async fn look(
        &mut self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<metrics::Unfinished> {
        let now = operations::unfinished(connection).await?;
        let since = match self.0 {
            Some((before, since)) if before == now && now.queued + now.running > 0 => since,
            _ => Instant::now(),
        };
        self.0 = Some((now, since));
        Ok(metrics::Unfinished {
            queued: now.queued as f64,
            running: now.running as f64,
            silence: since.elapsed(),
        })
    }
}

/// Looks for operations and carries them out until the application stops.
pub async fn run(app: App) {
    if app.operator.is_none() {
        return;
    }
    while !app.stop.is_cancelled() {
        match next(&app).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(problem) => {
                warn!(
                    event = "operation.failed",
                    code = problem.code.as_str(),
                    detail = problem.detail,
                    "it is taken up again"
                );
            }
        }
        tokio::select! {
            () = app.work.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = app.stop.cancelled() => {}
        }
    }
}

/// Carries out the next operation; returns whether there was one.
async fn next(app: &App) -> Result<bool> {
    let mut database = app.database().await?;
    let taken = operations::take(&mut database, &app.name, app.publisher().is_ok()).await?;
    database.done();
    let Some(operation) = taken else {
        return Ok(false);
    };
    info!(
        event = "operation.begun",
        operation = operation.operation_id,
        kind = operation.kind,
        matched = operation.matched,
        who = operation.who,
        "a bulk action"
    );
    let ended = carry_out(app, operation).await?;
    if let Some(operation) = ended {
        info!(
            event = "operation.ended",
            operation = operation.operation_id,
            state = operation.state,
            done = operation.done,
            failed = operation.failed,
            "a bulk action has ended"
        );
    }
    Ok(true)
}

/// The parts of an operation under way.
struct Work<'a> {
    app: &'a App,
    operation: Operation,
    progress: Progress,
    /// The part that this process has done.
    report: Report,
    told: Option<tokio::time::Instant>,
}

/// Carries an operation out and returns it as it ended. Returns nothing if another process took it over or this process stops;
/// another process then continues.
async fn carry_out(app: &App, operation: Operation) -> Result<Option<Operation>> {
    let filters = Filters {
        through: Some(operation.through_id),
        ..operation.filters.0.clone()
    };
    let actor = Actor::new(
        Some(operation.who.clone()),
        operation.reason.clone(),
        &operation.filters.0,
    )
    .map_err(anyhow::Error::from)?
    .of_operation(operation.operation_id);
    let job = Job {
        filters,
        actor,
        edit: None,
        rate: operation.rate.and_then(|rate| u32::try_from(rate).ok()),
    };
    let mut clock = job.clock();
    let mut progress = Progress::begin(&job.filters);
    progress.after = operation.after_id;
    let mut work = Work {
        app,
        operation,
        progress,
        report: Report::default(),
        told: None,
    };
    let sender = match work.operation.kind.as_str() {
        "replay" => match sender(app.publisher()?.url()).await {
            Ok(sender) => Some(sender),
            // It stays taken, and is taken again after a while without a sign of life.
            Err(problem) => return Err(problem),
        },
        _ => None,
    };
    let ended = loop {
        if app.stop.is_cancelled() {
            break None;
        }
        if work.operation.cancel_at.is_some() {
            break work.write(Some("cancelled"), None).await?;
        }
        if let Some(clock) = &mut clock {
            clock.tick().await;
        }
        let mut operator = app.operator().await?;
        let more = work.some(&mut operator, sender.as_ref(), &job).await;
        let (state, error) = match more {
            Ok(true) => (None, None),
            Ok(false) => (Some("done"), None),
            Err(error) => {
                let problem = Problem::from(error);
                if problem.retry_after.is_some() {
                    // Earlier work counts; the operation is resumed.
                    work.write(None, None).await?;
                    return Err(problem);
                }
                (Some("failed"), Some(problem.detail))
            }
        };
        operator.done();
        match work.write(state, error.as_deref()).await? {
            None => break None,
            Some(operation) if operation.finished_at.is_some() => break Some(operation),
            Some(operation) => work.operation = operation,
        }
    };
    if let Some(sender) = sender {
        sender.close().await;
    }
    Ok(ended)
}

impl Work<'_> {
    /// Takes the next rows; returns whether there may be more.
    async fn some(
        &mut self,
        operator: &mut PgConnection,
        sender: Option<&Sender>,
        job: &Job,
    ) -> anyhow::Result<bool> {
        let (filters, actor) = (&job.filters, &job.actor);
        if let Some(sender) = sender {
            return replay_some(operator, sender, job, &mut self.progress, &mut self.report).await;
        }
        let rows = match (self.operation.kind.as_str(), self.operation.undoes) {
            ("discard", _) => discard_some(operator, filters, actor, &mut self.progress).await?,
            (_, Some(discard)) => undo_some(operator, discard, actor, &mut self.progress).await?,
            _ => restore_some(operator, filters, actor, &mut self.progress).await?,
        };
        self.report.replayed += rows.unwrap_or(0);
        Ok(rows.is_some())
    }

    /// Saves the progress, and sends it to the event streams.
    async fn write(
        &mut self,
        ended: Option<&'static str>,
        error: Option<&str>,
    ) -> Result<Option<Operation>> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let report = std::mem::take(&mut self.report);
        let mut failures = self.operation.failures.0.clone();
        failures.extend(report.failures);
        failures.truncate(NAMED);
        let step = Step {
            done: self.operation.done + number(report.replayed),
            failed: self.operation.failed + number(report.failed),
            failures: &failures,
            after_id: self.progress.after,
            ended,
            error,
        };
        let mut database = self.app.database().await?;
        let id = self.operation.operation_id;
        let written = operations::step(&mut database, id, &self.app.name, &step).await?;
        if let Some(operation) = &written {
            let due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
            if due || operation.finished_at.is_some() {
                let domain = match operation.domains.as_deref() {
                    Some([one]) => Some(one.as_str()),
                    _ => None,
                };
                events::write(&mut database, "operations", domain, &json!(operation)).await?;
                self.told = Some(tokio::time::Instant::now());
            }
        }
        database.done();
        Ok(written)
    }
}
