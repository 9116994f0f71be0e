//! Writes rejected messages to quarantine, with the reason, as they came.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use acequia_contracts::envelope::{Identity, NO_DAY, body_digest, body_hash};
use acequia_contracts::{Code, Violation};
use chrono::NaiveDate;
use lapin::message::Delivery;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::decode::{DecodedBatch, Rejected};
use super::write::Counts;
use super::{properties, replayed as replay};

/// The identity of each row: that of the replayed row, else that of the message, unless a row of
/// another message has it. `$1` domain; per message: identity, day, entity, digest of the body, whether
/// it takes its identity when no row has that, whether another message has its id, row it is a
/// replay of, identity of its own. Null: to be asked again when the one that takes the identity is
/// written. So a body meets the same row, whichever worker writes it.
const KEYS: &str = "
select case when r.message_id is not null then r.message_id
            when t.reused or not q.same then t.own
            when t.free or q.same then t.identity end,
       case when r.message_id is not null then r.day
            when t.reused or not q.same then $10
            else t.day end
from unnest($2::uuid[], $3::date[], $4::text[], $5::uuid[], $6::boolean[], $7::boolean[], $8::bigint[], $9::uuid[])
    with ordinality as t(identity, day, entity, digest, free, reused, origin, own, n)
left join lateral (
    select (q.domain = $1 and (q.entity = t.entity or q.entity is null or t.entity is null)
        and encode(substring(sha256(q.body) for 16), 'hex')::uuid = t.digest) as same
    from raw.quarantine q where q.message_id = t.identity and q.day = t.day offset 0
) q on true
left join lateral (
    select r.message_id, r.day from raw.quarantine r
    where t.origin is not null and r.quarantine_id = t.origin and r.domain = $1
      and (r.message_id = t.identity or r.identity = t.identity) offset 0
) r on true
order by t.n";

/// A replay that was rejected again opens its row again, for the reason that holds now; a
/// discarded row stays discarded, and a plain copy changes neither. A row of another message, which
/// has come meanwhile, is left alone.
const QUARANTINE: &str = "
insert into raw.quarantine as q (message_id, day, batch_id, domain, entity, queue, stage, code, field_path,
    message, violations, sqlstate, body, properties, fingerprint, occurrences, replays, identity, body_hash)
select t.message_id, t.day, $1, $2, t.entity, $3, t.stage, t.code, nullif(t.field_path, ''),
    t.message, t.violations, t.sqlstate, t.body, t.properties,
    md5(concat_ws('|', $2, t.entity, t.code, t.field_path)), t.occurrences, t.attempt, nullif(t.identity, t.message_id), t.body_hash
from unnest($4::uuid[], $5::date[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::jsonb[], $12::text[], $13::bytea[], $14::jsonb[], $15::integer[], $16::integer[], $17::uuid[], $18::bigint[])
    as t(message_id, day, entity, stage, code, field_path, message, violations, sqlstate, body, properties,
        occurrences, attempt, identity, body_hash)
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
where q.domain = excluded.domain and (q.body = excluded.body or excluded.replays > 0)
returning message_id, day, occurrences";

/// Puts the rejected messages in quarantine. The same message again raises its number of
/// occurrences and counts as a duplicate, a replay of it too.
pub async fn quarantine(
    connection: &mut PgConnection,
    batch_id: i64,
    queue: &str,
    decoded: &DecodedBatch,
    rejected: &[&Rejected],
    deliveries: &[Delivery],
    counts: &mut [Counts],
) -> sqlx::Result<Vec<(Code, u64)>> {
    let mut codes: HashMap<Code, u64> = HashMap::new();
    let mut rows = distinct(decoded, rejected, deliveries, counts);
    // Mostly once; again for what shares its id with other messages, of this batch or of another worker.
    while !rows.is_empty() {
        let (named, unnamed) = name(connection, decoded, rows).await?;
        let kept = keep(connection, batch_id, queue, decoded, &named, deliveries).await?;
        let kept: HashMap<Identity, i32> = kept
            .into_iter()
            .map(|(id, day, occurrences)| (Identity { id, day }, occurrences))
            .collect();
        // A row that was there before has more occurrences than this batch brought.
        let new = |row: &&Row<'_>| kept.get(&row.key) == Some(&row.occurrences);
        for row in named.iter().filter(new) {
            let count = &mut counts[slot(row.reject, decoded)];
            count.quarantined += 1;
            count.duplicates -= 1;
            if let Some(violation) = row.reject.violations.first() {
                *codes.entry(violation.code).or_default() += 1;
            }
        }
        rows = named;
        rows.retain(|row| !kept.contains_key(&row.key));
        rows.extend(unnamed);
    }
    Ok(codes.into_iter().collect())
}

/// A row to be written.
struct Row<'a> {
    reject: &'a Rejected,
    /// Number of messages of the batch that it represents.
    occurrences: i32,
    /// Number of the replay; 0 for a message that is none.
    attempt: i32,
    /// The row that it is a replay of, as the message says.
    origin: Option<i64>,
    /// Digest of the body.
    digest: Uuid,
    /// Whether another message has its id.
    reused: bool,
    /// Identity of the row; that of the message until it is known.
    key: Identity,
}

/// One row per message, however many copies of it came. Everything is counted as received, and as a
/// duplicate, which is taken back for what makes a new row.
fn distinct<'a>(
    decoded: &DecodedBatch,
    rejected: &[&'a Rejected],
    deliveries: &[Delivery],
    counts: &mut [Counts],
) -> Vec<Row<'a>> {
    let mut places: HashMap<(Identity, Option<usize>, Uuid), usize> = HashMap::new();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for &reject in rejected {
        let count = &mut counts[slot(reject, decoded)];
        count.received += 1;
        count.duplicates += 1;
        let delivery = &deliveries[reject.delivery];
        let violation = reject.violations.first();
        let attempt = replay::attempt_of(&delivery.properties);
        let row = Row {
            reject,
            occurrences: 1,
            attempt,
            origin: replay::origin_of(&delivery.properties).filter(|_| attempt > 0),
            digest: body_digest(&delivery.data),
            reused: violation.is_some_and(|violation| violation.code == Code::IdReused),
            key: reject.identity,
        };
        match places.entry((reject.identity, reject.entity, row.digest)) {
            Entry::Occupied(place) => rows[*place.get()].merge(row),
            Entry::Vacant(place) => {
                place.insert(rows.len());
                rows.push(row);
            }
        }
    }
    rows
}

impl Row<'_> {
    /// Merges a copy into the row. A replay takes precedence over a plain copy.
    fn merge(&mut self, other: Self) {
        self.occurrences += other.occurrences;
        if other.attempt > self.attempt {
            self.reject = other.reject;
            self.attempt = other.attempt;
            self.origin = other.origin;
            self.digest = other.digest;
        }
    }
}

/// Asks for the identities of the rows. Returns one row per identity, since a statement may not touch
/// the same row twice, and those that have to ask again.
async fn name<'a>(
    connection: &mut PgConnection,
    decoded: &DecodedBatch,
    rows: Vec<Row<'a>>,
) -> sqlx::Result<(Vec<Row<'a>>, Vec<Row<'a>>)> {
    let domain = decoded.domain.name;
    let entities = list(&rows, |row| entity(row.reject, decoded));
    let own = rows
        .iter()
        .zip(&entities)
        .map(|(row, entity)| Identity::of_row(domain, *entity, row.reject.identity, row.digest).id);
    // Of several messages under one id the first takes it.
    let mut taken = HashSet::new();
    let free = rows
        .iter()
        .map(|row| !row.reused && taken.insert(row.reject.identity));
    let keys: Vec<(Option<Uuid>, NaiveDate)> = sqlx::query_as(KEYS)
        .bind(domain)
        .bind(list(&rows, |row| row.reject.identity.id))
        .bind(list(&rows, |row| row.reject.identity.day))
        .bind(&entities)
        .bind(list(&rows, |row| row.digest))
        .bind(free.collect::<Vec<_>>())
        .bind(list(&rows, |row| row.reused))
        .bind(list(&rows, |row| row.origin))
        .bind(own.collect::<Vec<_>>())
        .bind(NO_DAY)
        .fetch_all(connection)
        .await?;
    let mut places: HashMap<Identity, usize> = HashMap::new();
    let mut named: Vec<Row<'_>> = Vec::with_capacity(rows.len());
    let mut unnamed = Vec::new();
    for (mut row, (id, day)) in rows.into_iter().zip(keys) {
        let Some(id) = id else {
            unnamed.push(row);
            continue;
        };
        row.key = Identity { id, day };
        match places.entry(row.key) {
            Entry::Occupied(place) => named[*place.get()].merge(row),
            Entry::Vacant(place) => {
                place.insert(named.len());
                named.push(row);
            }
        }
    }
    Ok((named, unnamed))
}

/// Writes the rows; returns identity and occurrences of those that were written.
async fn keep(
    connection: &mut PgConnection,
    batch_id: i64,
    queue: &str,
    decoded: &DecodedBatch,
    rows: &[Row<'_>],
    deliveries: &[Delivery],
) -> sqlx::Result<Vec<(Uuid, NaiveDate, i32)>> {
    let delivery = |row: &Row<'_>| &deliveries[row.reject.delivery];
    let column = |pick: fn(&Violation) -> String| {
        list(rows, |row| {
            row.reject.violations.first().map(pick).unwrap_or_default()
        })
    };
    sqlx::query_as(QUARANTINE)
        .bind(batch_id)
        .bind(decoded.domain.name)
        .bind(queue)
        .bind(list(rows, |row| row.key.id))
        .bind(list(rows, |row| row.key.day))
        .bind(list(rows, |row| entity(row.reject, decoded)))
        .bind(column(|violation| {
            violation.code.stage().as_str().to_owned()
        }))
        .bind(column(|violation| violation.code.as_str().to_owned()))
        .bind(column(|violation| violation.path.to_string()))
        .bind(column(|violation| violation.message.clone()))
        .bind(list(rows, |row| Json(&row.reject.violations)))
        .bind(list(rows, |row| row.reject.sqlstate.as_deref()))
        .bind(list(rows, |row| delivery(row).data.as_slice()))
        .bind(list(rows, |row| {
            let note = decoded.notes.get(&row.reject.delivery);
            Json(properties::to_json(delivery(row), note))
        }))
        .bind(list(rows, |row| row.occurrences))
        .bind(list(rows, |row| row.attempt))
        .bind(list(rows, |row| row.reject.identity.id))
        .bind(list(rows, |row| body_hash(&delivery(row).data)))
        .fetch_all(connection)
        .await
}

/// A column of the rows.
fn list<'a, T>(rows: &'a [Row<'a>], pick: impl Fn(&'a Row<'a>) -> T) -> Vec<T> {
    rows.iter().map(pick).collect()
}

fn entity(reject: &Rejected, decoded: &DecodedBatch) -> Option<&'static str> {
    reject.entity.map(|entity| decoded.good[entity].entity.name)
}

/// The entity for which a message is counted: copies of one message may name different entities.
fn slot(reject: &Rejected, decoded: &DecodedBatch) -> usize {
    reject.entity.unwrap_or(decoded.good.len())
}
