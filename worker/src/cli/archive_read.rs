//! `worker archive list` and `worker archive verify`.

use std::process::ExitCode;

use acequia_archive::list::Listed;
use acequia_archive::session::Totals;
use acequia_archive::store::Store;
use acequia_args::{ArchiveDatabase, ArchiveUrl};
use anyhow::Context;
use clap::Args;

use super::archive::summary;
use super::connection;
use super::output::{code, print_json, print_table, size, time};

/// Options of `worker archive list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    database: ArchiveDatabase,
    /// Table, as schema.name; all when not given
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Also archives that were superseded or given up; purged ones are listed anyway
    #[arg(long)]
    all: bool,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Options of `worker archive verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    database: ArchiveDatabase,
    #[command(flatten)]
    url: ArchiveUrl,
    /// Table, as schema.name; all when not given
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Prints the list of archives.
pub async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut connection = connection::open(&args.database.url()?, "archive").await?;
    let found = acequia_archive::list::list(&mut connection, args.table.as_deref(), args.all)
        .await
        .context("database")?;
    if args.json {
        print_json(&found)?;
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

/// Reads every file back, every value of it.
pub async fn verify(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let store = Store::open(args.url.url()?)?;
    let mut connection = connection::open(&args.database.url()?, "archive").await?;
    let archives = acequia_archive::verify::expected(&mut connection, args.table.as_deref())
        .await
        .context("database")?;
    drop(connection); // reading may take long
    let verdicts = acequia_archive::verify::verify(&store, archives).await;
    let wrong = verdicts
        .iter()
        .filter(|verdict| verdict.problem.is_some())
        .count();
    if args.json {
        print_json(&verdicts)?;
    } else {
        print_table(
            &["partition", "rows", "result"],
            verdicts.iter().map(|verdict| {
                let result = verdict.problem.as_deref().unwrap_or("as it was written");
                let rows = verdict.rows.unwrap_or_default().to_string();
                vec![verdict.partition.clone(), rows, result.to_owned()]
            }),
        );
        println!(
            "{} archives read back, {wrong} of them wrong",
            verdicts.len()
        );
    }
    Ok(code(wrong == 0))
}
