//! Finds partitions that are due and archives them one by one.

use std::time::Duration;

use acequia_store::interval;
use anyhow::{bail, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use tracing::warn;

use super::partition;
use super::session::{Archive, Interrupted, Session, Totals};

/// A partition that may be archived.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct Candidate {
    /// Table.
    pub table_name: String,
    /// Partition.
    pub partition_name: String,
    /// Beginning of its range.
    pub from_at: DateTime<Utc>,
    /// End of its range.
    pub to_at: DateTime<Utc>,
    /// Size with indexes, bytes; 0 for rows that still lie in the default partition.
    pub bytes_hot: i64,
    /// A restored one stays until then.
    pub held_until: Option<DateTime<Utc>>,
}

impl Candidate {
    /// Whether it was restored and stays for now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_until.is_some_and(|until| until > Utc::now())
    }
}

/// Partitions to archive: of one table or of all, of some domains or of all, older than the policies' age
/// or than a given one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Domains; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domain: Vec<String>,
    /// Age in seconds, instead of the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than_s: Option<u64>,
}

/// The error about a table that is never archived.
#[derive(Debug, thiserror::Error)]
#[error("table {0} has no policy in core.lifecycle_policies")]
pub struct NoPolicy(pub String);

/// The time of the schedule that the last run which archived a domain without an error was due for.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn last_scheduled(
    connection: &mut PgConnection,
    domain: &str,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar(
        "select max(scheduled_for) from core.archive_runs where domain = $1 and kind = 'archive' and status = 'ok'",
    )
    .bind(domain)
    .fetch_one(connection)
    .await
}

/// Whether a table is archived at all.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn has_policy(connection: &mut PgConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from core.lifecycle_policies p where p.table_name = $1)",
    )
    .bind(table)
    .fetch_one(connection)
    .await
}

/// The partitions that are old enough.
///
/// # Errors
/// When the table has no policy, or the database does not answer.
pub async fn candidates(
    connection: &mut PgConnection,
    wanted: &Wanted,
) -> anyhow::Result<Vec<Candidate>> {
    let age = wanted.older_than_s.map(Duration::from_secs);
    let tables: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
        "select p.table_name, now() - coalesce($3, p.keep_hot) from core.lifecycle_policies p
         where ($1 is null or p.table_name = $1) and ($2::text[] = '{}' or p.domain = any ($2)) order by p.table_name",
    )
    .bind(&wanted.table)
    .bind(&wanted.domain)
    .bind(age.map(interval))
    .fetch_all(&mut *connection)
    .await?;
    if let (Some(table), true) = (&wanted.table, tables.is_empty()) {
        bail!(NoPolicy(table.clone()));
    }
    let mut found = Vec::new();
    for (table, before) in tables {
        let of_table: Vec<Candidate> =
            sqlx::query_as("select $1 as table_name, c.* from core.archive_candidates($1, $2) c")
                .bind(table)
                .bind(before)
                .fetch_all(&mut *connection)
                .await?;
        found.extend(of_table);
    }
    Ok(found)
}

/// Archives the partitions that are due; reports each that it has tried, with its name. A partition that
/// cannot be archived does not hold up the others.
///
/// # Errors
/// The first failure, after all were tried; at once when the run is cancelled.
pub async fn archive(
    session: &mut Session,
    wanted: &Wanted,
    mut tried: impl FnMut(&str, Result<&Archive, &anyhow::Error>),
) -> (Totals, anyhow::Result<()>) {
    let mut totals = Totals::default();
    let outcome = async {
        let mut first = session.collect_garbage().await.err();
        for candidate in candidates(&mut session.connection, wanted).await? {
            if candidate.is_held() {
                continue;
            }
            ensure!(!session.stop.is_cancelled(), Interrupted);
            match partition::archive(session, &candidate.table_name, candidate.from_at).await {
                Ok(archive) => {
                    totals.add(&archive);
                    tried(&candidate.partition_name, Ok(&archive));
                }
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => {
                    warn!(event = "archive.failed", error = %format!("{error:#}"), "a partition was not archived");
                    tried(&candidate.partition_name, Err(&error));
                    first.get_or_insert(error);
                    if session.is_lost() {
                        break;
                    }
                }
            }
        }
        first.map_or(Ok(()), Err)
    };
    let outcome = outcome.await;
    (totals, outcome)
}
