//! `worker archive verify`.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;

use super::partition::{Found, Manifest, read_back};
use super::session::Archive;
use super::store::Store;
use crate::config::{ArchiveDatabase, ArchiveUrl};
use crate::text::print_table;
use crate::{db, migrate};

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

#[derive(Debug, Serialize)]
struct Verdict {
    partition: String,
    object: String,
    rows: Option<i64>,
    problem: Option<String>,
}

/// Reads every file back, every value of it.
pub async fn verify(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let store = args.url.open()?;
    let mut connection = db::connect(&args.database.url()?, "archive")
        .await
        .context("database")?;
    migrate::check(&mut connection).await?;
    let archives: Vec<Archive> = sqlx::query_as(
        "select * from core.archives where state in ('archived', 'restored') and ($1 is null or table_name = $1)
         order by table_name, from_at",
    )
    .bind(&args.table)
    .fetch_all(&mut connection)
    .await
    .context("database")?;
    drop(connection); // reading may take long
    let mut verdicts = Vec::new();
    for archive in archives {
        let problem = examine(&store, &archive).await.err();
        verdicts.push(Verdict {
            partition: archive.partition_name,
            object: archive.object_path,
            rows: archive.row_count,
            problem: problem.map(|problem| format!("{problem:#}")),
        });
    }
    let wrong = verdicts
        .iter()
        .filter(|verdict| verdict.problem.is_some())
        .count();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&verdicts)?);
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
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Compares row of the database, manifest and file.
async fn examine(store: &Store, archive: &Archive) -> anyhow::Result<()> {
    let text = store.get(&archive.manifest_path).await?;
    let text = text.with_context(|| format!("{} is missing", archive.manifest_path))?;
    let manifest: Manifest = serde_json::from_slice(&text).context("the manifest is damaged")?;
    let rows = i64::try_from(manifest.rows)?;
    ensure!(
        (manifest.manifest, &manifest.partition, &manifest.table)
            == (1, &archive.partition_name, &archive.table_name)
            && (manifest.from, manifest.to) == (archive.from_at, archive.to_at)
            && (manifest.first, manifest.last) == (archive.first_at, archive.last_at)
            && archive
                .object_path
                .ends_with(&format!("/{}", manifest.file))
            && Some(rows) == archive.row_count
            && Some(manifest.schema_version) == archive.schema_version
            && Some(&manifest.checksum) == archive.checksum.as_ref()
            && Some(&manifest.sha256) == archive.object_sha256.as_ref()
            && Some(&manifest.columns) == archive.columns.as_ref()
            && Some(i64::try_from(manifest.bytes)? + i64::try_from(text.len())?)
                == archive.bytes_archived,
        "the manifest is not the one of core.archives"
    );
    let found = read_back(store, &archive.object_path, &manifest.columns).await?;
    let found = found.with_context(|| format!("{} is missing", archive.object_path))?;
    ensure!(
        found == Found::of(&manifest),
        "{} is not what was written: {} bytes, {} rows, sha256 {}, checksum {}",
        archive.object_path,
        found.bytes,
        found.rows,
        found.sha256,
        found.checksum
    );
    Ok(())
}
