//! `worker quarantine stats`.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Postgres, QueryBuilder};

use super::{ReadArgs, open};
use crate::text::{print_table, time};

/// Causes shown unless the operator says otherwise.
const GROUPS: u32 = 1_000;

/// Rows of the same cause.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Group {
    domain: String,
    entity: String,
    code: String,
    field_path: Option<String>,
    fingerprint: String,
    open: i64,
    replayed: i64,
    discarded: i64,
    resolved: i64,
    occurrences: i64,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
}

/// Prints how many rows there are of each cause, the most open first.
pub async fn stats(args: ReadArgs) -> anyhow::Result<ExitCode> {
    let filters = args.filters;
    let mut connection = open(&args.database).await?;
    let mut query = QueryBuilder::<Postgres>::new(
        "select q.domain, coalesce(q.entity, '(unknown)') as entity, q.code, q.field_path, min(q.fingerprint) as fingerprint,
                count(*) filter (where q.status = 'open') as open,
                count(*) filter (where q.status = 'replayed') as replayed,
                count(*) filter (where q.status = 'discarded') as discarded,
                count(*) filter (where q.status = 'resolved') as resolved,
                sum(q.occurrences)::bigint as occurrences, min(q.received_at) as first_seen_at, max(q.last_seen_at) as last_seen_at
         from raw.quarantine q where true",
    );
    filters.conditions(&mut query);
    query.push(" group by q.domain, q.entity, q.code, q.field_path order by open desc, occurrences desc, 1, 2, 3, 4");
    let limit = filters.limit(GROUPS);
    query.push(" limit ").push_bind(limit + 1);
    let mut groups: Vec<Group> = query.build_query_as().fetch_all(&mut connection).await?;
    let more = super::cut(&mut groups, limit);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&groups)?);
    } else if !groups.is_empty() {
        let lines = groups.iter().map(|group| {
            vec![
                format!("{}.{}", group.domain, group.entity),
                group.code.clone(),
                group.field_path.clone().unwrap_or_default(),
                group.open.to_string(),
                group.replayed.to_string(),
                group.discarded.to_string(),
                group.resolved.to_string(),
                group.occurrences.to_string(),
                time(group.first_seen_at),
                time(group.last_seen_at),
                group.fingerprint.clone(),
            ]
        });
        let header = [
            "entity",
            "code",
            "field",
            "open",
            "replayed",
            "discarded",
            "resolved",
            "seen",
            "first",
            "last",
            "fingerprint",
        ];
        print_table(&header, lines);
    }
    Ok(super::ended(groups.len(), more))
}
