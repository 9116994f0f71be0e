//! Random orders, batches and promotions of random messages.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Sent;
use super::random::{Random, Said, random};

/// The step after a delivery.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    GoOn,
    Stage,
    /// Stages, and promotes batches of up to this number of rows.
    Promote(i32),
}

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) messages: BTreeMap<u16, Random>,
    pub(super) then: Vec<Then>,
    pub(super) other_then: Vec<Then>,
}

fn case() -> impl Strategy<Value = Case> {
    let then = || {
        let step = prop_oneof![
            6 => Just(Then::GoOn),
            2 => Just(Then::Stage),
            1 => prop_oneof![1..=4, Just(20_000)].prop_map(Then::Promote),
        ];
        prop::collection::vec(step, 1..=30)
    };
    let messages = prop::collection::btree_map(0_u16..2_000, random(), 1..=45);
    (messages, then(), then()).prop_map(|(messages, then, other_then)| Case {
        messages,
        then,
        other_then,
    })
}

impl Case {
    /// The messages that the contract accepts, and the others.
    pub(super) fn sent(&self) -> (BTreeMap<u16, Sent>, BTreeMap<u16, Sent>) {
        self.messages
            .iter()
            .map(|(&number, random)| (number, random.sent(number)))
            .partition(|(number, _)| !matches!(self.messages[number].said, Said::Nonsense { .. }))
    }

    pub(super) fn order<'a>(
        &self,
        sent: [&'a BTreeMap<u16, Sent>; 2],
        of: fn(&Random) -> &[u16],
    ) -> Vec<&'a Sent> {
        let mut places: Vec<(u16, u16)> = self
            .messages
            .iter()
            .flat_map(|(&number, random)| of(random).iter().map(move |&place| (place, number)))
            .collect();
        places.sort_unstable();
        places
            .iter()
            .map(|(_, number)| sent[0].get(number).or_else(|| sent[1].get(number)).unwrap())
            .collect()
    }
}

/// Runs a property on random cases: 40, or `PROPTEST_CASES`. A failing case is made as small as
/// can be and printed with its seed.
pub(super) fn for_random_cases(property: impl Fn(Case) -> Result<(), TestCaseError>) {
    let mut config = Config {
        source_file: Some(file!()),
        max_shrink_time: 60_000,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 40;
    }
    if std::env::var_os("PROPTEST_MAX_SHRINK_ITERS").is_none() {
        config.max_shrink_iters = 2_000;
    }
    if let Err(failure) = TestRunner::new(config).run(&case(), property) {
        panic!("{failure}");
    }
}
