//! Writes rejected messages to quarantine, with the reason, as they came.

use std::collections::HashMap;

use acequia_contracts::{Code, Violation};
use lapin::message::Delivery;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::identity::Identity;
use super::properties;
use super::sort::{Rejected, Sorted};
use super::store::Counts;
use crate::quarantine::message as replay;

/// A replay that was rejected again opens its row again, for the reason that holds now; a
/// discarded row stays discarded, and a plain copy changes neither.
const QUARANTINE: &str = "
insert into raw.quarantine as q (message_id, day, batch_id, domain, entity, queue, stage, code, field_path,
    message, violations, sqlstate, body, properties, fingerprint, occurrences, replays)
select t.message_id, t.day, $1, $2, t.entity, $3, t.stage, t.code, nullif(t.field_path, ''),
    t.message, t.violations, t.sqlstate, t.body, t.properties,
    md5(concat_ws('|', $2, t.entity, t.code, t.field_path)), t.occurrences, t.attempt
from unnest($4::uuid[], $5::date[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::jsonb[], $12::text[], $13::bytea[], $14::jsonb[], $15::integer[], $16::integer[])
    as t(message_id, day, entity, stage, code, field_path, message, violations, sqlstate, body, properties,
        occurrences, attempt)
on conflict (message_id, day) do update
set occurrences = q.occurrences + excluded.occurrences, last_seen_at = now(),
    (status, resolved_at, resolved_by, entity, stage, code, field_path, message, violations, sqlstate, fingerprint) = (
        select c.status, c.resolved_at, c.resolved_by, c.entity, c.stage, c.code, c.field_path, c.message,
            c.violations, c.sqlstate, c.fingerprint
        from (values
            (false, q.status, q.resolved_at, q.resolved_by, q.entity, q.stage, q.code, q.field_path, q.message,
                q.violations, q.sqlstate, q.fingerprint),
            (true, 'open', null, null, excluded.entity, excluded.stage, excluded.code, excluded.field_path,
                excluded.message, excluded.violations, excluded.sqlstate, excluded.fingerprint)
        ) c (again, status, resolved_at, resolved_by, entity, stage, code, field_path, message, violations,
            sqlstate, fingerprint)
        where c.again = (excluded.replays > 0 and q.status <> 'discarded'))
returning message_id, occurrences";

/// Puts the rejected messages in quarantine. The same message again raises its number of
/// occurrences and counts as a duplicate, a replay of it too.
pub async fn quarantine(
    connection: &mut PgConnection,
    batch_id: i64,
    queue: &str,
    sorted: &Sorted,
    rejected: &[&Rejected],
    deliveries: &[Delivery],
    counts: &mut [Counts],
) -> sqlx::Result<Vec<(Code, u64)>> {
    if rejected.is_empty() {
        return Ok(Vec::new());
    }
    // One row per message: a statement may not touch the same row twice.
    let mut places: HashMap<Identity, usize> = HashMap::new();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for reject in rejected {
        let count = &mut counts[slot(reject, sorted)];
        count.received += 1;
        count.duplicates += 1; // taken back below for the one that makes a new row
        let attempt = replay::attempt_of(&deliveries[reject.delivery].properties);
        let place = *places.entry(reject.identity).or_insert_with(|| {
            rows.push(Row {
                reject,
                occurrences: 0,
                attempt,
            });
            rows.len() - 1
        });
        let row = &mut rows[place];
        row.occurrences += 1;
        // Of a plain copy and a replay the replay tells what holds now.
        if attempt > row.attempt {
            row.reject = reject;
            row.attempt = attempt;
        }
    }
    let violation = |reject: &Rejected| reject.violations.first().cloned();
    let column = |pick: fn(&Violation) -> String| -> Vec<String> {
        rows.iter()
            .map(|row| violation(row.reject).as_ref().map(pick).unwrap_or_default())
            .collect()
    };
    let kept: Vec<(Uuid, i32)> = sqlx::query_as(QUARANTINE)
        .bind(batch_id)
        .bind(sorted.domain.name)
        .bind(queue)
        .bind(
            rows.iter()
                .map(|row| row.reject.identity.id)
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|row| row.reject.identity.day)
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|row| {
                    row.reject
                        .entity
                        .map(|entity| sorted.good[entity].entity.name)
                })
                .collect::<Vec<_>>(),
        )
        .bind(column(|violation| {
            violation.code.stage().as_str().to_owned()
        }))
        .bind(column(|violation| violation.code.as_str().to_owned()))
        .bind(column(|violation| violation.path.to_string()))
        .bind(column(|violation| violation.message.clone()))
        .bind(
            rows.iter()
                .map(|row| Json(&row.reject.violations))
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|row| row.reject.sqlstate.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|row| deliveries[row.reject.delivery].data.as_slice())
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|row| {
                    let position = row.reject.delivery;
                    let note = sorted.notes.get(&position);
                    Json(properties::to_json(&deliveries[position], note))
                })
                .collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|row| row.occurrences).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.attempt).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let kept: HashMap<Uuid, i32> = kept.into_iter().collect();
    let mut codes: HashMap<Code, u64> = HashMap::new();
    for row in &rows {
        // A row that was there before has more occurrences than this batch brought.
        if kept.get(&row.reject.identity.id) == Some(&row.occurrences) {
            let count = &mut counts[slot(row.reject, sorted)];
            count.quarantined += 1;
            count.duplicates -= 1;
            if let Some(violation) = row.reject.violations.first() {
                *codes.entry(violation.code).or_default() += 1;
            }
        }
    }
    Ok(codes.into_iter().collect())
}

/// A row to be written.
struct Row<'a> {
    reject: &'a Rejected,
    /// Messages of the batch that it stands for.
    occurrences: i32,
    /// Number of the replay; 0 for a message that is none.
    attempt: i32,
}

/// Where a message is counted: copies of one message may name different entities.
fn slot(reject: &Rejected, sorted: &Sorted) -> usize {
    reject.entity.unwrap_or(sorted.good.len())
}
