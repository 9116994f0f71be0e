//! Traces a message, or all messages of a key. It reads tables that exist
//! anyway; nothing is written for it.

mod away;
mod core_row;
mod key;
mod lost;
mod message;
mod quarantine;
pub mod staged;
mod target;

use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub use away::Away;
pub use core_row::{CoreRow, Mart};
pub use key::{KeyTrace, Waiting};
pub use lost::{LostMessages, find as lost};
pub use message::{Merged, MessageTrace};
pub use quarantine::{Entry, Quarantined, Version};
pub use target::Target;

/// Result of a trace.
#[derive(Debug, Serialize)]
#[serde(tag = "trace", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Trace {
    /// Of a message.
    Message(Box<MessageTrace>),
    /// Of a key.
    Key(Box<KeyTrace>),
}

impl Trace {
    /// Whether anything was found.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Message(trace) => trace.is_known(),
            Self::Key(trace) => trace.is_known(),
        }
    }
}

/// Traces a message or a key, with the values of messages when `values` says so. Each statement
/// takes at most `timeout`.
///
/// # Errors
/// When the database does not answer, refuses, or takes too long.
pub async fn trace(
    connection: &mut PgConnection,
    target: &Target,
    values: bool,
    timeout: Duration,
) -> anyhow::Result<Trace> {
    look(connection, target, values, timeout)
        .await
        .map_err(|error| explain(error, timeout))
}

/// Everything is read in one snapshot, so that a row on its way is seen in one place.
async fn look(
    connection: &mut PgConnection,
    target: &Target,
    values: bool,
    timeout: Duration,
) -> sqlx::Result<Trace> {
    let mut snapshot = connection
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    let limit = timeout.as_millis().max(1);
    sqlx::raw_sql(AssertSqlSafe(format!(
        "set local statement_timeout = {limit}"
    )))
    .execute(&mut *snapshot)
    .await?;
    let trace = match target {
        Target::Message(asked, identity) => {
            let read = MessageTrace::read(&mut snapshot, asked, *identity, values);
            Trace::Message(Box::new(read.await?))
        }
        Target::Key(entity, key) => {
            let read = KeyTrace::read(&mut snapshot, entity, key, values);
            Trace::Key(Box::new(read.await?))
        }
    };
    snapshot.commit().await?;
    Ok(trace)
}

/// Analysts read marts only. This check says so, before the first table that they may not read.
///
/// # Errors
/// When the role may not look at single messages, or the database does not answer.
pub async fn insist_on_rights(connection: &mut PgConnection) -> anyhow::Result<()> {
    let (role, may): (String, bool) = sqlx::query_as(
        "select current_user::text, coalesce(bool_and(has_schema_privilege(n.oid, 'usage')), true)
         from pg_namespace n where n.nspname in ('raw', 'stg')",
    )
    .fetch_one(connection)
    .await
    .context("reading the rights of this role")?;
    if !may {
        bail!(
            "role {role} may not look at single messages: connect as acequia_worker, acequia_operator or the owner of the database"
        );
    }
    Ok(())
}

/// A look took longer than its caller allowed.
#[derive(Debug, thiserror::Error)]
#[error("the database took longer than {} s. Staging has no index on keys: allow more time, or ask by message id", .0.as_secs_f64())]
pub struct TookTooLong(pub Duration);

fn explain(error: sqlx::Error, timeout: Duration) -> anyhow::Error {
    let code = error.as_database_error().and_then(DatabaseError::code);
    match code.as_deref() {
        Some("57014") => TookTooLong(timeout).into(),
        Some("42501") => anyhow::Error::new(error)
            .context("this role may not look at single messages: connect as acequia_worker, acequia_operator or the owner of the database"),
        _ => anyhow::Error::new(error).context("reading the trace"),
    }
}
