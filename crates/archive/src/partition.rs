//! Archives one partition: copies it to the object store, reads it back, then drops it.

use std::time::Duration;

use acequia_store::failpoint;
use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx_macros::FromRow;
use tracing::{info, warn};
use uuid::Uuid;

use super::encoding::ColumnSpec;
use super::file::{self, Object, Writer};
use super::progress::Progress;
use super::row_group::Checksum;
use super::session::{Archive, Interrupted, Session, one};
use super::sink::Sink;
use super::store::Store;

/// Attempts to copy a partition while somebody writes to it.
const ATTEMPTS: u32 = 3;

/// Time limit of the clean-up after a failed attempt.
const PUT_IN_ORDER_WITHIN: Duration = Duration::from_secs(5);

/// Manifest beside each file, for readers without the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub manifest: u32,
    /// Table.
    pub table: String,
    /// Partition.
    pub partition: String,
    /// Beginning of its range.
    pub from: DateTime<Utc>,
    /// End of its range, not in it.
    pub to: DateTime<Utc>,
    /// Name of the file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// Rows.
    pub rows: u64,
    /// Least value of the time column.
    pub first: Option<DateTime<Utc>>,
    /// Greatest value of the time column.
    pub last: Option<DateTime<Utc>>,
    /// Checksum of the rows.
    pub checksum: String,
    /// Version of the schema.
    pub schema_version: i32,
    /// Columns.
    pub columns: Vec<ColumnSpec>,
}

#[derive(FromRow)]
struct PartitionProfile {
    row_count: i64,
    first_at: Option<DateTime<Utc>>,
    last_at: Option<DateTime<Utc>>,
    #[sqlx(json)]
    columns: Vec<ColumnSpec>,
    query: String,
}

/// Archives the partition of a table that begins at an instant.
///
/// # Errors
/// When database or store fail, or when the run is cancelled: the partition then stays as it was.
pub async fn archive(
    session: &mut Session,
    table: &str,
    from: DateTime<Utc>,
) -> anyhow::Result<Archive> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let archive = begin(session, table, from).await?;
        failpoint::pass("archive.begun");
        let done = copy_and_drop(session, &archive).await;
        match done {
            Ok(true) => {
                sweep_or_leave(session).await;
                let archive = session.archive(archive.archive_id).await?;
                info!(
                    event = "archive.archived",
                    partition = archive.partition_name,
                    rows = archive.row_count,
                    bytes_hot = archive.bytes_hot,
                    bytes_archived = archive.bytes_archived,
                    object = archive.object_path,
                    "archived"
                );
                return Ok(archive);
            }
            Ok(false) => {
                sweep_or_leave(session).await;
                warn!(
                    event = "archive.changed",
                    partition = archive.partition_name,
                    attempt,
                    "somebody wrote to it while it was copied"
                );
                ensure!(
                    attempt < ATTEMPTS,
                    "{} changes too often",
                    archive.partition_name
                );
            }
            Err(error) => {
                // As far as it goes: the next run puts the rest in order.
                let put_in_order = async {
                    let reason = format!("{error:#}");
                    session.renew().await?;
                    sqlx::query("select core.archive_abandon($1, $2, $3, $4)")
                        .bind(session.run)
                        .bind(archive.archive_id)
                        .bind(reason)
                        .bind(&session.who)
                        .execute(&mut session.connection)
                        .await?;
                    session.collect_garbage().await
                };
                let in_time = tokio::time::timeout(PUT_IN_ORDER_WITHIN, put_in_order).await;
                if !matches!(in_time, Ok(Ok(()))) {
                    warn!(
                        event = "archive.leftovers",
                        "what was begun is left to the next run"
                    );
                }
                return Err(error.context(archive.partition_name));
            }
        }
    }
}

/// A failed collection of garbage takes nothing back from an archive.
async fn sweep_or_leave(session: &mut Session) {
    if let Err(error) = session.collect_garbage().await {
        warn!(event = "archive.leftovers", error = %format!("{error:#}"), "left to the next run");
    }
}

async fn begin(session: &mut Session, table: &str, from: DateTime<Utc>) -> anyhow::Result<Archive> {
    let mut attempts = 0;
    loop {
        let begun = sqlx::query_as("select * from core.archive_begin($1, $2, $3, $4, $5)")
            .bind(session.run)
            .bind(table)
            .bind(from)
            .bind(Uuid::now_v7().simple().to_string())
            .bind(&session.who)
            .fetch_one(&mut session.connection)
            .await;
        if let Some(archive) = session.unless_locked(begun, &mut attempts).await? {
            return Ok(archive);
        }
    }
}

/// False when the partition changed meanwhile.
async fn copy_and_drop(session: &mut Session, archive: &Archive) -> anyhow::Result<bool> {
    let manifest = copy(session, archive).await?;
    failpoint::pass("archive.written");
    let text = serde_json::to_vec_pretty(&manifest)?;
    let bytes = manifest.bytes + text.len() as u64;
    session.store.put(&archive.manifest_path, text).await?;
    failpoint::pass("archive.manifest");
    let read = read_back(&session.store, &archive.object_path, &manifest.columns).await?;
    let read = read.context("the file is not there after it was written")?;
    ensure!(
        read == Found::of(&manifest),
        "the file read back differs from the rows written: {read:?}"
    );
    sqlx::query("select core.archive_verified($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
        .bind(session.run)
        .bind(archive.archive_id)
        .bind(i64::try_from(manifest.rows)?)
        .bind(manifest.first)
        .bind(manifest.last)
        .bind(&manifest.checksum)
        .bind(&manifest.sha256)
        .bind(i64::try_from(bytes)?)
        .bind(manifest.schema_version)
        .bind(sqlx::types::Json(&manifest.columns))
        .bind(&session.who)
        .execute(&mut session.connection)
        .await?;
    failpoint::pass("archive.verified");
    ensure!(!session.stop.is_cancelled(), Interrupted);
    let mut attempts = 0;
    let outcome = loop {
        let dropped = sqlx::query_scalar::<_, String>("select core.archive_drop($1, $2, $3)")
            .bind(session.run)
            .bind(archive.archive_id)
            .bind(&session.who)
            .fetch_one(&mut session.connection)
            .await;
        if let Some(outcome) = session.unless_locked(dropped, &mut attempts).await? {
            break outcome;
        }
    };
    failpoint::pass("archive.dropped");
    Ok(outcome == "archived")
}

/// Writes the file, all of it from one snapshot.
async fn copy(session: &mut Session, archive: &Archive) -> anyhow::Result<Manifest> {
    let connection = &mut session.connection;
    let schema_version = one(
        connection,
        "select max(version) from core.refinery_schema_history",
    )
    .await?;
    sqlx::raw_sql("begin transaction isolation level repeatable read read only")
        .execute(&mut *connection)
        .await?;
    let profile: PartitionProfile = sqlx::query_as("select * from core.archive_survey($1)")
        .bind(archive.archive_id)
        .fetch_one(connection)
        .await?;
    let about = [
        ("table", archive.table_name.as_str()),
        ("partition", archive.partition_name.as_str()),
    ];
    let writer = Writer::new(&profile.columns, &about)?;
    let mut sink = Sink::new(writer, session.store.writer(&archive.object_path)?);
    let mut progress = Progress::new("archive", &archive.partition_name, profile.row_count);
    let (checksum, rows) = session
        .read_table(
            &profile.query,
            &profile.columns,
            &mut progress,
            Some(&mut sink),
        )
        .await?;
    failpoint::pass("archive.copying");
    sqlx::raw_sql("commit")
        .execute(&mut session.connection)
        .await?;
    let (bytes, sha256) = sink.finish().await?;
    ensure!(
        i64::try_from(rows)? == profile.row_count,
        "{rows} rows were read of {}",
        profile.row_count
    );
    let file = archive.object_path.rsplit('/').next().unwrap_or_default();
    Ok(Manifest {
        manifest: 1,
        table: archive.table_name.clone(),
        partition: archive.partition_name.clone(),
        from: archive.from_at,
        to: archive.to_at,
        file: file.to_owned(),
        bytes,
        sha256,
        rows,
        first: profile.first_at,
        last: profile.last_at,
        checksum,
        schema_version,
        columns: profile.columns,
    })
}

/// The contents of a file, as read back.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Length.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Rows.
    pub rows: u64,
    /// Checksum of the rows.
    pub checksum: String,
}

impl Found {
    /// The file as its manifest describes it.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            bytes: manifest.bytes,
            sha256: manifest.sha256.clone(),
            rows: manifest.rows,
            checksum: manifest.checksum.clone(),
        }
    }
}

/// Reads a file whole, every value of it; `None` when it is not there.
///
/// # Errors
/// When the store fails or the file cannot be read.
pub async fn read_back(
    store: &Store,
    path: &str,
    columns: &[ColumnSpec],
) -> anyhow::Result<Option<Found>> {
    let Some((bytes, sha256)) = store.fingerprint(path).await? else {
        return Ok(None);
    };
    let runtime = tokio::runtime::Handle::current();
    let object = Object::new(store.clone(), path.to_owned(), bytes, runtime);
    let columns = columns.to_vec();
    let (rows, checksum) = tokio::task::spawn_blocking(move || {
        let mut checksum = Checksum::new(&columns);
        file::read(object, &columns, |row_group| {
            checksum.add(&row_group);
            Ok(())
        })?;
        anyhow::Ok((checksum.rows(), checksum.finish()))
    })
    .await?
    .with_context(|| format!("{path} is damaged"))?;
    Ok(Some(Found {
        bytes,
        sha256,
        rows,
        checksum,
    }))
}
