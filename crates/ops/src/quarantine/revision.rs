//! The state of a row that somebody decides on: an edit says which one it was made from.

use sqlx::{AssertSqlSafe, PgConnection, Postgres, QueryBuilder};

use super::filters::{Filters, statement};

/// Of a row `q` of `raw.quarantine`. It changes with whatever people do to the row and with each new refusal, and not when
/// another copy of the message arrives.
pub(super) const REVISION: &str = "md5(concat_ws('|', q.quarantine_id, q.status, q.replays, extract(epoch from q.resolved_at),
    q.stage, q.code, q.field_path, q.message,
    (select max(v.version) from raw.quarantine_versions v where v.quarantine_id = q.quarantine_id)))";

/// A row and its state.
#[derive(Debug, sqlx_macros::FromRow)]
pub struct Revised {
    /// Number of the row.
    pub quarantine_id: i64,
    /// `open`, `replayed`, `discarded` or `resolved`.
    pub status: String,
    /// Changes with every state of the row.
    pub revision: String,
}

/// The states of the rows that match; 100 unless the filters say otherwise.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn revised(
    connection: &mut PgConnection,
    filters: &Filters,
) -> sqlx::Result<Vec<Revised>> {
    let mut query = QueryBuilder::<Postgres>::new(format!(
        "select q.quarantine_id, q.status, {REVISION} as revision from raw.quarantine q where true"
    ));
    filters.conditions(&mut query);
    query.push(" order by q.quarantine_id limit ");
    query.push_bind(filters.limit(100));
    statement(&mut query).fetch_all(connection).await
}

/// The state of one row; nothing when it is gone.
pub(super) async fn revision_of(
    connection: &mut PgConnection,
    row: i64,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(AssertSqlSafe(format!(
        "select {REVISION} from raw.quarantine q where q.quarantine_id = $1"
    )))
    .bind(row)
    .fetch_optional(connection)
    .await
}
