//! Changes the status of rows and writes the audit log, in one statement.

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::filters::{Filters, Status, statement};

/// Name and reason of an actor, and the filters of the action.
#[derive(Debug)]
pub struct Actor {
    name: Option<String>,
    reason: Option<String>,
    filters: Value,
    operation: Option<i64>,
}

impl Actor {
    /// Without a name, the audit log shows the role of the database.
    ///
    /// # Errors
    /// When the filters cannot be written as JSON.
    pub fn new(
        name: Option<String>,
        reason: Option<String>,
        filters: &Filters,
    ) -> serde_json::Result<Self> {
        Ok(Self {
            name,
            reason,
            filters: serde_json::to_value(filters)?,
            operation: None,
        })
    }

    /// On behalf of an operation: its entries in the audit log say which.
    #[must_use]
    pub const fn of_operation(mut self, operation: i64) -> Self {
        self.operation = Some(operation);
        self
    }
}

/// Numbers and body sizes of the next rows that match, locked until the transaction ends.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn take(
    transaction: &mut PgConnection,
    filters: &Filters,
    after: i64,
    limit: i64,
    lock: &'static str,
) -> sqlx::Result<Vec<(i64, i64)>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select q.quarantine_id, octet_length(q.body)::bigint from raw.quarantine q where q.quarantine_id > ",
    );
    query.push_bind(after);
    filters.conditions(&mut query);
    query
        .push(" order by q.quarantine_id limit ")
        .push_bind(limit);
    query.push(" ").push(lock);
    statement(&mut query).fetch_all(transaction).await
}

const MARK: &str = "
with marked as (
    update raw.quarantine q
    set status = $2, resolved_at = case when $2 <> 'open' then now() end,
        resolved_by = case when $2 <> 'open' then coalesce($3, session_user::text) end, note = $4,
        replays = q.replays + ($2 = 'replayed')::integer
    where q.quarantine_id = any($1)
)
insert into core.audit_log (who, action, quarantine_ids, filters, reason, operation_id)
select coalesce($3, session_user::text), $5, $1, $6, $4, $7";

/// Marks locked rows as replayed, discarded, or open again.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn mark(
    transaction: &mut PgConnection,
    actor: &Actor,
    rows: &[i64],
    status: Status,
) -> sqlx::Result<()> {
    let action = match status {
        Status::Discarded => "discard",
        Status::Open => "restore",
        Status::Replayed | Status::Resolved => "replay",
    };
    sqlx::query(MARK)
        .bind(rows)
        .bind(status.as_str())
        .bind(&actor.name)
        .bind(&actor.reason)
        .bind(action)
        .bind(Json(&actor.filters))
        .bind(actor.operation)
        .execute(transaction)
        .await?;
    Ok(())
}

const EDIT: &str = "
with edited as (
    insert into raw.quarantine_versions (quarantine_id, version, body, by, note)
    select $1, 1 + coalesce((select max(v.version) from raw.quarantine_versions v where v.quarantine_id = $1), 0),
        $2, coalesce($3, session_user::text), $4
)
insert into core.audit_log (who, action, quarantine_ids, filters, reason)
select coalesce($3, session_user::text), 'edit', array[$1], $5, $4";

/// Keeps an edited body of a locked row as its newest version.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn edit(
    transaction: &mut PgConnection,
    actor: &Actor,
    row: i64,
    body: &[u8],
) -> sqlx::Result<()> {
    sqlx::query(EDIT)
        .bind(row)
        .bind(body)
        .bind(&actor.name)
        .bind(&actor.reason)
        .bind(Json(&actor.filters))
        .execute(transaction)
        .await?;
    Ok(())
}
