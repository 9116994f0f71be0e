//! Partitions in the object store: their list, and the decisions of people to archive or restore them.

mod decision;
mod depot;

use acequia_archive::list::{self, Listed};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

pub use acequia_archive::due::{NoPolicy, Wanted};
pub use acequia_archive::restore::Range;
pub use acequia_archive::session::{Interrupted, Session, Totals};
pub use decision::{Decision, DryRun, Partition, carry_out, done, dry_run};
pub use depot::Depot;

/// An archive.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Archive {
    /// Number.
    pub archive_id: i64,
    /// Table.
    pub table_name: String,
    /// Partition.
    pub partition_name: String,
    /// Beginning of its range.
    pub from_at: DateTime<Utc>,
    /// End of its range, the first instant that is not in it.
    pub to_at: DateTime<Utc>,
    /// `writing`, `archived`, `restored`, `superseded`, `purged` or `abandoned`.
    pub state: String,
    /// Parquet file below the URL of the store.
    pub object_path: String,
    /// Rows; null before it is verified.
    pub row_count: Option<i64>,
    /// SHA-256 over the values.
    pub checksum: Option<String>,
    /// SHA-256 of the file.
    pub object_sha256: Option<String>,
    /// Bytes that the partition took in the database.
    pub bytes_hot: i64,
    /// Bytes that file and manifest take.
    pub bytes_archived: Option<i64>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When its retention ends, if it does.
    pub keep_until: Option<DateTime<Utc>>,
    /// A restored one is not archived again before.
    pub hold_until: Option<DateTime<Utc>>,
    /// Rows that came late and wait for it.
    pub late_rows: i64,
}

impl From<Listed> for Archive {
    fn from(listed: Listed) -> Self {
        let archive = listed.archive;
        Self {
            archive_id: archive.archive_id,
            table_name: archive.table_name,
            partition_name: archive.partition_name,
            from_at: archive.from_at,
            to_at: archive.to_at,
            state: archive.state,
            object_path: archive.object_path,
            row_count: archive.row_count,
            checksum: archive.checksum,
            object_sha256: archive.object_sha256,
            bytes_hot: archive.bytes_hot,
            bytes_archived: archive.bytes_archived,
            created_at: listed.created_at,
            keep_until: listed.keep_until,
            hold_until: archive.hold_until,
            late_rows: listed.late_rows,
        }
    }
}

/// The archives of a table, or of all; with `all` those too that were superseded or given up.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    table: Option<&str>,
    all: bool,
) -> sqlx::Result<Vec<Archive>> {
    let listed = list::list(connection, table, all).await?;
    Ok(listed.into_iter().map(Archive::from).collect())
}
