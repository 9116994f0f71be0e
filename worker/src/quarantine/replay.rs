//! `worker quarantine replay`: locks some rows, sends them, marks what the broker confirmed,
//! commits. A crash on the way leaves rows open whose messages have arrived; sent again they are
//! copies of themselves and have no second effect.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::time::MissedTickBehavior;

use super::filters::{Filters, Status};
use super::mark::{Actor, edit, mark, take};
use super::message::Quarantined;
use super::send::{Outcome, Sender};
use super::{ActionArgs, dry_run, open};
use crate::config::{BrokerArgs, OperatorDatabase};
use crate::failpoint;

/// Rows sent in one transaction.
const CHUNK: u32 = 500;
/// Bytes of bodies sent in one transaction; one larger body goes alone.
const CHUNK_BYTES: i64 = 16 * 1024 * 1024;
/// Rows that could not be replayed are named up to this number, and counted beyond.
const NAMED: usize = 100;

/// Options of `worker quarantine replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    action: ActionArgs,
    /// Send the bytes of this file instead of the body; for exactly one row. The original stays,
    /// later replays send the newest version
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// At most so many messages a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    // Last: their heading goes on to the end.
    #[command(flatten)]
    filters: Filters,
}

/// What is to be done.
struct Job {
    filters: Filters,
    actor: Actor,
    /// Takes the place of the body.
    edit: Option<Vec<u8>>,
    /// Messages a second.
    rate: Option<u32>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    replayed: usize,
    failed: usize,
    /// The first of those that failed.
    failures: Vec<Failed>,
    /// Rows that were sent without something that cannot be sent as it came.
    incomplete: usize,
    /// The first of them.
    left_out: Vec<LeftOut>,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    quarantine_id: i64,
    /// Names of properties and headers; exchange and routing key, too.
    properties: Vec<String>,
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

#[derive(Debug, Serialize)]
struct Failed {
    quarantine_id: i64,
    reason: String,
}

/// Replays every row that matches.
pub async fn replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    args.filters.insist(args.action.all)?;
    let filters = args.filters.or_open();
    let edit = match &args.edit {
        Some(file) => {
            let body = std::fs::read(file);
            Some(body.with_context(|| format!("--edit: cannot read {}", file.display()))?)
        }
        None => None,
    };
    let mut connection = open(&args.database).await?;
    if args.action.dry_run {
        return dry_run(&mut connection, &filters, args.action.json).await;
    }
    let job = Job {
        actor: Actor::new(&args.action, &filters)?,
        filters,
        edit,
        rate: args.rate,
    };
    let sender = Sender::connect(&args.broker.url()?)
        .await
        .context("broker")?;
    let mut report = Report::default();
    let outcome = run(&mut connection, &sender, &job, &mut report).await;
    sender.close().await;
    if let Err(error) = outcome {
        let done = report.replayed;
        if job.edit.is_some() {
            return Err(error);
        }
        return Err(error.context(format!(
            "{done} were replayed before this; run it again, what arrives twice has no second effect"
        )));
    }
    if args.action.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if report.replayed + report.failed > 0 {
        println!("{} replayed, {} not", report.replayed, report.failed);
    } else {
        acequia_telemetry::note!("nothing matches, or another process is replaying it");
    }
    if !args.action.json {
        for Failed {
            quarantine_id,
            reason,
        } in &report.failures
        {
            println!("{quarantine_id}: {reason}");
        }
        for LeftOut {
            quarantine_id,
            properties,
        } in &report.left_out
        {
            let properties = properties.join(", ");
            println!("{quarantine_id}: sent without what cannot be sent as it came: {properties}");
        }
    }
    Ok(super::code(report.replayed > 0 && report.failed == 0))
}

async fn run(
    connection: &mut PgConnection,
    sender: &Sender,
    job: &Job,
    report: &mut Report,
) -> anyhow::Result<()> {
    let chunk = job.rate.unwrap_or(CHUNK).min(CHUNK);
    let mut clock = job.rate.map(|rate| {
        let mut clock = tokio::time::interval(Duration::from_secs(1) * chunk / rate);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock
    });
    let mut left = job.filters.limit(u32::MAX);
    let mut after = 0;
    while left > 0 {
        // Outside of a transaction: rows are locked for the time that the broker takes.
        if let Some(clock) = &mut clock {
            clock.tick().await;
        }
        let mut transaction = connection.begin().await.context("database")?;
        let limit = i64::from(chunk).min(left);
        let mut rows = next(&mut transaction, job, after, limit)
            .await
            .context("database")?;
        let Some(last) = rows.last() else {
            break;
        };
        after = last.quarantine_id;
        left -= i64::try_from(rows.len())?;
        if let Some(body) = &job.edit {
            if rows.len() > 1 {
                bail!("--edit is for one row, and more match: give --id");
            }
            body.clone_into(&mut rows[0].body);
        }
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
            }
        }
        if !replayed.is_empty() {
            if let Some(body) = &job.edit {
                edit(&mut transaction, &job.actor, replayed[0], body)
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
        sent.context("broker")?;
        if job.edit.is_some() {
            break;
        }
    }
    Ok(())
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
