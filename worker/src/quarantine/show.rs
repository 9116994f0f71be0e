//! `worker quarantine show`.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{ReadArgs, open};
use crate::text::{printable, time};

/// Rows shown unless the operator says otherwise.
const ROWS: u32 = 20;

/// A body as text, or in base64 when it is none.
#[derive(Debug, Serialize)]
#[serde(tag = "encoding", content = "body", rename_all = "lowercase")]
enum Body {
    #[serde(rename = "utf-8")]
    Text(String),
    Base64(String),
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(STANDARD.encode(error.as_bytes())),
        }
    }
}

#[derive(Debug, Serialize, sqlx::FromRow)]
struct Row {
    quarantine_id: i64,
    message_id: Uuid,
    identity: Option<Uuid>,
    batch_id: i64,
    domain: String,
    entity: Option<String>,
    queue: String,
    stage: String,
    code: String,
    field_path: Option<String>,
    message: String,
    violations: Value,
    sqlstate: Option<String>,
    contract_version: i32,
    fingerprint: String,
    occurrences: i32,
    replays: i32,
    received_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    status: String,
    resolved_at: Option<DateTime<Utc>>,
    resolved_by: Option<String>,
    note: Option<String>,
    accepted_batch_id: Option<i64>,
    properties: Value,
    #[sqlx(try_from = "Vec<u8>")]
    #[serde(flatten)]
    body: Body,
    #[sqlx(skip)]
    versions: Vec<Version>,
    #[sqlx(skip)]
    history: Vec<Entry>,
}

/// A body that took the place of the original.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Version {
    version: i32,
    by: String,
    at: DateTime<Utc>,
    note: Option<String>,
    #[sqlx(try_from = "Vec<u8>")]
    #[serde(flatten)]
    body: Body,
}

/// Something that was done to the row.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Entry {
    at: DateTime<Utc>,
    who: String,
    login: String,
    action: String,
    reason: Option<String>,
    row_count: i32,
}

/// Prints the rows that match, whole, the newest first.
pub async fn show(args: ReadArgs) -> anyhow::Result<ExitCode> {
    let filters = args.filters;
    let mut connection = open(&args.database).await?;
    let mut query = QueryBuilder::<Postgres>::new("select q.* from raw.quarantine q where true");
    filters.conditions(&mut query);
    query.push(" order by q.quarantine_id desc limit ");
    let limit = filters.limit(ROWS);
    query.push_bind(limit + 1);
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(&mut connection).await?;
    let more = super::cut(&mut rows, limit);
    for row in &mut rows {
        row.versions = sqlx::query_as(
            "select v.* from raw.quarantine_versions v where v.quarantine_id = $1 order by v.version",
        )
        .bind(row.quarantine_id)
        .fetch_all(&mut connection)
        .await?;
        row.history = sqlx::query_as(
            "select l.* from core.audit_log l where l.quarantine_ids @> array[$1] order by l.audit_id",
        )
        .bind(row.quarantine_id)
        .fetch_all(&mut connection)
        .await?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        for row in &rows {
            println!("{}\n", printable(&text(row)?));
        }
    }
    Ok(super::ended(rows.len(), more))
}

fn text(row: &Row) -> anyhow::Result<String> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut lines = vec![
        match row.identity {
            None => format!("{} {}", row.quarantine_id, row.message_id),
            Some(id) => format!(
                "{} {}, a message of id {id}, which another one has too",
                row.quarantine_id, row.message_id
            ),
        },
        format!(
            "status      {}, seen {} times, replayed {} times",
            row.status, row.occurrences, row.replays
        ),
        format!(
            "message of  {}.{} from queue {}, batch {}",
            row.domain,
            row.entity.as_deref().unwrap_or("?"),
            row.queue,
            row.batch_id
        ),
        format!(
            "arrived     {}, last {}",
            time(row.received_at),
            time(row.last_seen_at)
        ),
        format!(
            "reason      {} {}, field {}, SQLSTATE {}, contract version {}, fingerprint {}",
            row.stage,
            row.code,
            or_none(&row.field_path),
            or_none(&row.sqlstate),
            row.contract_version,
            row.fingerprint
        ),
    ];
    for violation in row.violations.as_array().into_iter().flatten() {
        let part = |name: &str| violation[name].as_str().unwrap_or("").to_owned();
        lines.push(format!(
            "            {} {}: {}",
            part("code"),
            part("path"),
            part("message")
        ));
    }
    if let (Some(at), Some(by)) = (row.resolved_at, &row.resolved_by) {
        let note = or_none(&row.note);
        lines.push(format!("resolved    {} by {by}: {note}", time(at)));
    }
    for entry in &row.history {
        lines.push(format!(
            "history     {} {} by {} ({}), with {} rows: {}",
            time(entry.at),
            entry.action,
            entry.who,
            entry.login,
            entry.row_count,
            or_none(&entry.reason)
        ));
    }
    let properties = serde_json::to_string_pretty(&row.properties)?;
    lines.push(format!("properties  {properties}"));
    lines.push(body_text("body", &row.body));
    for version in &row.versions {
        let about = format!(
            "version {} by {} at {}, {}",
            version.version,
            version.by,
            time(version.at),
            or_none(&version.note)
        );
        lines.push(body_text(&about, &version.body));
    }
    Ok(lines.join("\n"))
}

fn body_text(about: &str, body: &Body) -> String {
    match body {
        Body::Text(text) => format!("{about}:\n{text}"),
        Body::Base64(text) => format!("{about}, no text, in base64:\n{text}"),
    }
}
