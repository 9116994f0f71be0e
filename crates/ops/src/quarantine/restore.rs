//! Messages that were given up, and are not any more.

use sqlx::PgConnection;

use super::Progress;
use super::discard::mark_some;
use super::filters::{Filters, Status};
use super::mark::Actor;

/// Opens every discarded row that matches again; returns how many.
///
/// # Errors
/// Any error from PostgreSQL; rows of earlier transactions stay open.
pub async fn restore(
    connection: &mut PgConnection,
    filters: &Filters,
    actor: &Actor,
) -> anyhow::Result<usize> {
    let mut progress = Progress::begin(filters);
    let mut restored = 0;
    while let Some(rows) = restore_some(connection, filters, actor, &mut progress).await? {
        restored += rows;
    }
    Ok(restored)
}

/// Opens the next discarded rows again, in one transaction; returns how many, nothing when there is none left.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn restore_some(
    connection: &mut PgConnection,
    filters: &Filters,
    actor: &Actor,
    progress: &mut Progress,
) -> anyhow::Result<Option<usize>> {
    let mut discarded = filters.clone();
    // Only discarded rows can be restored, whatever the filter says.
    discarded.status = vec![Status::Discarded];
    mark_some(connection, &discarded, actor, progress, Status::Open).await
}
