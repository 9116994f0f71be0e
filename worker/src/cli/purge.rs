//! `worker purge`: deletes archives before or after their retention ends.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use acequia_archive::purge::{self, Range};
use acequia_archive::session::Archive;
use acequia_archive::store::Store;
use acequia_args::{ArchiveUrl, OperatorDatabase, first_instant, instant_after};
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::archive::{busy, start};
use super::connection;
use super::output::{print_json, print_table, size, time};

/// Options of `worker purge`.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    #[command(flatten)]
    url: ArchiveUrl,
    /// Table, as schema.name
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// First day, as 2018-01-01, or month, as 2018-01
    #[arg(long, value_name = "DAY", value_parser = first_instant)]
    from: DateTime<Utc>,
    /// Last day or month; archives that lie in the range only partly stay
    #[arg(long, value_name = "DAY", value_parser = instant_after)]
    to: DateTime<Utc>,
    /// Do not ask; without this option it asks on a terminal, and refuses elsewhere
    #[arg(long)]
    yes: bool,
    /// Also purge archives that the policy still keeps (core.lifecycle_policies.keep_archive)
    #[arg(long)]
    early: bool,
    /// Why; kept in core.archive_log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Person who does it; by default the system user, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `worker purge`; exit 1 when there is nothing to purge, or the answer is no.
///
/// # Errors
/// When it is used wrongly, or database or store fail.
pub async fn purge(args: PurgeArgs, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    if args.from >= args.to {
        bail!("--from must be before --to");
    }
    let store = Store::open(args.url.url()?)?;
    let range = Range {
        table: args.table,
        from: args.from,
        to: args.to,
        early: args.early,
    };
    // Asked without the lock: an answer may take a while, and others have work to do.
    let mut connection = connection::open(&args.database.url()?, "archive").await?;
    let would = purge::purgeable(&mut connection, &range).await?;
    drop(connection);
    if would.is_empty() {
        acequia_telemetry::note!(
            "nothing of {} in this range may be purged: see worker archive list for the archives and their retention; --early purges before it ends",
            range.table
        );
        return Ok(ExitCode::FAILURE);
    }
    if !args.yes {
        show(&would);
        if !std::io::stdin().is_terminal() {
            bail!("these archives would be deleted for good: say --yes to do it");
        }
        acequia_telemetry::note!("Delete these {} archives for good? Type yes:", would.len());
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if answer.trim() != "yes" {
            acequia_telemetry::note!("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
    }
    let Some(mut session) = start(&args.database.url()?, store, args.by.as_deref(), stop).await?
    else {
        return Ok(busy());
    };
    let totals = purge::purge(&mut session, &range, &would, args.reason.as_deref()).await?;
    if args.json {
        print_json(
            &serde_json::json!({"purged": totals.partitions, "rows": totals.rows, "bytes_archived": totals.bytes_archived}),
        )?;
    } else {
        println!(
            "{} archives purged, {} rows",
            totals.partitions, totals.rows
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn show(archives: &[Archive]) {
    print_table(
        &["partition", "from", "to", "rows", "archived"],
        archives.iter().map(|archive| {
            vec![
                archive.partition_name.clone(),
                time(archive.from_at),
                time(archive.to_at),
                archive.row_count.unwrap_or_default().to_string(),
                size(archive.bytes_archived.unwrap_or_default()),
            ]
        }),
    );
}
