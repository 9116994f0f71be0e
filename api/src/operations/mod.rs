//! Carries out operations: bulk actions on quarantine, and archives. Progress is kept in the database, so that another process
//! continues where one was killed.

mod archives;
mod quarantine;

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::PgConnection;
use tracing::{info, warn};

use crate::app::App;
use crate::data::events;
use crate::data::operations::{self, Operation, Step, Unfinished};
use crate::metrics;
use crate::problem::Result;

pub use quarantine::sender;

/// Time between two polls for work that was not announced, left behind by another process.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Least time between two events of the same operation.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Rows and partitions that failed are named up to this number.
const NAMED: usize = 100;

/// Last progress in each lane that this process has seen, and when.
#[derive(Debug, Default)]
pub struct Watch(Vec<(Unfinished, Instant)>);

impl Watch {
    /// Looks again.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    pub async fn look(
        &mut self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<metrics::Unfinished> {
        let lanes = operations::unfinished(connection).await?;
        // One lane's progress says nothing about the other.
        let since = |(at, now): (usize, &Unfinished)| match self.0.get(at) {
            Some((before, since)) if before == now && now.queued + now.running > 0 => *since,
            _ => Instant::now(),
        };
        self.0 = lanes
            .iter()
            .enumerate()
            .map(|lane| (*lane.1, since(lane)))
            .collect();
        let sum = |of: fn(&Unfinished) -> i64| lanes.iter().map(of).sum::<i64>() as f64;
        let silences = self.0.iter().map(|(_, since)| since.elapsed());
        Ok(metrics::Unfinished {
            queued: sum(|lane| lane.queued),
            running: sum(|lane| lane.running),
            silence: silences.max().unwrap_or_default(),
        })
    }
}

/// Operations that are carried out one after the other, and beside those of the other lane: a table takes long to archive,
/// and messages should not wait for it.
#[derive(Debug, Clone, Copy)]
pub enum Lane {
    /// Bulk actions on quarantine.
    Quarantine,
    /// Archiving and restoring.
    Archives,
}

impl Lane {
    /// Of a kind of operation.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        if operations::ARCHIVES.contains(&kind) {
            Self::Archives
        } else {
            Self::Quarantine
        }
    }

    /// The kinds that this process can carry out: it may lack a login or the broker.
    fn kinds(self, app: &App) -> &'static [&'static str] {
        match self {
            Self::Archives if app.archives().is_ok() => &operations::ARCHIVES,
            Self::Quarantine if app.operator.is_some() && app.publisher().is_ok() => {
                &operations::QUARANTINE
            }
            Self::Quarantine if app.operator.is_some() => &operations::WITHOUT_BROKER,
            _ => &[],
        }
    }
}

/// Looks for operations of a lane and carries them out until the application stops.
pub async fn run(app: App, lane: Lane) {
    let kinds = lane.kinds(&app);
    if kinds.is_empty() {
        return;
    }
    while !app.stop.is_cancelled() {
        match next(&app, kinds).await {
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
            () = app.work(lane).notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = app.stop.cancelled() => {}
        }
    }
}

/// Carries out the next operation; returns whether there was one.
async fn next(app: &App, kinds: &[&str]) -> Result<bool> {
    let mut database = app.database().await?;
    let taken = operations::take(&mut database, &app.name, kinds).await?;
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
    let lane = Lane::of(&operation.kind);
    let work = Work {
        app,
        operation,
        told: None,
    };
    let ended = match lane {
        Lane::Quarantine => quarantine::carry_out(work).await?,
        Lane::Archives => archives::carry_out(work).await?,
    };
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

/// An operation that this process carries out.
struct Work<'a> {
    app: &'a App,
    operation: Operation,
    /// When the event streams last heard of it, and how much was done.
    told: Option<(Instant, i64)>,
}

impl Work<'_> {
    /// Saves the progress, and sends it to the event streams; returns the operation as it is now. Returns nothing if another
    /// process has taken it over.
    async fn write(&mut self, step: &Step<'_>) -> Result<Option<Operation>> {
        let mut database = self.app.database().await?;
        let id = self.operation.operation_id;
        let written = operations::step(&mut database, id, &self.app.name, step).await?;
        if let Some(operation) = &written {
            let progress = operation.done + operation.failed;
            let due = self
                .told
                .is_none_or(|(at, told)| at.elapsed() >= TELL_EVERY && told != progress);
            if due || operation.finished_at.is_some() {
                let domain = operation.domain();
                events::write(&mut database, "operations", domain, &json!(operation)).await?;
                self.told = Some((Instant::now(), progress));
            }
            self.operation = operation.clone();
        }
        database.done();
        Ok(written)
    }
}
