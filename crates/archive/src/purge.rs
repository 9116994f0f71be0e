//! Purges archives whose retention has ended.

use anyhow::bail;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::session::{Archive, Session, Totals};

/// Which archives: those that lie in the range as a whole.
#[derive(Debug, Clone)]
pub struct Range {
    /// Table.
    pub table: String,
    /// Beginning.
    pub from: DateTime<Utc>,
    /// End, not in it.
    pub to: DateTime<Utc>,
    /// Also archives that the policy would still keep.
    pub early: bool,
}

/// Archives of the range that may be purged, oldest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn purgeable(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<Archive>> {
    sqlx::query_as(
        "select a.* from core.archives a join core.lifecycle_policies p on p.table_name = a.table_name
         where a.table_name = $1 and a.state = 'archived' and a.from_at >= $2 and a.to_at <= $3
           and ($4 or p.keep_archive is null or a.to_at <= now() - p.keep_archive) order by a.from_at",
    )
    .bind(&range.table)
    .bind(range.from)
    .bind(range.to)
    .bind(range.early)
    .fetch_all(connection)
    .await
}

/// Purges a range, if it still holds exactly the confirmed archives.
///
/// # Errors
/// When the range holds others, or database or store fail.
pub async fn purge(
    session: &mut Session,
    range: &Range,
    agreed: &[Archive],
    reason: Option<&str>,
) -> anyhow::Result<Totals> {
    let numbers = |archives: &[Archive]| -> Vec<i64> {
        archives.iter().map(|archive| archive.archive_id).collect()
    };
    let now = purgeable(&mut session.connection, range).await?;
    if numbers(&now) != numbers(agreed) {
        bail!("what lies in this range has changed meanwhile; nothing was purged, look again");
    }
    session.begin("purge", None, None).await?;
    let mut totals = Totals::default();
    let outcome = async {
        let gone: Vec<Archive> =
            sqlx::query_as("select * from core.purge($1, $2, $3, $4, $5, $6, $7)")
                .bind(session.run)
                .bind(&range.table)
                .bind(range.from)
                .bind(range.to)
                .bind(range.early)
                .bind(&session.who)
                .bind(reason)
                .fetch_all(&mut session.connection)
                .await?;
        for archive in &gone {
            totals.add(archive);
        }
        acequia_store::failpoint::pass("purge.marked");
        session.collect_garbage().await
    };
    let outcome = outcome.await;
    session.end(totals, &outcome).await;
    outcome?;
    Ok(totals)
}
