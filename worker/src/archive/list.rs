//! `worker archive list`.

use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use sqlx::FromRow;

use super::commands::summary;
use super::session::{Archive, Totals};
use crate::config::ArchiveDatabase;
use crate::text::{print_table, size, time};
use crate::{db, migrate};

/// Options of `worker archive list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    database: ArchiveDatabase,
    /// Table, as schema.name; all when not given
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Also what was superseded or given up
    #[arg(long)]
    all: bool,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// An archive and what may be done with it.
#[derive(Debug, FromRow, Serialize)]
struct Listed {
    #[sqlx(flatten)]
    #[serde(flatten)]
    archive: Archive,
    created_at: DateTime<Utc>,
    keep_until: Option<DateTime<Utc>>,
    late_rows: i64,
}

/// Prints what is archived.
pub async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut connection = db::connect(&args.database.url()?, "archive")
        .await
        .context("database")?;
    migrate::check(&mut connection).await?;
    let found: Vec<Listed> = sqlx::query_as(
        "select a.*, a.to_at + p.keep_archive as keep_until,
                (select count(*) from core.pending w where w.parent = 'core.archives' and w.parent_key = a.partition_name and not w.ready) as late_rows
         from core.archives a left join core.lifecycle_policies p on p.table_name = a.table_name
         where ($1 is null or a.table_name = $1) and ($2 or a.state in ('archived', 'restored', 'purged'))
         order by a.table_name, a.from_at, a.archive_id",
    )
    .bind(&args.table)
    .bind(args.all)
    .fetch_all(&mut connection)
    .await
    .context("database")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
        return Ok(ExitCode::SUCCESS);
    }
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    print_table(
        &[
            "partition",
            "state",
            "rows",
            "hot",
            "archived",
            "since",
            "held until",
            "kept until",
            "late rows",
        ],
        found.iter().map(|listed| {
            let Listed { archive, .. } = listed;
            vec![
                archive.partition_name.clone(),
                archive.state.clone(),
                number(archive.row_count),
                size(archive.bytes_hot),
                archive.bytes_archived.map_or_else(String::new, size),
                time(listed.created_at),
                archive.hold_until.map_or_else(String::new, time),
                listed.keep_until.map_or_else(String::new, time),
                listed.late_rows.to_string(),
            ]
        }),
    );
    let mut totals = Totals::default();
    for listed in found
        .iter()
        .filter(|listed| listed.archive.state == "archived")
    {
        totals.add(&listed.archive);
    }
    println!("{}", summary("archived", &totals));
    Ok(ExitCode::SUCCESS)
}
