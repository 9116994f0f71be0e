//! Bulk actions on quarantine: progress is kept after each chunk. A message that is sent twice because a process was killed has
//! no second effect.

use acequia_net::SecretUrl;
use acequia_ops::quarantine::{
    Actor, Filters, Job, Progress, Report, Sender, discard_some, replay_some, restore_some,
    undo_some,
};
use sqlx::PgConnection;
use tracing::warn;

use super::{NAMED, Work};
use crate::data::operations::{Failure, Operation, Step};
use crate::problem::{Code, Problem, Result};

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

/// The parts of a bulk action under way.
struct Rows<'a> {
    work: Work<'a>,
    progress: Progress,
    /// The part that this process has done.
    report: Report,
}

/// Carries an operation out and returns it as it ended. Returns nothing if another process took it over or this process stops;
/// another process then continues.
pub(super) async fn carry_out(work: Work<'_>) -> Result<Option<Operation>> {
    let app = work.app;
    let chosen: Filters =
        serde_json::from_value(work.operation.filters.0.clone()).map_err(anyhow::Error::from)?;
    let actor = Actor::new(
        Some(work.operation.who.clone()),
        work.operation.reason.clone(),
        &chosen,
    )
    .map_err(anyhow::Error::from)?
    .of_operation(work.operation.operation_id);
    let filters = Filters {
        through: Some(work.operation.through_id),
        ..chosen
    };
    let rate = work.operation.rate;
    let job = Job {
        filters,
        actor,
        edit: None,
        rate: rate.and_then(|rate| u32::try_from(rate).ok()),
    };
    let mut clock = job.clock();
    let mut progress = Progress::begin(&job.filters);
    progress.after = work.operation.after_id;
    let mut rows = Rows {
        work,
        progress,
        report: Report::default(),
    };
    let sender = match rows.work.operation.kind.as_str() {
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
        if rows.work.operation.cancel_at.is_some() {
            break rows.write(Some("cancelled"), None).await?;
        }
        if let Some(clock) = &mut clock {
            clock.tick().await;
        }
        let mut operator = app.operator().await?;
        let more = rows.some(&mut operator, sender.as_ref(), &job).await;
        let (state, error) = match more {
            Ok(true) => (None, None),
            Ok(false) => (Some("done"), None),
            Err(error) => {
                let problem = Problem::from(error);
                if problem.retry_after.is_some() {
                    // Earlier work counts; the operation is resumed.
                    rows.write(None, None).await?;
                    return Err(problem);
                }
                (Some("failed"), Some(problem.detail))
            }
        };
        operator.done();
        match rows.write(state, error.as_deref()).await? {
            None => break None,
            Some(operation) if operation.finished_at.is_some() => break Some(operation),
            Some(_) => {}
        }
    };
    if let Some(sender) = sender {
        sender.close().await;
    }
    Ok(ended)
}

impl Rows<'_> {
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
        let operation = &self.work.operation;
        let rows = match (operation.kind.as_str(), operation.undoes) {
            ("discard", _) => discard_some(operator, filters, actor, &mut self.progress).await?,
            (_, Some(discard)) => undo_some(operator, discard, actor, &mut self.progress).await?,
            _ => restore_some(operator, filters, actor, &mut self.progress).await?,
        };
        self.report.replayed += rows.unwrap_or(0);
        Ok(rows.is_some())
    }

    /// Saves the progress.
    async fn write(
        &mut self,
        ended: Option<&'static str>,
        error: Option<&str>,
    ) -> Result<Option<Operation>> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let report = std::mem::take(&mut self.report);
        let operation = &self.work.operation;
        let mut failures = operation.failures.0.clone();
        failures.extend(report.failures.into_iter().map(Failure::Row));
        failures.truncate(NAMED);
        let step = Step {
            done: operation.done + number(report.replayed),
            failed: operation.failed + number(report.failed),
            failures: &failures,
            after_id: self.progress.after,
            ended,
            error,
        };
        self.work.write(&step).await
    }
}
