//! `worker archive` and `worker restore`.

use std::process::ExitCode;
use std::time::Duration;

use acequia_archive::due::{self, Candidate, Wanted};
use acequia_archive::restore;
use acequia_archive::session::{Archive, Session, Totals};
use acequia_archive::store::Store;
use acequia_args::{ArchiveDatabase, duration};
use acequia_net::SecretUrl;
use anyhow::bail;
use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::actor;
use super::archive_read::{ListArgs, VerifyArgs, list, verify};
use super::connection;
use super::output::{code, print_json, print_table, size, time};
use crate::config::ArchiveUrl;

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
    /// Say what would be archived, and change nothing
    #[arg(long)]
    dry_run: bool,
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
    #[arg(long, value_name = "DAY", value_parser = last_instant)]
    to: DateTime<Utc>,
    /// How long the partition is not archived again
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    hold: Duration,
    /// Name for the audit log; without it the login name, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
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
    let wanted = Wanted {
        table: args.table,
        domain: None,
        older_than: args.older_than,
    };
    if args.dry_run {
        let mut connection = connection::open(&args.database.url()?, "archive").await?;
        let found = due::candidates(&mut connection, &wanted).await?;
        return dry_run(&found, args.json);
    }
    let store = Store::open(args.url.url()?)?;
    let Some(mut session) = start(&args.database.url()?, store, args.by.as_deref(), stop).await?
    else {
        return Ok(busy());
    };
    session.begin("archive", None, None).await?;
    let mut archived = Vec::new();
    let (totals, outcome) = due::archive(&mut session, &wanted, |archive| {
        if !args.json {
            println!("{}", line(archive));
        }
        archived.push(archive.clone());
    })
    .await;
    session.end(totals, &outcome).await;
    if args.json {
        let report = Report {
            dry_run: false,
            totals,
            reduction_percent: totals.reduction(),
            partitions_list: &archived,
        };
        print_json(&report)?;
    } else if archived.is_empty() && outcome.is_ok() {
        println!("nothing is due");
    } else {
        println!("{}", summary("archived", &totals));
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn dry_run(found: &[Candidate], json: bool) -> anyhow::Result<ExitCode> {
    let due: Vec<_> = found
        .iter()
        .filter(|candidate| !candidate.is_held())
        .collect();
    let bytes: i64 = due.iter().map(|candidate| candidate.bytes_hot).sum();
    if json {
        let report = serde_json::json!({"dry_run": true, "partitions": due.len(), "bytes_hot": bytes, "partitions_list": found});
        print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    print_table(
        &["partition", "from", "to", "hot", "held until"],
        found.iter().map(|candidate| {
            vec![
                candidate.partition_name.clone(),
                time(candidate.from_at),
                time(candidate.to_at),
                size(candidate.bytes_hot),
                candidate.held_until.map_or_else(String::new, time),
            ]
        }),
    );
    println!(
        "{} partitions of {} would be archived; nothing was changed",
        due.len(),
        size(bytes)
    );
    Ok(ExitCode::SUCCESS)
}

/// Runs `worker restore`; exit 1 when nothing of that range is archived.
///
/// # Errors
/// When it is used wrongly, or database or store fail.
pub async fn restore(args: RestoreArgs, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    if args.from >= args.to {
        bail!("--from must be before --to");
    }
    let store = Store::open(args.url.url()?)?;
    let Some(mut session) = start(&args.database.url()?, store, args.by.as_deref(), stop).await?
    else {
        return Ok(busy());
    };
    session.begin("restore", None, None).await?;
    let mut restored = Vec::new();
    let range = (args.from, args.to);
    let (totals, outcome) =
        restore::restore_range(&mut session, &args.table, range, args.hold, |archive| {
            if !args.json {
                println!("{}", line(archive));
            }
            restored.push(archive.clone());
        })
        .await;
    session.end(totals, &outcome).await;
    if args.json {
        let report = serde_json::json!({"restored": totals.partitions, "rows": totals.rows, "partitions_list": restored});
        print_json(&report)?;
    } else if totals.partitions > 0 {
        println!(
            "{} partitions restored, {} rows",
            totals.partitions, totals.rows
        );
    } else if outcome.is_ok() {
        acequia_telemetry::note!(
            "nothing of {} in this range is archived; see worker archive list",
            args.table
        );
    }
    outcome.map(|()| code(totals.partitions > 0))
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

/// The first instant of a day or a month.
pub(super) fn first_instant(text: &str) -> Result<DateTime<Utc>, String> {
    day_or_month(text).map(|(first, _)| first)
}

/// The first instant after a day or a month.
pub(super) fn last_instant(text: &str) -> Result<DateTime<Utc>, String> {
    day_or_month(text).map(|(_, after)| after)
}

fn day_or_month(text: &str) -> Result<(DateTime<Utc>, DateTime<Utc>), String> {
    let month = || NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").ok();
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let range = match day {
        Some(day) => day.checked_add_days(Days::new(1)).map(|after| (day, after)),
        None => month().and_then(|first| Some((first, first.checked_add_months(Months::new(1))?))),
    };
    let instant = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    range
        .filter(|(first, _)| (1..10_000).contains(&first.year()))
        .map(|(first, after)| (instant(first), instant(after)))
        .ok_or_else(|| "must be a day as 2024-09-01 or a month as 2024-09".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_and_months_are_ranges() {
        assert_eq!(
            time(first_instant("2024-02").unwrap()),
            "2024-02-01T00:00:00Z"
        );
        assert_eq!(
            time(last_instant("2024-02").unwrap()),
            "2024-03-01T00:00:00Z"
        );
        assert_eq!(
            time(last_instant("2024-12-31").unwrap()),
            "2025-01-01T00:00:00Z"
        );
        for wrong in [
            "2024",
            "2024-13",
            "2024-02-30",
            "yesterday",
            "-2024-01-01",
            "12024-01",
        ] {
            assert!(first_instant(wrong).is_err(), "{wrong}");
        }
    }
}
