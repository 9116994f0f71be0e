//! Discards quarantined messages.

use anyhow::Context;
use sqlx::{Connection, PgConnection};

use super::Progress;
use super::filters::{Filters, Status};
use super::mark::{Actor, mark, take};

/// Rows marked in one transaction.
const CHUNK: i64 = 5_000;

/// Marks every row that matches as discarded; returns how many.
///
/// # Errors
/// Any error from PostgreSQL; rows of earlier transactions stay discarded.
pub async fn discard(
    connection: &mut PgConnection,
    filters: &Filters,
    actor: &Actor,
) -> anyhow::Result<usize> {
    let mut progress = Progress::begin(filters);
    let mut discarded = 0;
    while let Some(rows) = discard_some(connection, filters, actor, &mut progress).await? {
        discarded += rows;
    }
    Ok(discarded)
}

/// Marks the next rows in one transaction; returns how many, nothing when there is none left.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn discard_some(
    connection: &mut PgConnection,
    filters: &Filters,
    actor: &Actor,
    progress: &mut Progress,
) -> anyhow::Result<Option<usize>> {
    mark_some(connection, filters, actor, progress, Status::Discarded).await
}

/// Gives the next rows a status, in one transaction.
pub(super) async fn mark_some(
    connection: &mut PgConnection,
    filters: &Filters,
    actor: &Actor,
    progress: &mut Progress,
    status: Status,
) -> anyhow::Result<Option<usize>> {
    let limit = CHUNK.min(progress.left);
    let mut transaction = connection.begin().await.context("database")?;
    let taken = take(
        &mut transaction,
        filters,
        progress.after,
        limit,
        "for update",
    )
    .await
    .context("database")?;
    let rows: Vec<_> = taken.into_iter().map(|(row, _)| row).collect();
    let Some(last) = rows.last().copied() else {
        return Ok(None);
    };
    mark(&mut transaction, actor, &rows, status)
        .await
        .context("database")?;
    transaction.commit().await.context("database")?;
    progress.after = last;
    progress.left -= i64::try_from(rows.len())?;
    Ok(Some(rows.len()))
}
