//! `worker gate`: lists blocked marts, opens and closes their gates.

use std::process::ExitCode;
use std::time::Duration;

use acequia_args::OperatorDatabase;
use acequia_ops::gates::{self, Done, Gate};
use anyhow::Context;
use clap::{Args, Subcommand};
use sqlx::PgConnection;

use super::actor;
use super::connection;
use super::output::{code, print_json, print_table, printable, time};
use crate::settings;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List failing rules and the marts that they concern; exit 1 when a gate is closed
    List(ListArgs),
    /// Let marts be refreshed although rules fail: until a time, or until the rules give other
    /// results. They stay marked as not trusted. Exit 1 when no gate is closed
    Open(OpenArgs),
    /// Close opened gates again; exit 1 when none is open
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
    /// For how long, as 30m, 2h or 1d, even if the rules get worse; until a rule passes or
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
    /// Person who does it; by default the system user, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Runs a command and prints its result.
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
    let gates = gates::list(&mut connection, marts.as_deref())
        .await
        .context("database")?;
    if args.json {
        print_json(&gates)?;
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
    let who = actor::name(action.by.as_deref());
    let why = reason(&action)?;
    let marts = marts.as_deref();
    let done = gates::open(&mut connection, marts, args.period, who.as_deref(), why)
        .await
        .context("database")?;
    print(&done, action.json, "opened", "no gate is closed")
}

async fn close(args: CloseArgs) -> anyhow::Result<ExitCode> {
    let action = args.action;
    let (mut connection, marts) = start(&action.database, &action.mart).await?;
    let who = actor::name(action.by.as_deref());
    let why = reason(&action)?;
    let done = gates::close(&mut connection, marts.as_deref(), who.as_deref(), why)
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
        print_json(done)?;
    } else if done.is_empty() {
        acequia_telemetry::note!("{nothing}");
    }
    for Done { mart, rule, until } in done.iter().filter(|_| !json) {
        let until = until.map_or_else(String::new, |until| format!(" until {}", time(until)));
        println!("{} {verb} for {}{until}", printable(mart), printable(rule));
    }
    Ok(code(!done.is_empty()))
}

/// A connection, and the marts asked for; all of them are there.
async fn start(
    database: &OperatorDatabase,
    marts: &[String],
) -> anyhow::Result<(PgConnection, Option<Vec<String>>)> {
    let mut connection = connection::open(&database.url()?, "gate").await?;
    let marts = gates::known(&mut connection, marts).await?;
    Ok((connection, marts))
}
