//! Restores an archived partition: creates a table beside its parent, fills it, reads it back, and only
//! then attaches it.

use std::time::Duration;

use acequia_store::{failpoint, interval};
use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use tokio::sync::mpsc;
use tracing::info;

use super::encoding::ColumnSpec;
use super::file::{self, Object};
use super::progress::Progress;
use super::row_group::RowGroup;
use super::session::{Archive, Interrupted, Session, Totals};

/// Archives to restore: those of a table that overlap a range.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Range {
    /// Table.
    pub table: String,
    /// Beginning.
    pub from: DateTime<Utc>,
    /// End, not in it.
    pub to: DateTime<Utc>,
    /// How long they are not archived again, in seconds.
    pub hold_s: u64,
}

#[derive(FromRow)]
struct Begun {
    #[sqlx(json)]
    columns: Vec<ColumnSpec>,
    copy_in: String,
    copy_out: String,
}

/// Archives of a domain that rows wait for which came late.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn wanted(connection: &mut PgConnection, domain: &str) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar("select core.archive_wanted($1)")
        .bind(domain)
        .fetch_all(connection)
        .await
}

/// Restores an archive and keeps it from being archived again for some time; returns it and how
/// many rows had waited for it.
///
/// # Errors
/// When database or store fail, or the restored rows differ from the archived ones: nothing is attached then.
pub async fn restore(
    session: &mut Session,
    archive: i64,
    hold: Duration,
) -> anyhow::Result<(Archive, i64)> {
    let archive = session.archive(archive).await?;
    let partition = archive.partition_name.clone();
    let done = fill_and_attach(session, &archive, hold).await;
    if done.is_err() {
        // The table that was begun goes; if it cannot now, the next run removes it.
        let put_in_order = async {
            session.renew().await?;
            session.collect_garbage().await
        };
        if let Err(later) = put_in_order.await {
            tracing::warn!(event = "archive.leftovers", error = %format!("{later:#}"), "left to the next run");
        }
    }
    let waiting = done.context(partition)?;
    let archive = session.archive(archive.archive_id).await?;
    info!(
        event = "archive.restored",
        partition = archive.partition_name,
        rows = archive.row_count,
        late_rows = waiting,
        "restored"
    );
    Ok((archive, waiting))
}

/// The archives of a range whose rows are not in the database, oldest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn archived(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<Archive>> {
    sqlx::query_as(
        "select * from core.archives
         where table_name = $1 and state = 'archived' and from_at < $3 and to_at > $2 order by from_at",
    )
    .bind(&range.table)
    .bind(range.from)
    .bind(range.to)
    .fetch_all(connection)
    .await
}

/// Restores the archives of a range; reports each partition that it has tried, with its name.
///
/// # Errors
/// Like [`restore`], with the first that fails.
pub async fn restore_range(
    session: &mut Session,
    range: &Range,
    mut tried: impl FnMut(&str, Result<&Archive, &anyhow::Error>),
) -> (Totals, anyhow::Result<()>) {
    let mut totals = Totals::default();
    let outcome = async {
        session.collect_garbage().await?;
        let hold = Duration::from_secs(range.hold_s);
        for archive in archived(&mut session.connection, range).await? {
            ensure!(!session.stop.is_cancelled(), Interrupted);
            match restore(session, archive.archive_id, hold).await {
                Ok((archive, _)) => {
                    totals.add(&archive);
                    tried(&archive.partition_name, Ok(&archive));
                }
                Err(error) => {
                    if !error.is::<Interrupted>() {
                        tried(&archive.partition_name, Err(&error));
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    };
    let outcome = outcome.await;
    (totals, outcome)
}

async fn fill_and_attach(
    session: &mut Session,
    archive: &Archive,
    hold: Duration,
) -> anyhow::Result<i64> {
    // First of all whether the file is there and is the one.
    let found = session.store.fingerprint(&archive.object_path).await?;
    let (bytes, sha256) =
        found.with_context(|| format!("{} is not in the object store", archive.object_path))?;
    ensure!(
        archive.object_sha256.as_deref() == Some(&sha256),
        "{} is not the file that was written",
        archive.object_path
    );
    let mut attempts = 0;
    let begun: Begun = loop {
        let begun = sqlx::query_as("select * from core.restore_begin($1, $2, $3)")
            .bind(session.run)
            .bind(archive.archive_id)
            .bind(&session.who)
            .fetch_one(&mut session.connection)
            .await;
        if let Some(begun) = session.unless_locked(begun, &mut attempts).await? {
            break begun;
        }
    };
    failpoint::pass("restore.begun");

    let whole = archive.row_count.unwrap_or_default();
    let mut progress = Progress::new("restore", &archive.partition_name, whole);
    let runtime = tokio::runtime::Handle::current();
    let object = Object::new(
        session.store.clone(),
        archive.object_path.clone(),
        bytes,
        runtime,
    );
    let columns = begun.columns.clone();
    let (row_groups, mut received) = mpsc::channel::<RowGroup>(1);
    let reader = tokio::task::spawn_blocking(move || {
        file::read(object, &columns, |row_group| {
            row_groups
                .blocking_send(row_group)
                .map_err(|_| Interrupted.into())
        })
    });
    let mut copy = session.connection.copy_in_raw(&begun.copy_in).await?;
    while let Some(row_group) = received.recv().await {
        if session.stop.is_cancelled() {
            copy.abort("interrupted").await?;
            return Err(Interrupted.into());
        }
        progress.add(&row_group);
        copy.send(row_group.copy_text()?.into_bytes()).await?;
    }
    // The channel also closes when reading failed.
    match reader.await? {
        Ok(()) => copy.finish().await?,
        Err(error) => {
            copy.abort("the file cannot be read").await?;
            return Err(error.context(archive.object_path.clone()));
        }
    };
    failpoint::pass("restore.filled");

    let mut progress = Progress::new("check", &archive.partition_name, whole);
    let (checksum, rows) = session
        .read_table(&begun.copy_out, &begun.columns, &mut progress, None)
        .await?;
    failpoint::pass("restore.checked");
    let rows = i64::try_from(rows)?;
    let mut attempts = 0;
    let waiting = loop {
        let attached = sqlx::query_scalar("select core.restore_attach($1, $2, $3, $4, $5, $6)")
            .bind(session.run)
            .bind(archive.archive_id)
            .bind(rows)
            .bind(&checksum)
            .bind(interval(hold))
            .bind(&session.who)
            .fetch_one(&mut session.connection)
            .await;
        if let Some(waiting) = session.unless_locked(attached, &mut attempts).await? {
            break waiting;
        }
    };
    failpoint::pass("restore.attached");
    Ok(waiting)
}
