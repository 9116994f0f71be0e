//! The actual and the expected ledger.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::{ENTITIES, Sent};
use crate::oracle::{Oracle, Outcome};

/// Counts of an entity in `core.batch_entities` or `core.conservation`.
#[derive(Debug, Default, PartialEq, sqlx_macros::FromRow)]
pub(super) struct LedgerEntry {
    pub(super) received: i64,
    pub(super) duplicates: i64,
    pub(super) staged: i64,
    pub(super) inserted: i64,
    /// Updated, unchanged or stale, added up: which one it is depends on the order.
    pub(super) otherwise: i64,
    pub(super) pending: i64,
    pub(super) quarantined: i64,
}

#[derive(sqlx_macros::FromRow)]
struct NamedAccount {
    entity: String,
    #[sqlx(flatten)]
    entry: LedgerEntry,
}

pub(super) async fn ledger(
    connection: &mut PgConnection,
    query: &'static str,
) -> BTreeMap<String, LedgerEntry> {
    let rows: Vec<NamedAccount> = sqlx::query_as(query).fetch_all(connection).await.unwrap();
    rows.into_iter()
        .map(|row| (row.entity, row.entry))
        .collect()
}

pub(super) const BATCHES: &str = "
select entity, sum(received)::bigint received, sum(duplicates)::bigint duplicates, sum(staged)::bigint staged,
       sum(inserted)::bigint inserted, sum(updated + unchanged + stale)::bigint otherwise,
       sum(pending)::bigint pending, sum(quarantined)::bigint quarantined
from core.batch_entities group by entity";

pub(super) const CONSERVATION: &str = "
select entity, received::bigint, duplicates::bigint, staged::bigint, inserted::bigint,
       (promoted - inserted + stale)::bigint otherwise, pending::bigint, quarantined::bigint
from core.conservation where unaccounted = 0";

/// The expected ledger after these deliveries, including invalid ones.
pub(super) fn expected_ledger(
    deliveries: &[&Sent],
    bad: &[&Sent],
    oracle: &Oracle,
) -> BTreeMap<String, LedgerEntry> {
    let Outcome { core, pending } = oracle.outcome();
    let rows = [
        core.maestros.len(),
        core.materias.len(),
        core.grupos.len(),
        core.alumnos.len(),
        core.inscripciones.len(),
        core.calificaciones.len(),
    ];
    let number = |count: usize| i64::try_from(count).unwrap();
    let of_entity = |(entity, inserted): (&str, usize)| {
        let received = deliveries.iter().filter(|sent| sent.entity == entity);
        let waiting = pending.iter().filter(|row| row.entity == entity);
        let bad: BTreeSet<_> = bad
            .iter()
            .filter(|sent| sent.entity == entity)
            .map(|sent| &sent.id)
            .collect();
        let (received, pending) = (number(received.count()), number(waiting.count()));
        let (good, inserted) = (number(oracle.count(entity)), number(inserted));
        let quarantined = number(bad.len());
        let entry = LedgerEntry {
            received,
            duplicates: received - good - quarantined,
            staged: 0,
            inserted,
            otherwise: good - inserted - pending,
            pending,
            quarantined,
        };
        (entity.to_owned(), entry)
    };
    ENTITIES
        .into_iter()
        .zip(rows)
        .map(of_entity)
        .filter(|(_, entry)| entry.received > 0)
        .collect()
}
