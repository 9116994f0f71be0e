//! Properties of random cases.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use sqlx::PgConnection;
use uuid::Uuid;

use super::cases::{Then, for_random_cases};
use super::ledger::{BATCHES, CONSERVATION, LedgerEntry, expected_ledger, ledger};
use super::{Feed, Sent, compare, outcome_of};
use crate::marts::compare_marts;
use crate::oracle::{Oracle, Outcome};
use crate::support::Platform;

/// A database that is emptied before each case.
struct Bench {
    runtime: tokio::runtime::Runtime,
    tables: RefCell<(Feed, PgConnection)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let tables = runtime.block_on(async {
            let platform = Platform::new().await;
            (
                Feed::new(&platform.database).await,
                platform.connect().await,
            )
        });
        Self {
            runtime,
            tables: RefCell::new(tables),
        }
    }

    /// Result of deliveries that are staged and promoted in this rhythm.
    pub(super) fn run(&self, deliveries: &[&Sent], then: &[Then]) -> Found {
        let (feed, owner) = &mut *self.tables.borrow_mut();
        self.runtime.block_on(async {
            empty(owner).await;
            let mut batch = Vec::new();
            for (sent, then) in deliveries.iter().zip(then.iter().cycle()) {
                batch.push(*sent);
                if !matches!(then, Then::GoOn) {
                    feed.stage(&std::mem::take(&mut batch)).await;
                }
                if let Then::Promote(max_rows) = then {
                    feed.promote(*max_rows).await;
                }
            }
            if !batch.is_empty() {
                feed.stage(&batch).await;
            }
            feed.promote_all().await;
            feed.refresh().await;
            let outcome = outcome_of(owner).await;
            Found {
                marts: compare_marts(owner, &outcome.core).await,
                outcome,
                batches: ledger(owner, BATCHES).await,
                conservation: ledger(owner, CONSERVATION).await,
                quarantine: sqlx::query_scalar("select message_id from raw.quarantine order by 1")
                    .fetch_all(owner)
                    .await
                    .unwrap(),
            }
        })
    }
}

struct Found {
    outcome: Outcome,
    /// Differences of the marts from the oracle's, given this core.
    marts: Result<(), String>,
    batches: BTreeMap<String, LedgerEntry>,
    conservation: BTreeMap<String, LedgerEntry>,
    quarantine: Vec<Uuid>,
}

/// Empties the core behind the platform's back, so the materialized mart has to be notified.
async fn empty(owner: &mut PgConnection) {
    sqlx::raw_sql(
        "delete from academico.calificaciones_audit; delete from academico.calificaciones; \
         delete from academico.inscripciones; delete from academico.alumnos; delete from academico.grupos; \
         delete from academico.materias; delete from academico.maestros; \
         delete from stg.calificaciones_event; delete from stg.inscripciones_event; delete from stg.alumnos_upsert; \
         delete from stg.grupos_upsert; delete from stg.materias_upsert; delete from stg.maestros_upsert; \
         delete from raw.quarantine; delete from core.pending; delete from core.batch_entities; \
         delete from core.batches; delete from core.settled_totals; delete from core.domain_state; delete from core.entity_state; delete from core.mart_refresh_log; \
         refresh materialized view marts.kpi_materia",
    )
    .execute(owner)
    .await
    .unwrap();
}

#[test]
fn random_messages_in_random_order_give_the_core_of_the_oracle() {
    let bench = Bench::new();
    for_random_cases(|case| {
        let (good, bad) = case.sent();
        let deliveries = case.order([&good, &bad], |random| &random.one_order);
        let mut oracle = Oracle::default();
        good.values().for_each(|sent| sent.tell(&mut oracle));

        let found = bench.run(&deliveries, &case.then);

        compare(&found.outcome, &oracle).map_err(TestCaseError::fail)?;
        found.marts.map_err(TestCaseError::fail)?;
        let bad: Vec<_> = bad.values().collect();
        let ledger = expected_ledger(&deliveries, &bad, &oracle);
        prop_assert_eq!(&found.batches, &ledger);
        prop_assert_eq!(&found.conservation, &ledger);
        let mut quarantine: Vec<_> = bad.iter().map(|sent| sent.message_id()).collect();
        quarantine.sort();
        prop_assert_eq!(&found.quarantine, &quarantine);
        Ok(())
    });
}

#[test]
fn two_orders_of_the_same_messages_give_the_same_core() {
    let bench = Bench::new();
    for_random_cases(|case| {
        let (good, bad) = case.sent();
        let one = case.order([&good, &bad], |random| &random.one_order);
        let other = case.order([&good, &bad], |random| &random.other_order);
        let one = bench.run(&one, &case.then).outcome;
        let other = bench.run(&other, &case.other_then).outcome;
        // Event time and message id are among the columns; which of two missing parents a row
        // waits for is not decided by the messages.
        let bare = |mut outcome: Outcome| {
            outcome
                .pending
                .iter_mut()
                .for_each(|row| row.missing.clear());
            outcome
        };
        let difference = bare(one).difference(&bare(other));
        difference.map_or(Ok(()), |difference| Err(TestCaseError::fail(difference)))
    });
}
