//! `worker ledger`: what the accounts have and the tables have not.

use std::process::ExitCode;

use acequia_contracts::Domain;
use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use sqlx::PgConnection;

use crate::config::OperatorDatabase;
use crate::text::{print_table, time};
use crate::{db, migrate, operator, run};

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
    /// Who does it; the user of the system unless given, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Say what is missing, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Rows of a batch that wait by the accounts and are not in staging.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct Lost {
    /// Entity.
    pub entity: String,
    /// Batch they came in.
    pub batch_id: i64,
    /// Its queue.
    pub queue: Option<String>,
    /// Process that took it.
    pub worker: Option<String>,
    /// When it was staged.
    pub received_at: Option<DateTime<Utc>>,
    /// Rows that waited for promotion.
    pub staged: i32,
    /// Rows that waited for the row they refer to.
    pub pending: i32,
}

#[derive(Serialize)]
struct Report<'a> {
    domain: &'a str,
    dry_run: bool,
    rows: i64,
    lost: &'a [Lost],
}

/// Runs a command and prints what it has to say.
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
    let mut connection = db::connect(&args.database.url()?, "ledger")
        .await
        .context("database")?;
    migrate::check(&mut connection).await?;
    let batches = (!args.batch.is_empty()).then_some(args.batch.as_slice());
    let lost: Vec<Lost> = if args.dry_run {
        lost(&mut connection, domain[0], batches).await?
    } else {
        sqlx::query_as("select * from core.write_off($1, $2, $3, $4)")
            .bind(domain[0].name)
            .bind(batches)
            .bind(operator::name(args.by.as_deref()))
            .bind(reason)
            .fetch_all(&mut connection)
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
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if lost.is_empty() {
        acequia_telemetry::note!(
            "nothing is missing: every row of {} that waits by the accounts is in staging",
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
    Ok(if lost.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Rows of a domain that wait by the accounts and are not in staging, of all batches when `None`.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn lost(
    connection: &mut PgConnection,
    domain: &Domain,
    batches: Option<&[i64]>,
) -> sqlx::Result<Vec<Lost>> {
    sqlx::query_as("select * from core.lost_rows($1, $2)")
        .bind(domain.name)
        .bind(batches)
        .fetch_all(connection)
        .await
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
