//! Messages under an id that is staged already: copies of the staged message, or other messages.

use std::collections::{HashMap, HashSet};

use acequia_contracts::envelope::{Identity, body_hash};
use acequia_contracts::{Code, Violation};
use chrono::NaiveDate;
use lapin::message::Delivery;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::decode::{DecodedBatch, EntityRows, Rejected};

/// Comparison of a message's body with that of the staged message of its id.
#[derive(Clone, Copy)]
enum Body {
    Same,
    Other,
}

/// Positions of the messages whose id is staged with such a body. A staged row without a hash, of an
/// older worker or a rebuilt message, is neither.
async fn staged_with(
    connection: &mut PgConnection,
    table: &str,
    body: Body,
    ids: &[Uuid],
    days: &[NaiveDate],
    hashes: &[Option<i64>],
) -> sqlx::Result<Vec<usize>> {
    let comparison = match body {
        Body::Same => "=",
        Body::Other => "<>",
    };
    // Looked up row by row: each touches one partition, by its primary key. The name of the table
    // comes from the catalog.
    let statement = format!(
        "select t.n from unnest($1::uuid[], $2::date[], $3::bigint[]) with ordinality as t(message_id, day, body_hash, n) \
         cross join lateral (select from {table} s where s.message_id = t.message_id and s.day = t.day \
             and s.body_hash {comparison} t.body_hash offset 0) s \
         order by t.n"
    );
    let found: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(ids)
        .bind(days)
        .bind(hashes)
        .fetch_all(connection)
        .await?;
    Ok(found
        .into_iter()
        .filter_map(|place| usize::try_from(place - 1).ok())
        .collect())
}

/// Files the messages of an entity whose id belongs to another message. `staged` are the ids that this
/// batch brought in. Those that are `refused` already, from place `first` on, have been filed for what
/// the table said.
pub async fn reused(
    connection: &mut PgConnection,
    entity: usize,
    rows: &EntityRows,
    staged: &[Uuid],
    refused: &mut Vec<Rejected>,
    first: usize,
) -> sqlx::Result<()> {
    if staged.len() == rows.ids.len() {
        return Ok(());
    }
    // Most rows of such a batch are new: only those are looked up that something else may stand for.
    let mut times: HashMap<Uuid, (usize, bool)> = HashMap::with_capacity(rows.ids.len());
    for id in &rows.ids {
        times.entry(*id).or_default().0 += 1;
    }
    for id in staged {
        times.entry(*id).or_default().1 = true;
    }
    let places: Vec<usize> = (0..rows.ids.len())
        .filter(|row| times.get(&rows.ids[*row]) != Some(&(1, true)))
        .collect();
    let ids: Vec<_> = places.iter().map(|row| rows.ids[*row]).collect();
    let days: Vec<_> = places.iter().map(|row| rows.days[*row]).collect();
    let hashes: Vec<_> = places.iter().map(|row| rows.hashes[*row]).collect();
    let table = rows.entity.staging;
    let found = staged_with(connection, table, Body::Other, &ids, &days, &hashes).await?;
    let found = found.into_iter().map(|place| places[place]);
    let filed: HashSet<usize> = refused[first..].iter().map(|row| row.delivery).collect();
    let found = found.filter(|row| !filed.contains(&rows.deliveries[*row]));
    refused.extend(found.map(|row| Rejected {
        delivery: rows.deliveries[row],
        entity: Some(entity),
        identity: Identity {
            id: rows.ids[row],
            day: rows.days[row],
        },
        violations: vec![Violation::body(
            Code::IdReused,
            "another message with this id and another body was accepted before",
        )],
        sqlstate: None,
    }));
    Ok(())
}

/// For each rejected message whether the very same was accepted: a clock that is wrong, a broker
/// that gives up, or a table that has become stricter does not undo that.
pub async fn accepted(
    connection: &mut PgConnection,
    decoded: &DecodedBatch,
    rejected: &[&Rejected],
    deliveries: &[Delivery],
) -> sqlx::Result<Vec<bool>> {
    let mut accepted = vec![false; rejected.len()];
    for (entity, rows) in decoded.good.iter().enumerate() {
        let places: Vec<usize> = (0..rejected.len())
            .filter(|place| rejected[*place].entity == Some(entity))
            .collect();
        if places.is_empty() {
            continue;
        }
        let of = |place: &usize| rejected[*place];
        let ids: Vec<_> = places.iter().map(|place| of(place).identity.id).collect();
        let days: Vec<_> = places.iter().map(|place| of(place).identity.day).collect();
        let hashes: Vec<_> = places
            .iter()
            .map(|place| Some(body_hash(&deliveries[of(place).delivery].data)))
            .collect();
        let table = rows.entity.staging;
        for found in staged_with(connection, table, Body::Same, &ids, &days, &hashes).await? {
            accepted[places[found]] = true;
        }
    }
    Ok(accepted)
}
