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

const QUARANTINE: &str = "
insert into raw.quarantine as q (message_id, day, batch_id, domain, entity, queue, stage, code, field_path,
    message, violations, sqlstate, body, properties, fingerprint, occurrences)
select t.message_id, t.day, $1, $2, t.entity, $3, t.stage, t.code, nullif(t.field_path, ''),
    t.message, t.violations, t.sqlstate, t.body, t.properties,
    md5(concat_ws('|', $2, t.entity, t.code, t.field_path)), t.occurrences
from unnest($4::uuid[], $5::date[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::jsonb[], $12::text[], $13::bytea[], $14::jsonb[], $15::integer[])
    as t(message_id, day, entity, stage, code, field_path, message, violations, sqlstate, body, properties, occurrences)
on conflict (message_id, day) do update
set occurrences = q.occurrences + excluded.occurrences, last_seen_at = now()
returning message_id, occurrences";

/// Puts the rejected messages in quarantine. The same message again only raises its number of
/// occurrences and counts as a duplicate.
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
    let mut first: HashMap<Identity, usize> = HashMap::new();
    let mut occurrences: Vec<i32> = Vec::new();
    let mut rows: Vec<&Rejected> = Vec::new();
    for reject in rejected {
        let slot = reject.entity.unwrap_or(sorted.good.len());
        counts[slot].received += 1;
        let row = *first.entry(reject.identity).or_insert_with(|| {
            rows.push(reject);
            occurrences.push(0);
            rows.len() - 1
        });
        occurrences[row] += 1;
    }
    let violation = |reject: &Rejected| reject.violations.first().cloned();
    let column = |pick: fn(&Violation) -> String| -> Vec<String> {
        rows.iter()
            .map(|reject| violation(reject).as_ref().map(pick).unwrap_or_default())
            .collect()
    };
    let kept: Vec<(Uuid, i32)> = sqlx::query_as(QUARANTINE)
        .bind(batch_id)
        .bind(sorted.domain.name)
        .bind(queue)
        .bind(
            rows.iter()
                .map(|reject| reject.identity.id)
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|reject| reject.identity.day)
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|reject| reject.entity.map(|entity| sorted.good[entity].entity.name))
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
                .map(|reject| Json(&reject.violations))
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|reject| reject.sqlstate.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|reject| deliveries[reject.delivery].data.as_slice())
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|reject| Json(properties::to_json(&deliveries[reject.delivery])))
                .collect::<Vec<_>>(),
        )
        .bind(&occurrences)
        .fetch_all(connection)
        .await?;
    let kept: HashMap<Uuid, i32> = kept.into_iter().collect();
    let mut codes: HashMap<Code, u64> = HashMap::new();
    for (reject, occurrences) in rows.iter().zip(&occurrences) {
        let slot = &mut counts[reject.entity.unwrap_or(sorted.good.len())];
        // A row that was there before has more occurrences than this batch brought.
        let new = i32::from(kept.get(&reject.identity.id) == Some(occurrences));
        slot.quarantined += new;
        slot.duplicates += occurrences - new;
        if let Some(violation) = reject.violations.first()
            && new == 1
        {
            *codes.entry(violation.code).or_default() += 1;
        }
    }
    Ok(codes.into_iter().collect())
}
