//! The record of calls: written in groups, so that a busy API does not write row by row.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::database::Database;

/// Calls that wait to be written; further denied ones are counted and dropped, so that a flood of them cannot stop the API.
const WAITING: usize = 4_096;
/// Calls that one statement writes.
const GROUP: usize = 500;
/// Time that an answer waits for its record.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// A call that changed something or was denied.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Caller, as `user:name` or `token:name`.
    pub who: Option<String>,
    /// Role of the caller.
    pub role: Option<&'static str>,
    /// HTTP method.
    pub method: String,
    /// Route with its parameters in braces.
    pub route: String,
    /// Path.
    pub path: String,
    /// HTTP status.
    pub status: u16,
    /// Code of the problem.
    pub code: Option<&'static str>,
    /// The route's note.
    #[serde(flatten)]
    pub note: Note,
    /// Id of the request.
    pub request_id: Uuid,
    /// Address of the caller.
    pub address: Option<IpAddr>,
}

/// A route's note about a call.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Note {
    /// Domain that it was about.
    pub domain: Option<String>,
    /// Reason that the caller gave.
    pub reason: Option<String>,
    /// Filters and counts, never bodies.
    pub detail: Value,
}

/// The way to the record.
#[derive(Debug, Clone)]
pub struct Calls(mpsc::Sender<(Call, oneshot::Sender<bool>)>);

/// The receiving side of [`Calls`].
pub type Waiting = mpsc::Receiver<(Call, oneshot::Sender<bool>)>;

impl Calls {
    /// The way, and what [`write`] reads from.
    #[must_use]
    pub fn new() -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Writes a call down; waits until it is written when `wait` says so. Returns whether it was taken.
    pub async fn note(&self, call: Call, wait: bool) -> bool {
        let (written, answer) = oneshot::channel();
        if !wait {
            return self.0.try_send((call, written)).is_ok();
        }
        let recorded = async {
            let sent = self.0.send((call, written)).await;
            sent.is_ok() && answer.await.unwrap_or(false)
        };
        timeout(WRITTEN_WITHIN, recorded).await.unwrap_or(false)
    }
}

const INSERT: &str = "
insert into core.api_calls (who, role, method, route, path, status, code, domain, reason, detail, request_id, address)
select c.who, c.role, c.method, c.route, c.path, c.status, c.code, c.domain, c.reason, coalesce(c.detail, '{}'), c.request_id, c.address
from jsonb_to_recordset($1) c (who text, role text, method text, route text, path text, status smallint, code text, domain text,
    reason text, detail jsonb, request_id uuid, address inet)";

/// Writes entries until every [`Calls`] is dropped.
pub async fn write(mut waiting: Waiting, database: Database) {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.recv_many(&mut group, GROUP).await > 0 {
        let (calls, answers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        let written = insert(&database, &calls).await;
        if let Err(error) = &written {
            warn!(event = "calls.unrecorded", calls = calls.len(), %error, "calls were not written to core.api_calls");
        }
        for answer in answers {
            // Nobody may be waiting for it.
            let _ = answer.send(written.is_ok());
        }
    }
}

async fn insert(database: &Database, calls: &[Call]) -> anyhow::Result<()> {
    let mut connection = database
        .take()
        .await
        .map_err(|problem| anyhow::anyhow!("{}", problem.detail))?;
    sqlx::query(INSERT)
        .bind(serde_json::to_value(calls)?)
        .execute(&mut *connection)
        .await?;
    connection.done();
    Ok(())
}

/// An entry of the record.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Recorded {
    /// Its number.
    pub call_id: i64,
    /// When it was answered.
    pub at: DateTime<Utc>,
    /// Caller, as `user:name` or `token:name`; null when nobody was recognised.
    pub who: Option<String>,
    /// Role of the caller.
    pub role: Option<String>,
    /// HTTP method.
    pub method: String,
    /// Route with its parameters in braces.
    pub route: String,
    /// Path.
    pub path: String,
    /// HTTP status.
    pub status: i16,
    /// Code of the problem.
    pub code: Option<String>,
    /// Domain that it was about.
    pub domain: Option<String>,
    /// Reason that the caller gave.
    pub reason: Option<String>,
    /// Filters and counts.
    pub detail: Value,
    /// Id of the request.
    pub request_id: Uuid,
    /// Address of the caller.
    pub address: Option<String>,
}

/// Which entries are meant.
#[derive(Debug, Default, Deserialize)]
pub struct Which {
    /// Caller.
    pub who: Option<String>,
    /// Only denied calls.
    pub denied: bool,
    /// Domains; `None`: all.
    pub domains: Option<Vec<String>>,
    /// Entries before this number.
    pub before: Option<i64>,
}

/// The entries that match, the newest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn list(
    connection: &mut PgConnection,
    which: &Which,
    limit: i64,
) -> sqlx::Result<Vec<Recorded>> {
    sqlx::query_as(
        "select c.call_id, c.at, c.who, c.role, c.method, c.route, c.path, c.status, c.code, c.domain, c.reason, c.detail,
                c.request_id, host(c.address) as address
         from core.api_calls c
         where ($1::text is null or c.who = $1) and (not $2 or c.status in (401, 403, 429))
           and ($3::text[] is null or c.domain = any ($3)) and ($4::bigint is null or c.call_id < $4)
         order by c.call_id desc limit $5",
    )
    .bind(&which.who)
    .bind(which.denied)
    .bind(&which.domains)
    .bind(which.before)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// What was decided about messages, gates, streams, archives and accounts.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Decision {
    /// Its number.
    pub audit_id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub who: String,
    /// Role of the database that did it.
    pub login: String,
    /// `replay`, `discard`, `restore`, `edit`, `open_gate`, `close_gate`, `write_off`, `pause_stream`, `resume_stream`,
    /// `archive` or `restore_archive`.
    pub action: String,
    /// Rows of the quarantine that it was done to.
    pub row_count: i32,
    /// The first hundred of them.
    pub quarantine_ids: Vec<i64>,
    /// Marts whose gate it was done to.
    pub marts: Option<Vec<String>>,
    /// Filters that they were chosen by.
    #[schema(value_type = Object)]
    #[serde(serialize_with = "raw")]
    pub filters: String,
    /// Why.
    pub reason: Option<String>,
}

fn raw<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(text.to_owned())
        .map_err(serde::ser::Error::custom)?
        .serialize(serializer)
}

/// Decisions, the newest first.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn decisions(
    connection: &mut PgConnection,
    action: Option<&str>,
    who: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Decision>> {
    sqlx::query_as(
        "select l.audit_id, l.at, l.who, l.login, l.action, l.row_count, l.quarantine_ids[1:100] as quarantine_ids, l.marts,
                l.filters::text as filters, l.reason
         from core.audit_log l
         where ($1::text is null or l.action = $1) and ($2::text is null or l.who = $2) and ($3::bigint is null or l.audit_id < $3)
         order by l.audit_id desc limit $4",
    )
    .bind(action)
    .bind(who)
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await
}
