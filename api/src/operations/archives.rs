//! Archiving and restoring. The steps of a partition are safe to repeat: the run that follows a killed one puts in order what was
//! begun, and takes the partitions that are left. How many are done is counted from the log of the archive.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acequia_ops::archives::{self, Decision, Depot, Interrupted};
use acequia_store::failure::describe;
use anyhow::ensure;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{NAMED, Work};
use crate::data::operations::{FailedPartition, Failure, Operation, Step};
use crate::problem::{Problem, Result};

/// Time between two signs of life: a partition may take longer than another process waits for one.
const BEAT: Duration = Duration::from_secs(1);
/// Pause before the next attempt to get the lock of the archive.
const LOCK_PAUSE: Duration = Duration::from_secs(2);
/// Characters of a reason: an object store may answer with a page.
const REASON: usize = 500;

/// A decision with its person, to be carried out.
struct Task<'a> {
    depot: &'a Depot,
    decision: Decision,
    operation: i64,
    who: String,
    reason: Option<String>,
    stop: CancellationToken,
    failed: Mutex<Stuck>,
}

/// Partitions that stay as they were because of an error.
#[derive(Clone, Default)]
struct Stuck {
    count: i64,
    first: Vec<Failure>,
}

impl Stuck {
    fn add(&mut self, partition: &str, error: &anyhow::Error) {
        self.count += 1;
        if self.first.len() < NAMED {
            let text = told(error);
            let cause = text
                .strip_prefix(partition)
                .and_then(|rest| rest.strip_prefix(": "));
            self.first.push(Failure::Partition(FailedPartition {
                partition_name: partition.to_owned(),
                reason: cause.unwrap_or(&text).chars().take(REASON).collect(),
            }));
        }
    }
}

/// Carries an operation out and returns it as it ended. Returns nothing if another process took it over or this process stops;
/// another process then continues.
pub(super) async fn carry_out(mut work: Work<'_>) -> Result<Option<Operation>> {
    let operation = work.operation.clone();
    let filters = operation.filters.0;
    let task = Task {
        depot: work.app.archives()?,
        decision: Decision::of(&operation.kind, filters).map_err(anyhow::Error::from)?,
        operation: operation.operation_id,
        who: operation.who,
        reason: operation.reason,
        stop: work.app.stop.child_token(),
        // Those of an earlier run, until this one begins and tries them again.
        failed: Mutex::new(Stuck {
            count: operation.failed,
            first: operation.failures.0,
        }),
    };
    if operation.cancel_at.is_some() {
        return work.beat(&task, Some("cancelled"), None).await;
    }
    let mut mine = true;
    let outcome = {
        let running = task.carry_out();
        tokio::pin!(running);
        loop {
            tokio::select! {
                outcome = &mut running => break outcome,
                () = tokio::time::sleep(BEAT) => {}
            }
            match work.beat(&task, None, None).await {
                Ok(Some(operation)) if operation.cancel_at.is_none() => {}
                Ok(written) => {
                    mine = written.is_some();
                    task.stop.cancel();
                }
                // The archive has a connection of its own, and finds out by itself.
                Err(problem) => warn!(
                    event = "operation.no_progress",
                    operation = task.operation,
                    code = problem.code.as_str(),
                    "its progress was not written down"
                ),
            }
        }
    };
    match outcome {
        Ok(()) => work.beat(&task, Some("done"), None).await,
        Err(error) if error.is::<Interrupted>() => {
            if mine && work.operation.cancel_at.is_some() {
                return work.beat(&task, Some("cancelled"), None).await;
            }
            Ok(None)
        }
        Err(error) => {
            let text = told(&error);
            let problem = Problem::from(error);
            if problem.retry_after.is_some() {
                // Finished partitions count; the operation is resumed.
                return Err(problem);
            }
            work.beat(&task, Some("failed"), Some(&text)).await
        }
    }
}

impl Task<'_> {
    /// Waits for the lock of the archive, then moves the partitions.
    async fn carry_out(&self) -> anyhow::Result<()> {
        let mut session = loop {
            ensure!(!self.stop.is_cancelled(), Interrupted);
            let who = Some(self.who.clone());
            if let Some(session) = self.depot.session(who, self.stop.clone()).await? {
                break session;
            }
            tokio::select! {
                () = tokio::time::sleep(LOCK_PAUSE) => {}
                () = self.stop.cancelled() => {}
            }
        };
        *self.failed() = Stuck::default();
        let (_, outcome) = archives::carry_out(
            &mut session,
            &self.decision,
            self.reason.as_deref(),
            Some(self.operation),
            |partition, tried| {
                if let Err(error) = tried {
                    self.failed().add(partition, error);
                }
            },
        )
        .await;
        outcome
    }

    fn failed(&self) -> MutexGuard<'_, Stuck> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work<'_> {
    /// Saves the progress, which is a sign of life.
    async fn beat(
        &mut self,
        task: &Task<'_>,
        ended: Option<&'static str>,
        error: Option<&str>,
    ) -> Result<Option<Operation>> {
        let mut database = self.app.database().await?;
        let done = archives::done(&mut database, task.operation).await?;
        database.done();
        let failed = task.failed().clone();
        let step = Step {
            done,
            failed: failed.count,
            failures: &failed.first,
            after_id: 0,
            ended,
            error,
        };
        self.write(&step).await
    }
}

/// The text of a failure: partition and cause, without values that PostgreSQL repeats.
fn told(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
            parts.push(describe(error));
            break;
        }
        parts.push(cause.to_string());
    }
    parts.join(": ")
}
