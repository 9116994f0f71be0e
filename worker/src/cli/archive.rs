//! `worker archive` and `worker restore`.

use std::process::ExitCode;
use std::time::Duration;

use acequia_archive::session::{Archive, Session, Totals};
use acequia_archive::store::Store;
use acequia_args::{ArchiveDatabase, ArchiveUrl, duration, first_instant, instant_after};
use acequia_net::SecretUrl;
use acequia_ops::archives::{self, Decision, DryRun, Range, Wanted};
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::actor;
use super::archive_read::{ListArgs, VerifyArgs, list, verify};
use super::connection;
use super::output::{code, print_json, print_table, size, time};

/// Options of `worker archive`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ArchiveArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    database: ArchiveDatabase,
    #[command(flatten)]
    url: ArchiveUrl,
    /// Table, as schema.name; every table with a policy when not given
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Archive partitions that ended this long ago, as 30d, whatever the policies say
    #[arg(long, value_name = "TIME", value_parser = duration)]
    older_than: Option<Duration>,
    #[command(flatten)]
    action: ActionArgs,
}

/// Options that archiving and restoring have in common.
#[derive(Debug, Args)]
struct ActionArgs {
    /// List the partitions, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why; kept in core.audit_log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Name for the audit log; without it the login name, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// The other commands on archives.
#[derive(Debug, Subcommand)]
enum Command {
    /// List the archives, and how much space they save
    List(ListArgs),
    /// Read every file back and compare it with its manifest and with the database; exit 1 when
    /// anything differs or is missing
    Verify(VerifyArgs),
}

/// Options of `worker restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    database: ArchiveDatabase,
    #[command(flatten)]
    url: ArchiveUrl,
    /// Table, as schema.name
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// First day, as 2024-09-01, or month, as 2024-09
    #[arg(long, value_name = "DAY", value_parser = first_instant)]
    from: DateTime<Utc>,
    /// Last day or month; partitions are restored whole
    #[arg(long, value_name = "DAY", value_parser = instant_after)]
    to: DateTime<Utc>,
    /// How long the partition is not archived again
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    hold: Duration,
    #[command(flatten)]
    action: ActionArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    #[serde(flatten)]
    totals: Totals,
    reduction_percent: Option<f64>,
    partitions_list: &'a [Archive],
}

/// Runs `worker archive`.
///
/// # Errors
/// When it is used wrongly, or database or store fail.
pub async fn archive(args: ArchiveArgs, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(Command::List(args)) => return list(args).await,
        Some(Command::Verify(args)) => return verify(args).await,
        None => {}
    }
    let decision = Decision::Archive(Wanted {
        table: args.table,
        domain: Vec::new(),
        older_than_s: args.older_than.map(|age| age.as_secs()),
    });
    let (database, json) = (args.database.url()?, args.action.json);
    if args.action.dry_run {
        dry_run(&database, &decision, json).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = Store::open(args.url.url()?)?;
    let Some(done) = decide(&database, store, &decision, &args.action, stop).await? else {
        return Ok(busy());
    };
    let (archived, totals) = (&done.archives, done.totals);
    if json {
        let report = Report {
            dry_run: false,
            totals,
            reduction_percent: totals.reduction(),
            partitions_list: archived,
        };
        print_json(&report)?;
    } else if archived.is_empty() && done.outcome.is_ok() {
        println!("nothing is due");
    } else {
        println!("{}", summary("archived", &totals));
    }
    done.outcome.map(|()| ExitCode::SUCCESS)
}

/// Runs `worker restore`; exit 1 when nothing of that range is archived.
///
/// # Errors
/// When it is used wrongly, or database or store fail.
pub async fn restore(args: RestoreArgs, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    if args.from >= args.to {
        bail!("--from must be before --to");
    }
    let decision = Decision::Restore(Range {
        table: args.table.clone(),
        from: args.from,
        to: args.to,
        hold_s: args.hold.as_secs(),
    });
    let (database, json) = (args.database.url()?, args.action.json);
    if args.action.dry_run {
        let found = dry_run(&database, &decision, json).await?;
        return Ok(code(found.partitions > 0));
    }
    let store = Store::open(args.url.url()?)?;
    let Some(done) = decide(&database, store, &decision, &args.action, stop).await? else {
        return Ok(busy());
    };
    let totals = done.totals;
    if json {
        let report = serde_json::json!({"restored": totals.partitions, "rows": totals.rows, "partitions_list": done.archives});
        print_json(&report)?;
    } else if totals.partitions > 0 {
        println!(
            "{} partitions restored, {} rows",
            totals.partitions, totals.rows
        );
    } else if done.outcome.is_ok() {
        acequia_telemetry::note!(
            "nothing of {} in this range is archived; see worker archive list",
            args.table
        );
    }
    done.outcome.map(|()| code(totals.partitions > 0))
}

/// Result of a decision.
struct Done {
    archives: Vec<Archive>,
    totals: Totals,
    outcome: anyhow::Result<()>,
}

/// Carries a decision out, with a line for each partition; `None` when another process has the lock.
async fn decide(
    database: &SecretUrl,
    store: Store,
    decision: &Decision,
    action: &ActionArgs,
    stop: CancellationToken,
) -> anyhow::Result<Option<Done>> {
    let Some(mut session) = start(database, store, action.by.as_deref(), stop).await? else {
        return Ok(None);
    };
    let mut moved = Vec::new();
    let reason = action.reason.as_deref();
    let (totals, outcome) =
        archives::carry_out(&mut session, decision, reason, None, |_, tried| {
            // The log has those that failed.
            if let Ok(archive) = tried {
                if !action.json {
                    println!("{}", line(archive));
                }
                moved.push(archive.clone());
            }
        })
        .await;
    Ok(Some(Done {
        archives: moved,
        totals,
        outcome,
    }))
}

/// Lists the partitions that a decision would move.
async fn dry_run(database: &SecretUrl, decision: &Decision, json: bool) -> anyhow::Result<DryRun> {
    let mut connection = connection::open(database, "archive").await?;
    let found = archives::dry_run(&mut connection, decision).await?;
    if json {
        print_json(&found)?;
        return Ok(found);
    }
    print_table(
        &["partition", "from", "to", "hot", "held until"],
        found.partitions_list.iter().map(|one| {
            vec![
                one.partition_name.clone(),
                time(one.from_at),
                time(one.to_at),
                size(one.bytes_hot),
                one.held_until.map_or_else(String::new, time),
            ]
        }),
    );
    let verb = match decision {
        Decision::Archive(_) => "archived",
        Decision::Restore(_) => "restored",
    };
    println!(
        "{} partitions of {} would be {verb}; nothing was changed",
        found.partitions,
        size(found.bytes_hot)
    );
    Ok(found)
}

/// A session for a command, once the schema is known to be ours.
pub(super) async fn start(
    database: &SecretUrl,
    store: Store,
    by: Option<&str>,
    stop: CancellationToken,
) -> anyhow::Result<Option<Session>> {
    let Some(mut session) = Session::open(database, store, actor::name(by), stop).await? else {
        return Ok(None);
    };
    acequia_schema::check(&mut session.connection).await?;
    Ok(Some(session))
}

/// Reports that another process has the lock.
pub(super) fn busy() -> ExitCode {
    acequia_telemetry::note!(
        "another process is archiving or restoring; try again when it has ended"
    );
    ExitCode::FAILURE
}

fn line(archive: &Archive) -> String {
    format!(
        "{}: {} rows, {} hot, {} archived",
        archive.partition_name,
        archive.row_count.unwrap_or_default(),
        size(archive.bytes_hot),
        size(archive.bytes_archived.unwrap_or_default())
    )
}

/// A line about a sum.
pub(super) fn summary(done: &str, totals: &Totals) -> String {
    let reduction = totals.reduction();
    let less = reduction.map_or_else(String::new, |less| format!(", {less:.1} % less space"));
    format!(
        "{} partitions {done}: {} rows, {} hot, {} archived{less}",
        totals.partitions,
        totals.rows,
        size(totals.bytes_hot),
        size(totals.bytes_archived)
    )
}
