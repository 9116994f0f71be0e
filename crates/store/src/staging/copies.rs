//! Messages under an id that is staged already: copies of the staged message, or other messages.

use std::collections::{HashMap, HashSet};

use acequia_contracts::envelope::body_hash;
use acequia_contracts::{Code, Violation};
use chrono::NaiveDate;
use lapin::message::Delivery;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::decode::{DecodedBatch, EntityRows, Rejected};

/// A message whose id is staged.
struct Known {
    /// Position among the messages that were looked up.
    place: usize,
    /// Whether the staged message has the same body. None when one of them has no hash: a row of an older worker, or a
    /// rebuilt message.
    same: Option<bool>,
}

/// Days that are looked up each by itself: PostgreSQL then chooses the partition once and not for each id, which
/// costs half. The messages of a batch are nearly always of one day or two.
const FEW_DAYS: usize = 8;

/// Looks up messages in a staging table.
async fn known(
    connection: &mut PgConnection,
    table: &str,
    ids: &[Uuid],
    days: &[NaiveDate],
    hashes: &[Option<i64>],
) -> sqlx::Result<Vec<Known>> {
    let mut by_day: HashMap<NaiveDate, Vec<usize>> = HashMap::new();
    for (place, day) in days.iter().enumerate() {
        by_day.entry(*day).or_default().push(place);
    }
    let parts: Vec<(Option<NaiveDate>, Vec<usize>)> = if by_day.len() > FEW_DAYS {
        vec![(None, (0..ids.len()).collect())]
    } else {
        let parts = by_day.into_iter();
        parts.map(|(day, places)| (Some(day), places)).collect()
    };
    let mut known = Vec::new();
    for (day, places) in parts {
        // Looked up row by row: each touches one partition, by its primary key. The name of the table
        // comes from the catalog.
        let (array, column, day_of_row) = match day {
            Some(_) => ("", "", "$3"),
            None => (", $3::date[]", ", day", "t.day"),
        };
        let statement = format!(
            "select t.n, s.body_hash = t.body_hash \
             from unnest($1::uuid[], $2::bigint[]{array}) with ordinality as t(message_id, body_hash{column}, n) \
             cross join lateral (select s.body_hash from {table} s \
                 where s.message_id = t.message_id and s.day = {day_of_row} offset 0) s"
        );
        let query = sqlx::query_as(AssertSqlSafe(statement))
            .bind(places.iter().map(|place| ids[*place]).collect::<Vec<_>>())
            .bind(
                places
                    .iter()
                    .map(|place| hashes[*place])
                    .collect::<Vec<_>>(),
            );
        let query = match day {
            Some(day) => query.bind(day),
            None => query.bind(days),
        };
        let found: Vec<(i64, Option<bool>)> = query.fetch_all(&mut *connection).await?;
        known.extend(found.into_iter().filter_map(|(number, same)| {
            let place = *places.get(usize::try_from(number - 1).ok()?)?;
            Some(Known { place, same })
        }));
    }
    Ok(known)
}

/// Rows of an entity whose ids are not staged.
pub struct Unstaged {
    /// The first row of each id.
    pub firsts: Vec<usize>,
    /// The others. They are copies of the first, or other messages, unless the first is refused.
    pub later: Vec<usize>,
}

/// Looks some rows of an entity up. Those under the id of another message are filed under `refused`; copies of staged messages are
/// passed over.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn unstaged(
    connection: &mut PgConnection,
    entity: usize,
    rows: &EntityRows,
    some: &[usize],
    refused: &mut Vec<Rejected>,
) -> sqlx::Result<Unstaged> {
    let ids: Vec<_> = some.iter().map(|row| rows.ids[*row]).collect();
    let days: Vec<_> = some.iter().map(|row| rows.days[*row]).collect();
    let hashes: Vec<_> = some.iter().map(|row| rows.hashes[*row]).collect();
    let known = known(connection, rows.entity.staging, &ids, &days, &hashes).await?;
    let others = known.iter().filter(|known| known.same == Some(false));
    refused.extend(others.map(|known| {
        let reused = Violation::body(
            Code::IdReused,
            "another message with this id and another body was accepted before",
        );
        rows.reject(entity, some[known.place], reused, None)
    }));
    let known: HashSet<usize> = known.iter().map(|known| known.place).collect();
    let mut seen = HashSet::with_capacity(some.len());
    let places = (0..some.len()).filter(|place| !known.contains(place));
    let (firsts, later): (Vec<_>, Vec<_>) =
        places.partition(|place| seen.insert((ids[*place], days[*place])));
    let rows = |places: Vec<usize>| places.into_iter().map(|place| some[place]).collect();
    Ok(Unstaged {
        firsts: rows(firsts),
        later: rows(later),
    })
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
        for known in known(connection, table, &ids, &days, &hashes).await? {
            accepted[places[known.place]] = known.same == Some(true);
        }
    }
    Ok(accepted)
}
