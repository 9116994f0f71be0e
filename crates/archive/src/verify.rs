//! Verifies archives against the checksums in the catalog.

use anyhow::{Context, ensure};
use serde::Serialize;
use sqlx::PgConnection;

use super::partition::{Found, Manifest, read_back};
use super::session::Archive;
use super::store::Store;

/// Result of verifying an archive.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Partition.
    pub partition: String,
    /// Path of its file in the object store.
    pub object: String,
    /// Rows that it should have.
    pub rows: Option<i64>,
    /// The difference, if there is one.
    pub problem: Option<String>,
}

/// The archives of a table, or of all, that should be in the object store.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn expected(
    connection: &mut PgConnection,
    table: Option<&str>,
) -> sqlx::Result<Vec<Archive>> {
    sqlx::query_as(
        "select * from core.archives where state in ('archived', 'restored') and ($1 is null or table_name = $1)
         order by table_name, from_at",
    )
    .bind(table)
    .fetch_all(connection)
    .await
}

/// Reads every file back, every value of it. It may take long, and needs no database.
pub async fn verify(store: &Store, archives: Vec<Archive>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for archive in archives {
        let problem = examine(store, &archive).await.err();
        verdicts.push(Verdict {
            partition: archive.partition_name,
            object: archive.object_path,
            rows: archive.row_count,
            problem: problem.map(|problem| format!("{problem:#}")),
        });
    }
    verdicts
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
