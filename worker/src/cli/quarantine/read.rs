//! `worker quarantine list`, `show` and `stats`.

use std::process::ExitCode;

use acequia_ops::quarantine::{self, Page};

use super::{ReadArgs, open, whole};
use crate::cli::output::{code, print_json, print_table, printable, time};

/// Reports on standard error when a list is cut or empty; the exit code of a command that only reads.
fn ended<T>(page: &Page<T>) -> ExitCode {
    let rows = page.rows.len();
    if page.more {
        acequia_telemetry::note!("cut off after {rows}: raise --limit or give more filters");
    } else if rows == 0 {
        acequia_telemetry::note!("nothing matches");
    }
    code(rows > 0)
}

/// Prints the rows that match, the newest first.
pub async fn list(args: ReadArgs) -> anyhow::Result<ExitCode> {
    let filters = args.filters.filters().or_open();
    let mut connection = open(&args.database).await?;
    let page = quarantine::list(&mut connection, &filters).await?;
    if args.json {
        print_json(&page.rows)?;
    } else if !page.rows.is_empty() {
        let lines = page.rows.iter().map(|row| {
            vec![
                row.quarantine_id.to_string(),
                time(row.received_at),
                format!("{}.{}", row.domain, row.entity.as_deref().unwrap_or("?")),
                row.stage.clone(),
                row.code.clone(),
                row.field_path.clone().unwrap_or_default(),
                row.occurrences.to_string(),
                row.replays.to_string(),
                row.status.clone(),
                row.app_id.clone().unwrap_or_default(),
            ]
        });
        let header = [
            "id", "received", "entity", "stage", "code", "field", "seen", "replays", "status",
            "app_id",
        ];
        print_table(&header, lines);
    }
    Ok(ended(&page))
}

/// Prints the rows that match, whole, the newest first.
pub async fn show(args: ReadArgs) -> anyhow::Result<ExitCode> {
    let filters = args.filters.filters();
    let mut connection = open(&args.database).await?;
    let page = quarantine::show(&mut connection, &filters).await?;
    if args.json {
        print_json(&page.rows)?;
    } else {
        for row in &page.rows {
            println!("{}\n", printable(&whole::text(row)?));
        }
    }
    Ok(ended(&page))
}

/// Prints how many rows there are of each cause, the most open first.
pub async fn stats(args: ReadArgs) -> anyhow::Result<ExitCode> {
    let filters = args.filters.filters();
    let mut connection = open(&args.database).await?;
    let page = quarantine::stats(&mut connection, &filters).await?;
    if args.json {
        print_json(&page.rows)?;
    } else if !page.rows.is_empty() {
        let lines = page.rows.iter().map(|group| {
            vec![
                format!("{}.{}", group.domain, group.entity),
                group.code.clone(),
                group.field_path.clone().unwrap_or_default(),
                group.open.to_string(),
                group.replayed.to_string(),
                group.discarded.to_string(),
                group.resolved.to_string(),
                group.occurrences.to_string(),
                time(group.first_seen_at),
                time(group.last_seen_at),
                group.fingerprint.clone(),
            ]
        });
        let header = [
            "entity",
            "code",
            "field",
            "open",
            "replayed",
            "discarded",
            "resolved",
            "seen",
            "first",
            "last",
            "fingerprint",
        ];
        print_table(&header, lines);
    }
    Ok(ended(&page))
}
