//! Archiving and restoring as people decide it, from the command line or by the API.

use acequia_archive::due::{self, Candidate, NoPolicy, Wanted};
use acequia_archive::restore::{self, Range};
use acequia_archive::session::{Archive, Session, Totals};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

/// What a person wants done.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Archive the partitions that are due.
    Archive(Wanted),
    /// Restore the archives of a range.
    Restore(Range),
}

impl Decision {
    /// Of an action of the audit log and its filters.
    ///
    /// # Errors
    /// When the filters are not those of the action.
    pub fn of(action: &str, filters: Value) -> serde_json::Result<Self> {
        Ok(match action {
            "restore_archive" => Self::Restore(serde_json::from_value(filters)?),
            _ => Self::Archive(serde_json::from_value(filters)?),
        })
    }

    /// The action, as the audit log names it.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Archive(_) => "archive",
            Self::Restore(_) => "restore_archive",
        }
    }

    /// The kind of run.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Archive(_) => "archive",
            Self::Restore(_) => "restore",
        }
    }

    /// The filters, as the audit log keeps them.
    ///
    /// # Errors
    /// When they cannot be written as JSON.
    pub fn filters(&self) -> serde_json::Result<Value> {
        match self {
            Self::Archive(wanted) => serde_json::to_value(wanted),
            Self::Restore(range) => serde_json::to_value(range),
        }
    }
}

/// A partition that a decision is about.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Partition {
    /// Table.
    pub table_name: String,
    /// Partition.
    pub partition_name: String,
    /// Beginning of its range.
    pub from_at: DateTime<Utc>,
    /// End of its range, the first instant that is not in it.
    pub to_at: DateTime<Utc>,
    /// Rows of an archive; null for a partition in the database, which is counted when it is archived.
    pub row_count: Option<i64>,
    /// Bytes in the database, with indexes; of an archive, those that it took there.
    pub bytes_hot: i64,
    /// A restored partition is not archived before; null for others.
    pub held_until: Option<DateTime<Utc>>,
}

impl From<Candidate> for Partition {
    fn from(candidate: Candidate) -> Self {
        let held_until = candidate
            .is_held()
            .then_some(candidate.held_until)
            .flatten();
        Self {
            table_name: candidate.table_name,
            partition_name: candidate.partition_name,
            from_at: candidate.from_at,
            to_at: candidate.to_at,
            row_count: None,
            bytes_hot: candidate.bytes_hot,
            held_until,
        }
    }
}

impl From<Archive> for Partition {
    fn from(archive: Archive) -> Self {
        Self {
            table_name: archive.table_name,
            partition_name: archive.partition_name,
            from_at: archive.from_at,
            to_at: archive.to_at,
            row_count: archive.row_count,
            bytes_hot: archive.bytes_hot,
            held_until: None,
        }
    }
}

/// The partitions that a decision would move.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ArchiveDryRun))]
pub struct DryRun {
    /// Always true.
    pub dry_run: bool,
    /// How many would be moved.
    pub partitions: i64,
    /// Their bytes in the database.
    pub bytes_hot: i64,
    /// All that match, also those that are held and stay.
    pub partitions_list: Vec<Partition>,
}

/// Lists the partitions that a decision would move, oldest first; changes nothing.
///
/// # Errors
/// [`NoPolicy`] when the table is never archived, or any error from PostgreSQL.
pub async fn dry_run(connection: &mut PgConnection, decision: &Decision) -> anyhow::Result<DryRun> {
    let found: Vec<Partition> = match decision {
        Decision::Archive(wanted) => {
            let found = due::candidates(connection, wanted).await?;
            found.into_iter().map(Partition::from).collect()
        }
        Decision::Restore(range) => {
            if !due::has_policy(connection, &range.table).await? {
                return Err(NoPolicy(range.table.clone()).into());
            }
            let found = restore::archived(connection, range).await?;
            found.into_iter().map(Partition::from).collect()
        }
    };
    let moved = || found.iter().filter(|one| one.held_until.is_none());
    Ok(DryRun {
        dry_run: true,
        partitions: i64::try_from(moved().count())?,
        bytes_hot: moved().map(|one| one.bytes_hot).sum(),
        partitions_list: found,
    })
}

/// Carries a decision out as a run of its own, with an entry in the audit log; reports each partition that was tried, with
/// its name.
///
/// # Errors
/// The first failure; the other partitions of an archiving were tried all the same.
pub async fn carry_out(
    session: &mut Session,
    decision: &Decision,
    reason: Option<&str>,
    operation: Option<i64>,
    tried: impl FnMut(&str, Result<&Archive, &anyhow::Error>),
) -> (Totals, anyhow::Result<()>) {
    let begun = async {
        let filters = decision.filters()?;
        session
            .begin_by_hand(decision.kind(), &filters, reason, operation)
            .await
    };
    if let Err(error) = begun.await {
        return (Totals::default(), Err(error));
    }
    let (totals, outcome) = match decision {
        Decision::Archive(wanted) => due::archive(session, wanted, tried).await,
        Decision::Restore(range) => restore::restore_range(session, range, tried).await,
    };
    session.end(totals, &outcome).await;
    (totals, outcome)
}

/// Partitions that an operation has moved, whichever processes carried it out.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn done(connection: &mut PgConnection, operation: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(distinct l.partition_name) from core.archive_runs r join core.archive_log l on l.run_id = r.run_id
         where r.operation_id = $1 and l.step in ('archived', 'restored')",
    )
    .bind(operation)
    .fetch_one(connection)
    .await
}
