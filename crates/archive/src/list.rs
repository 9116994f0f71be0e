//! The list of archives.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

use super::session::Archive;

/// An archive with its state and retention.
#[derive(Debug, FromRow, Serialize)]
pub struct Listed {
    /// The archive.
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub archive: Archive,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its retention ends, if it does.
    pub keep_until: Option<DateTime<Utc>>,
    /// Rows that came late and wait for it.
    pub late_rows: i64,
}

/// The archives of a table, or of all; with `all` those too that were superseded or given up.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    table: Option<&str>,
    all: bool,
) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as(
        "select a.*, a.to_at + p.keep_archive as keep_until,
                (select count(*) from core.pending w where w.parent = 'core.archives' and w.parent_key = a.partition_name and not w.ready) as late_rows
         from core.archives a left join core.lifecycle_policies p on p.table_name = a.table_name
         where ($1 is null or a.table_name = $1) and ($2 or a.state in ('archived', 'restored', 'purged'))
         order by a.table_name, a.from_at, a.archive_id",
    )
    .bind(table)
    .bind(all)
    .fetch_all(connection)
    .await
}
