//! `worker ledger`: rows that the ledger has and the tables have not.

use std::process::ExitCode;

use acequia_args::OperatorDatabase;
use acequia_ops::ledger::{self, Lost};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::actor;
use super::connection;
use super::output::{code, print_json, print_table, time};
use crate::run;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give up rows that were removed from staging before their promotion, so that their domain
    /// goes on. The database decides which ones are missing; exit 1 when none is
    WriteOff(WriteOffArgs),
}

/// Options of `worker ledger write-off`.
#[derive(Debug, Args)]
pub struct WriteOffArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    /// Domain
    #[arg(long, value_name = "DOMAIN")]
    domain: String,
    /// Number of a batch; may be repeated; every batch of the domain when not given
    #[arg(long, value_name = "NUMBER")]
    batch: Vec<i64>,
    /// Why; kept in core.audit_log
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Person who does it; by default the system user, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// List the missing rows, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    domain: &'a str,
    dry_run: bool,
    rows: i64,
    lost: &'a [Lost],
}

/// Runs a command and prints its result.
///
/// # Errors
/// When it is used wrongly, or the database does not answer.
pub async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::WriteOff(args) => write_off(args).await,
    }
}

async fn write_off(args: WriteOffArgs) -> anyhow::Result<ExitCode> {
    let domain = run::domains_of(std::slice::from_ref(&args.domain))?;
    let reason = args.reason.as_deref().unwrap_or_default();
    if !args.dry_run && reason.trim().is_empty() {
        bail!("--reason must say why");
    }
    let mut connection = connection::open(&args.database.url()?, "ledger").await?;
    let batches = (!args.batch.is_empty()).then_some(args.batch.as_slice());
    let lost: Vec<Lost> = if args.dry_run {
        ledger::lost(&mut connection, domain[0], batches).await?
    } else {
        let who = actor::name(args.by.as_deref());
        ledger::write_off(&mut connection, domain[0], batches, who.as_deref(), reason)
            .await
            .context("database")?
    };
    let rows = lost
        .iter()
        .map(|lost| i64::from(lost.staged) + i64::from(lost.pending))
        .sum();
    if args.json {
        let report = Report {
            domain: domain[0].name,
            dry_run: args.dry_run,
            rows,
            lost: &lost,
        };
        print_json(&report)?;
    } else if lost.is_empty() {
        acequia_telemetry::note!(
            "nothing is missing: every row of {} that waits by the ledger is in staging",
            args.domain
        );
    } else {
        show(&lost);
        let done = if args.dry_run {
            "would be written off; nothing was changed"
        } else {
            "written off"
        };
        println!("{rows} rows {done}");
    }
    Ok(code(!lost.is_empty()))
}

fn show(lost: &[Lost]) {
    print_table(
        &[
            "batch", "entity", "staged", "pending", "received", "queue", "worker",
        ],
        lost.iter().map(|lost| {
            vec![
                lost.batch_id.to_string(),
                lost.entity.clone(),
                lost.staged.to_string(),
                lost.pending.to_string(),
                lost.received_at.map_or_else(String::new, time),
                lost.queue.clone().unwrap_or_default(),
                lost.worker.clone().unwrap_or_default(),
            ]
        }),
    );
}
