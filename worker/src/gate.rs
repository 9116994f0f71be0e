//! `worker gate`: marts that failing rules hold, and people who decide otherwise.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;

use crate::config::OperatorDatabase;
use crate::text::{print_table, printable, time};
use crate::{db, migrate, operator, settings};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List failing rules and the marts that they concern; exit 1 when a gate is closed
    List(ListArgs),
    /// Let marts be refreshed although rules fail: until a time, or until the rules give other
    /// results. They stay marked as not trusted. Exit 1 when no gate is closed
    Open(OpenArgs),
    /// Take openings back; exit 1 when there is none
    Close(CloseArgs),
}

/// Options of `worker gate list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    /// Mart, as marts.name; may be repeated; all when not given
    #[arg(long, value_name = "MART")]
    mart: Vec<String>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Options of `worker gate open`.
#[derive(Debug, Args)]
pub struct OpenArgs {
    #[command(flatten)]
    action: ActionArgs,
    /// For how long, as 30m, 2h or 1d, however much worse the rules get; until a rule passes or
    /// gets worse when not given
    #[arg(long = "for", value_name = "TIME", value_parser = |text: &str| settings::GATE_FOR.parse(text))]
    period: Option<Duration>,
}

/// Options of `worker gate close`.
#[derive(Debug, Args)]
pub struct CloseArgs {
    #[command(flatten)]
    action: ActionArgs,
}

/// Options of the commands that change something.
#[derive(Debug, Args)]
struct ActionArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    /// Mart, as marts.name; may be repeated; all when not given
    #[arg(long, value_name = "MART")]
    mart: Vec<String>,
    /// Why; kept in core.audit_log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who does it; the user of the system unless given, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// A failing rule and a mart that it concerns.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Gate {
    mart: String,
    kind: String,
    gate: String,
    rule: String,
    outcome: String,
    failing_count: Option<i64>,
    sample_keys: Vec<String>,
    failing_since: DateTime<Utc>,
    check_time: DateTime<Utc>,
    details: Option<String>,
    opened_at: Option<DateTime<Utc>>,
    opened_until: Option<DateTime<Utc>>,
    opened_by: Option<String>,
    reason: Option<String>,
}

/// What an action was done to.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Done {
    mart: String,
    rule: String,
    #[sqlx(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
}

/// Runs a command and prints what it has to say.
///
/// # Errors
/// When it is used wrongly, or the database does not answer.
pub async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(args).await,
        Command::Open(args) => open(args).await,
        Command::Close(args) => close(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let (mut connection, marts) = start(&args.database, &args.mart).await?;
    let gates: Vec<Gate> = sqlx::query_as(
        "select * from core.gates where $1::text[] is null or mart = any ($1) order by mart, rule",
    )
    .bind(marts)
    .fetch_all(&mut connection)
    .await
    .context("database")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&gates)?);
    } else if gates.is_empty() {
        println!("no rule of severity error fails, every gate is open");
    } else {
        print_table(
            &["mart", "gate", "rule", "outcome", "rows", "since", "opened"],
            gates.iter().map(|gate| {
                vec![
                    gate.mart.clone(),
                    gate.gate.clone(),
                    gate.rule.clone(),
                    gate.outcome.clone(),
                    gate.failing_count
                        .map_or_else(String::new, |rows| rows.to_string()),
                    time(gate.failing_since),
                    opened(gate),
                ]
            }),
        );
    }
    Ok(code(gates.iter().all(|gate| gate.gate != "closed")))
}

fn opened(gate: &Gate) -> String {
    let (Some(by), Some(reason)) = (&gate.opened_by, &gate.reason) else {
        return String::new();
    };
    let until = match gate.opened_until {
        Some(until) => time(until),
        None => "the result changes".to_owned(),
    };
    format!("by {by} until {until}: {reason}")
}

async fn open(args: OpenArgs) -> anyhow::Result<ExitCode> {
    let action = args.action;
    let (mut connection, marts) = start(&action.database, &action.mart).await?;
    let period = args.period.map(|period| PgInterval {
        microseconds: i64::try_from(period.as_micros()).unwrap_or(i64::MAX),
        ..PgInterval::default()
    });
    let done: Vec<Done> = sqlx::query_as("select * from core.open_gate($1, $2, $3, $4)")
        .bind(marts)
        .bind(period)
        .bind(operator::name(action.by.as_deref()))
        .bind(reason(&action)?)
        .fetch_all(&mut connection)
        .await
        .context("database")?;
    print(&done, action.json, "opened", "no gate is closed")
}

async fn close(args: CloseArgs) -> anyhow::Result<ExitCode> {
    let action = args.action;
    let (mut connection, marts) = start(&action.database, &action.mart).await?;
    let done: Vec<Done> = sqlx::query_as("select * from core.close_gate($1, $2, $3)")
        .bind(marts)
        .bind(operator::name(action.by.as_deref()))
        .bind(reason(&action)?)
        .fetch_all(&mut connection)
        .await
        .context("database")?;
    print(&done, action.json, "closed", "no gate was opened")
}

fn reason(action: &ActionArgs) -> anyhow::Result<&str> {
    let reason = action.reason.trim();
    anyhow::ensure!(!reason.is_empty(), "--reason must say something");
    Ok(reason)
}

fn print(done: &[Done], json: bool, verb: &str, nothing: &str) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string_pretty(done)?);
    } else if done.is_empty() {
        acequia_telemetry::note!("{nothing}");
    }
    for Done { mart, rule, until } in done.iter().filter(|_| !json) {
        let until = until.map_or_else(String::new, |until| format!(" until {}", time(until)));
        println!("{} {verb} for {}{until}", printable(mart), printable(rule));
    }
    Ok(code(!done.is_empty()))
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A connection, and the marts asked for; all of them are there.
async fn start(
    database: &OperatorDatabase,
    marts: &[String],
) -> anyhow::Result<(PgConnection, Option<Vec<String>>)> {
    let mut connection = db::connect(&database.url()?, "gate")
        .await
        .context("database")?;
    migrate::check(&mut connection).await?;
    let known: Vec<String> = sqlx::query_scalar("select mart from core.marts order by mart")
        .fetch_all(&mut connection)
        .await
        .context("database")?;
    if let Some(unknown) = marts.iter().find(|mart| !known.contains(mart)) {
        bail!("there is no mart {unknown}; there is {}", known.join(", "));
    }
    Ok((connection, (!marts.is_empty()).then(|| marts.to_vec())))
}
