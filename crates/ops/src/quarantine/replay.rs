//! Replays quarantined messages: locks some rows, publishes them, marks the confirmed ones,
//! commits. A crash on the way leaves rows open whose messages have arrived; sent again they are
//! copies of themselves and have no second effect.

use std::time::Duration;

use acequia_store::failpoint;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use tokio::time::{Interval, MissedTickBehavior};

use super::Progress;
use super::filters::{Filters, Status};
use super::mark::{Actor, edit, mark, take};
use super::message::Quarantined;
use super::revision::revision_of;
use super::send::{Outcome, Sender};

/// A new body was given for several rows.
#[derive(Debug, thiserror::Error)]
#[error("an edit is for one row, and more match: choose the row by its id")]
pub struct EditOfSeveral;

/// The row of an edit is not any more as it was when the edit was made.
#[derive(Debug, thiserror::Error)]
#[error("the row has changed since it was read")]
pub struct Stale;

/// The broker was lost while rows were sent. What it confirmed is marked and counted; the rest stays open.
#[derive(Debug, thiserror::Error)]
#[error("the broker was lost")]
pub struct BrokerLost;

/// Rows sent in one transaction.
const CHUNK: u32 = 500;
/// Bytes of bodies sent in one transaction; one larger body goes alone.
const CHUNK_BYTES: i64 = 16 * 1024 * 1024;
/// Rows that could not be replayed are named up to this number, and counted beyond.
const NAMED: usize = 100;

/// A replay that is to be made.
#[derive(Debug)]
pub struct Job {
    /// Which rows.
    pub filters: Filters,
    /// The actor, with the reason.
    pub actor: Actor,
    /// Replaces the body; for exactly one row.
    pub edit: Option<Edit>,
    /// At most this many messages a second.
    pub rate: Option<u32>,
}

/// A body that takes the place of the original.
#[derive(Debug)]
pub struct Edit {
    /// The bytes.
    pub body: Vec<u8>,
    /// The revision that it was made from; `None`: whatever the row is like.
    pub revision: Option<String>,
}

impl Job {
    /// Rows of a transaction.
    fn chunk(&self) -> u32 {
        self.rate.unwrap_or(CHUNK).min(CHUNK)
    }

    /// The interval to await before each [`replay_some`], when there is a rate.
    #[must_use]
    pub fn clock(&self) -> Option<Interval> {
        let rate = self.rate?;
        let mut clock = tokio::time::interval(Duration::from_secs(1) * self.chunk() / rate);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(clock)
    }
}

/// Result of a replay.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Rows whose message was published again and confirmed.
    pub replayed: usize,
    /// Rows whose message the broker refused or could not route.
    pub failed: usize,
    /// The first of those that failed.
    pub failures: Vec<Failed>,
    /// Rows that were sent without something that cannot be sent as it came.
    pub incomplete: usize,
    /// The first of them.
    pub left_out: Vec<LeftOut>,
}

/// The properties that a replayed row was sent without.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// Number of the row.
    pub quarantine_id: i64,
    /// Names of properties and headers; exchange and routing key, too.
    pub properties: Vec<String>,
}

impl Report {
    /// Notes what a row was sent without.
    fn note(&mut self, row: &Quarantined) {
        let properties = row.left_out();
        if properties.is_empty() {
            return;
        }
        self.incomplete += 1;
        if self.left_out.len() < NAMED {
            self.left_out.push(LeftOut {
                quarantine_id: row.quarantine_id,
                properties,
            });
        }
    }
}

/// A row that could not be replayed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ReplayFailure))]
pub struct Failed {
    /// Number of the row.
    pub quarantine_id: i64,
    /// Why not.
    pub reason: String,
}

/// Replays every row that matches; what was done until an error is in the report too.
///
/// # Errors
/// When database or broker fail; with an edit, also when more than one row matches, or it is [`Stale`].
pub async fn replay(
    connection: &mut PgConnection,
    sender: &Sender,
    job: &Job,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut clock = job.clock();
    let mut progress = Progress::begin(&job.filters);
    while progress.left > 0 {
        // Outside of a transaction: rows are locked for the time that the broker takes.
        if let Some(clock) = &mut clock {
            clock.tick().await;
        }
        if !replay_some(connection, sender, job, &mut progress, report).await? {
            break;
        }
    }
    Ok(())
}

/// Replays the next rows in one transaction, and adds them to the report; returns whether there may be more.
///
/// # Errors
/// Same as [`replay`].
pub async fn replay_some(
    connection: &mut PgConnection,
    sender: &Sender,
    job: &Job,
    progress: &mut Progress,
    report: &mut Report,
) -> anyhow::Result<bool> {
    let mut transaction = connection.begin().await.context("database")?;
    let limit = i64::from(job.chunk()).min(progress.left);
    let mut rows = next(&mut transaction, job, progress.after, limit)
        .await
        .context("database")?;
    if let Some(edit) = &job.edit {
        if rows.len() > 1 {
            return Err(EditOfSeveral.into());
        }
        edit.apply(&mut transaction, rows.first_mut()).await?;
    }
    let Some(last) = rows.last() else {
        return Ok(false);
    };
    let (after, taken) = (last.quarantine_id, i64::try_from(rows.len())?);
    let (outcomes, sent) = sender.send(&rows).await;
    let mut replayed = Vec::new();
    for (row, outcome) in rows.iter().zip(outcomes) {
        match outcome {
            Outcome::Confirmed => {
                replayed.push(row.quarantine_id);
                report.note(row);
            }
            Outcome::Refused(reason) => {
                report.failed += 1;
                if report.failures.len() < NAMED {
                    let quarantine_id = row.quarantine_id;
                    report.failures.push(Failed {
                        quarantine_id,
                        reason,
                    });
                }
            }
            Outcome::Unknown => {}
        }
    }
    if !replayed.is_empty() {
        if let Some(made) = &job.edit {
            edit(&mut transaction, &job.actor, replayed[0], &made.body)
                .await
                .context("database")?;
        }
        mark(&mut transaction, &job.actor, &replayed, Status::Replayed)
            .await
            .context("database")?;
        failpoint::after_confirms();
    }
    transaction.commit().await.context("database")?;
    report.replayed += replayed.len();
    // Behind what was lost nothing is taken for done.
    sent.context(BrokerLost)?;
    progress.after = after;
    progress.left -= taken;
    Ok(job.edit.is_none())
}

impl Edit {
    /// Gives the locked row its new body, if it is as it was when the edit was made.
    async fn apply(
        &self,
        transaction: &mut PgConnection,
        row: Option<&mut Quarantined>,
    ) -> anyhow::Result<()> {
        if let Some(expected) = &self.revision {
            let found = match &row {
                Some(row) => revision_of(transaction, row.quarantine_id)
                    .await
                    .context("database")?,
                None => None,
            };
            if found.as_ref() != Some(expected) {
                return Err(Stale.into());
            }
        }
        if let Some(row) = row {
            self.body.clone_into(&mut row.body);
        }
        Ok(())
    }
}

const ROWS: &str = "
select q.quarantine_id, q.message_id, q.identity, q.code, q.domain, q.entity, q.queue, q.properties, q.received_at, q.replays,
    coalesce((select v.body from raw.quarantine_versions v where v.quarantine_id = q.quarantine_id
              order by v.version desc limit 1), q.body) as body
from raw.quarantine q where q.quarantine_id = any($1) order by q.quarantine_id";

/// The next rows, locked; as many as fit into memory. Rows that another process replays are left
/// to it. For an edit one more than the one, to see
/// that there is none.
async fn next(
    transaction: &mut PgConnection,
    job: &Job,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Quarantined>> {
    let (limit, lock) = match job.edit {
        Some(_) => (2, "for update"),
        None => (limit, "for update skip locked"),
    };
    let taken = take(transaction, &job.filters, after, limit, lock).await?;
    let mut bytes = 0;
    let rows: Vec<i64> = taken
        .into_iter()
        .enumerate()
        .take_while(|(place, (_, size))| {
            bytes += size;
            *place == 0 || job.edit.is_some() || bytes <= CHUNK_BYTES
        })
        .map(|(_, (row, _))| row)
        .collect();
    sqlx::query_as(ROWS).bind(rows).fetch_all(transaction).await
}
