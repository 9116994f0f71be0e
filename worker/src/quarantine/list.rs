//! `worker quarantine list`.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{ReadArgs, open};
use crate::text::{print_table, time};

/// Rows shown unless the operator says otherwise.
const ROWS: u32 = 100;

/// A row, without what is long.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Row {
    quarantine_id: i64,
    message_id: Uuid,
    identity: Option<Uuid>,
    domain: String,
    entity: Option<String>,
    app_id: Option<String>,
    stage: String,
    code: String,
    field_path: Option<String>,
    message: String,
    occurrences: i32,
    replays: i32,
    received_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    status: String,
    fingerprint: String,
}

/// Prints the rows that match, the newest first.
pub async fn list(args: ReadArgs) -> anyhow::Result<ExitCode> {
    let filters = args.filters.or_open();
    let mut connection = open(&args.database).await?;
    let mut query = QueryBuilder::<Postgres>::new(
        "select q.*, q.properties ->> 'app_id' as app_id from raw.quarantine q where true",
    );
    filters.conditions(&mut query);
    query.push(" order by q.quarantine_id desc limit ");
    let limit = filters.limit(ROWS);
    query.push_bind(limit + 1);
    let mut rows: Vec<Row> = query.build_query_as().fetch_all(&mut connection).await?;
    let more = super::cut(&mut rows, limit);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else if !rows.is_empty() {
        let lines = rows.iter().map(|row| {
            vec![
                row.quarantine_id.to_string(),
                time(row.received_at),
                format!("{}.{}", row.domain, row.entity.as_deref().unwrap_or("?")),
                row.stage.clone(),
                row.code.clone(),
                row.field_path.clone().unwrap_or_default(),
                row.occurrences.to_string(),
                row.replays.to_string(),
                row.status.clone(),
                row.app_id.clone().unwrap_or_default(),
            ]
        });
        let header = [
            "id", "received", "entity", "stage", "code", "field", "seen", "replays", "status",
            "app_id",
        ];
        print_table(&header, lines);
    }
    Ok(super::ended(rows.len(), more))
}
