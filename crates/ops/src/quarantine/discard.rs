//! Discards quarantined messages.

use anyhow::Context;
use sqlx::{Connection, PgConnection};

use super::filters::{Filters, Status};
use super::mark::{Actor, mark, take};

/// Rows marked in one transaction.
const CHUNK: i64 = 5_000;

/// Marks every row that matches as discarded; returns how many.
///
/// # Errors
/// Whatever PostgreSQL answers; rows of earlier transactions stay discarded.
pub async fn discard(
    connection: &mut PgConnection,
    filters: &Filters,
    actor: &Actor,
) -> anyhow::Result<usize> {
    let mut left = filters.limit(u32::MAX);
    let (mut after, mut discarded) = (0, 0);
    loop {
        let mut transaction = connection.begin().await.context("database")?;
        let limit = CHUNK.min(left);
        let taken = take(&mut transaction, filters, after, limit, "for update")
            .await
            .context("database")?;
        let rows: Vec<_> = taken.into_iter().map(|(row, _)| row).collect();
        let Some(last) = rows.last().copied() else {
            break;
        };
        mark(&mut transaction, actor, &rows, Status::Discarded)
            .await
            .context("database")?;
        transaction.commit().await.context("database")?;
        after = last;
        left -= i64::try_from(rows.len())?;
        discarded += rows.len();
    }
    Ok(discarded)
}
