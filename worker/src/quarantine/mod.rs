//! `worker quarantine`: what operators do about messages that could not be promoted.

mod discard;
mod filters;
mod list;
mod mark;
pub mod message;
mod replay;
mod send;
mod show;
mod stats;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use sqlx::{PgConnection, Postgres, QueryBuilder};

use crate::config::OperatorDatabase;
use crate::{db, migrate};

pub use discard::DiscardArgs;
pub use filters::{Filters, Id, Status};
pub use replay::ReplayArgs;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List rows, open ones unless --status says otherwise; 100 unless --limit says otherwise
    List(ReadArgs),
    /// Show rows whole, 20 unless --limit says otherwise: reason, properties, body and its versions, what was done
    Show(ReadArgs),
    /// Send messages again, the way they came in, under the same identity
    Replay(Box<ReplayArgs>),
    /// Give messages up: they stay as evidence until their retention ends
    Discard(Box<DiscardArgs>),
    /// Count by domain, entity, code and field
    Stats(ReadArgs),
}

/// Options of the commands that change nothing.
#[derive(Debug, Args)]
pub struct ReadArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
    // Last: their heading goes on to the end.
    #[command(flatten)]
    filters: Filters,
}

/// Options that the commands that change rows have in common.
#[derive(Debug, Args)]
pub struct ActionArgs {
    /// Every row of the status, without a filter
    #[arg(long)]
    all: bool,
    /// Count what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Why; kept with the rows and in core.audit_log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who does it; the user of the system unless given, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs a command and prints what it has to say. Exit code 1 when nothing matched or something
/// could not be done.
///
/// # Errors
/// When it is used wrongly, or database or broker do not answer.
pub async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list::list(args).await,
        Command::Show(args) => show::show(args).await,
        Command::Replay(args) => replay::replay(*args).await,
        Command::Discard(args) => discard::discard(*args).await,
        Command::Stats(args) => stats::stats(args).await,
    }
}

async fn open(database: &OperatorDatabase) -> anyhow::Result<PgConnection> {
    let mut connection = db::connect(&database.url()?, "quarantine")
        .await
        .context("database")?;
    migrate::check(&mut connection).await?;
    Ok(connection)
}

/// Cuts the row off that was read only to learn whether there are more than `limit`.
fn cut<T>(rows: &mut Vec<T>, limit: i64) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    more
}

/// Says on standard error when a list is cut or empty; the exit code of a command that only reads.
fn ended(rows: usize, more: bool) -> ExitCode {
    if more {
        acequia_telemetry::note!("cut off after {rows}: raise --limit or give more filters");
    } else if rows == 0 {
        acequia_telemetry::note!("nothing matches");
    }
    code(rows > 0)
}

/// Done, or nothing to do.
fn code(found: bool) -> ExitCode {
    if found {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Debug, serde::Serialize, sqlx::FromRow)]
struct Would {
    domain: String,
    entity: String,
    code: String,
    rows: i64,
}

/// Counts what an action would be done to.
async fn dry_run(
    connection: &mut PgConnection,
    filters: &Filters,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select r.domain, r.entity, r.code, count(*) as rows from (
            select q.domain, coalesce(q.entity, '(unknown)') as entity, q.code from raw.quarantine q where true",
    );
    filters.conditions(&mut query);
    query.push(" order by q.quarantine_id");
    if let Some(limit) = filters.limit {
        query.push(" limit ").push_bind(i64::from(limit));
    }
    query.push(") r group by r.domain, r.entity, r.code order by count(*) desc, r.domain, r.entity, r.code");
    let would: Vec<Would> = query.build_query_as().fetch_all(connection).await?;
    let rows: i64 = would.iter().map(|would| would.rows).sum();
    if json {
        let report = serde_json::json!({"dry_run": true, "rows": rows, "by": would});
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let lines = would.iter().map(|would| {
            let Would {
                domain,
                entity,
                code,
                rows,
            } = would;
            vec![
                domain.clone(),
                entity.clone(),
                code.clone(),
                rows.to_string(),
            ]
        });
        crate::text::print_table(&["domain", "entity", "code", "rows"], lines);
        println!("{rows} rows would be taken; nothing was changed");
    }
    Ok(code(rows > 0))
}
