//! Takes the discards of an operation back: those rows that nobody has touched since.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use super::Progress;
use super::filters::Status;
use super::mark::{Actor, mark};

/// The next entry that an operation left in the audit log: the rows that it discarded in one transaction.
const ENTRY: &str = "
select l.audit_id, l.quarantine_ids, l.at from core.audit_log l
where l.operation_id = $1 and l.action = 'discard' and l.audit_id > $2
order by l.audit_id limit 1";

/// Those of an entry that are as it left them: it gave them its own time, which a restore deletes and a later discard replaces.
const UNTOUCHED: &str = "
select q.quarantine_id from raw.quarantine q
where q.quarantine_id = any($1) and q.status = 'discarded' and q.resolved_at = $2
order by q.quarantine_id for update";

/// Opens the rows of the next entry again that operation `discard` left, in one transaction; returns how many, nothing when
/// there is no entry left.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn undo_some(
    connection: &mut PgConnection,
    discard: i64,
    actor: &Actor,
    progress: &mut Progress,
) -> anyhow::Result<Option<usize>> {
    let mut transaction = connection.begin().await.context("database")?;
    let entry: Option<(i64, Vec<i64>, DateTime<Utc>)> = sqlx::query_as(ENTRY)
        .bind(discard)
        .bind(progress.after)
        .fetch_optional(&mut *transaction)
        .await
        .context("database")?;
    let Some((entry, discarded, at)) = entry else {
        return Ok(None);
    };
    let rows: Vec<i64> = sqlx::query_scalar(UNTOUCHED)
        .bind(discarded)
        .bind(at)
        .fetch_all(&mut *transaction)
        .await
        .context("database")?;
    if !rows.is_empty() {
        mark(&mut transaction, actor, &rows, Status::Open)
            .await
            .context("database")?;
    }
    transaction.commit().await.context("database")?;
    progress.after = entry;
    Ok(Some(rows.len()))
}
