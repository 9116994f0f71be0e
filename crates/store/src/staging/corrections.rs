//! Accepted messages settle what was refused under their ids.

use std::collections::HashSet;

use chrono::NaiveDate;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::decode::DecodedBatch;
use super::write::Counts;

/// `$1`, `$2`: least and greatest id of the batch. Ids made about the same time lie close together, so that these are
/// mostly few rows, however many are open. `$3`: how many of each kind are read at most.
const OPEN: &str = "
(select o.message_id from core.quarantine_open o where o.message_id between $1 and $2 order by o.message_id limit $3)
union all
(select o.identity from core.quarantine_open o where o.identity between $1 and $2 order by o.identity limit $3)";

/// With this many open rows in between, PostgreSQL looks the ids up.
const MANY: usize = 1000;

/// Resolves the open rows of quarantine under the ids of a batch's staged messages.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn settle(
    connection: &mut PgConnection,
    batch_id: i64,
    decoded: &DecodedBatch,
    counts: &[Counts],
) -> sqlx::Result<()> {
    let staged = || {
        let rows = decoded.good.iter().zip(counts);
        rows.filter(|(_, count)| count.staged > 0)
            .map(|(rows, _)| rows)
    };
    let ids = || staged().flat_map(|rows| &rows.ids);
    let (Some(least), Some(greatest)) = (ids().min(), ids().max()) else {
        return Ok(());
    };
    let open: Vec<Uuid> = sqlx::query_scalar(OPEN)
        .bind(least)
        .bind(greatest)
        .bind(i64::try_from(MANY).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
    let all_known = open.len() < MANY;
    let open: HashSet<Uuid> = open.into_iter().collect();
    for rows in staged() {
        let (ids, days): (Vec<Uuid>, Vec<NaiveDate>) = std::iter::zip(&rows.ids, &rows.days)
            .filter(|(id, _)| !all_known || open.contains(id))
            .map(|(id, day)| (*id, *day))
            .unzip();
        if ids.is_empty() {
            continue;
        }
        sqlx::query("select core.resolve_accepted($1, $2, $3, $4, $5)")
            .bind(decoded.domain.name)
            .bind(rows.entity.name)
            .bind(batch_id)
            .bind(ids)
            .bind(days)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
