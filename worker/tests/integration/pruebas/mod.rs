//! Generated merges against an oracle made from the contract: any order, repetition and batching of the same
//! messages gives the same tables. And the suite is tried on merges that are wrong.

mod bench;
mod cases;
mod deletes;
mod domain;
mod mutants;
mod oracle;
mod released;
mod ticks;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use bench::{Bench, Found};
use cases::{Case, case};
use oracle::Outcome;

/// Compares what came of a case with what must come of it.
fn judge(case: &Case, found: Result<Found, String>) -> Result<(), String> {
    let found = found?;
    let expected = Outcome::of(&case.heard());
    if found.outcome.pending != expected.pending {
        return Err(format!(
            "pending {:?}, must be {:?}",
            found.outcome.pending, expected.pending
        ));
    }
    for (entity, table) in &expected.tables {
        let there = &found.outcome.tables[entity];
        if there != table {
            return Err(format!("{entity} is {there:#?}, must be {table:#?}"));
        }
    }
    let there: BTreeSet<(i32, String)> = expected.tables["articulo"]
        .values()
        .filter(|row| row["deleted_at"].is_null())
        .map(|row| {
            let id = row["id_articulo"].as_i64().unwrap();
            let name = row["nombre"].as_str().unwrap().to_owned();
            (i32::try_from(id).unwrap(), name)
        })
        .collect();
    if found.there != there {
        return Err(format!(
            "the hook kept {:?}, must be {there:?}",
            found.there
        ));
    }
    if !found.unaccounted.is_empty() {
        return Err(format!("accounts: {:?}", found.unaccounted));
    }
    Ok(())
}

/// The first case that fails, of this number of cases that are the same in every run.
fn first_failure(bench: &Bench, cases: u32) -> Option<String> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let property = |case: Case| judge(&case, bench.run(&case)).map_err(TestCaseError::fail);
    let run = TestRunner::new_with_rng(config, random).run(&case(), property);
    run.err().map(|failure| failure.to_string())
}

#[test]
fn any_order_of_the_messages_gives_the_tables_of_the_oracle() {
    let bench = Bench::new();
    let mut config = Config {
        source_file: Some(file!()),
        max_shrink_time: 60_000,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 80;
    }
    let property = |case: Case| judge(&case, bench.run(&case)).map_err(TestCaseError::fail);
    if let Err(failure) = TestRunner::new(config).run(&case(), property) {
        panic!("{failure}");
    }
}

#[test]
fn two_orders_of_the_same_messages_give_the_same_tables() {
    let bench = Bench::new();
    let config = Config {
        cases: 25,
        source_file: Some(file!()),
        ..Config::default()
    };
    let both = |(one, other): (Case, Case)| {
        let other = Case {
            sent: one.sent.clone(),
            ..other
        };
        let (one, other) = (bench.run(&one), bench.run(&other));
        let (one, other) = (
            one.map_err(TestCaseError::fail)?,
            other.map_err(TestCaseError::fail)?,
        );
        prop_assert_eq!(one.outcome, other.outcome);
        prop_assert_eq!(one.there, other.there);
        Ok(())
    };
    if let Err(failure) = TestRunner::new(config).run(&(case(), case()), both) {
        panic!("{failure}");
    }
}
