//! Any bytes as a body: decoding does not panic, and it either gives every column of the
//! entity one more value, or leaves all of them as they were and says why without the value.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod hostile;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use acequia_contracts::{Code, Entity, Stage, Values, Violation, entity_of, fixtures};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::hostile::{hostile_body, mutated_sample};
use crate::support::{context, entities, text, values};

/// Fields that every body may have beside the entity's own.
pub const ENVELOPE: [&str; 5] = ["ts", "event_id", "entity", "v", "_op"];

/// An entity with columns that hold all its valid samples.
struct Target {
    entity: &'static Entity,
    filled: Vec<Values>,
    rows: usize,
}

static TARGETS: LazyLock<Vec<Target>> = LazyLock::new(|| {
    let target = |entity: &'static Entity| {
        let mut filled = entity.new_columns();
        let samples = fixtures::valid(entity.domain, entity.name);
        for sample in &samples {
            let taken = entity.decode(text(sample.body), &context(), &mut filled);
            taken.expect(sample.name);
        }
        Target {
            entity,
            filled,
            rows: samples.len(),
        }
    };
    entities().map(target).collect()
});

/// Outcomes of the bodies of a run, so that a test can tell that it tested something.
#[derive(Default)]
struct Seen {
    accepted: usize,
    refused: BTreeSet<Code>,
}

/// How many values a column holds, and whether the last of them is null.
fn shape(values: &Values) -> (usize, bool) {
    fn of<T>(values: &[Option<T>]) -> (usize, bool) {
        (values.len(), values.last().is_some_and(Option::is_none))
    }
    match values {
        Values::Int(values) => of(values),
        Values::BigInt(values) => of(values),
        Values::Float(values) => of(values),
        Values::Bool(values) => of(values),
        Values::Text(values) => of(values),
        Values::Decimal(values) => of(values),
        Values::Date(values) => of(values),
        Values::Timestamp(values) => of(values),
    }
}

/// Decodes a body as every entity there is and checks each outcome.
fn take_as_everything(body: &str, seen: &mut Seen) {
    for target in TARGETS.iter() {
        take(target, body, seen);
    }
    let _ = entity_of(body);
}

fn take(target: &Target, body: &str, seen: &mut Seen) {
    let entity = target.entity;
    let mut columns = target.filled.clone();
    let outcome = entity.decode(body, &context(), &mut columns);
    match &outcome {
        Ok(_) => {
            seen.accepted += 1;
            for (column, values) in entity.columns.iter().zip(&columns) {
                let (rows, null) = shape(values);
                assert_eq!(rows, target.rows + 1, "{} of {body:?}", column.name);
                assert!(!(null && column.required), "{} of {body:?}", column.name);
                if let Values::Text(texts) = values {
                    let stored = texts.last().cloned().flatten().unwrap_or_default();
                    assert!(!stored.contains('\0'), "{} of {body:?}", column.name);
                }
            }
            // The rows that were there before are still there, and can be restored.
            for values in &mut columns {
                values.truncate(target.rows);
            }
        }
        Err(violations) => {
            assert!(!violations.is_empty(), "refused without a reason: {body:?}");
            let place = |violation: &Violation| (violation.path.clone(), violation.code);
            assert!(
                violations.is_sorted_by_key(place),
                "{violations:?} of {body:?}"
            );
            let repeatable = values(body);
            for violation in violations {
                seen.refused.insert(violation.code);
                check_violation(entity, violation, &repeatable, body);
            }
        }
    }
    assert_eq!(columns, target.filled, "{body:?}");
    let again = entity.decode(body, &context(), &mut columns);
    assert_eq!(outcome, again, "{body:?}");
}

fn check_violation(entity: &Entity, violation: &Violation, repeatable: &[String], body: &str) {
    let known = |path: &str| {
        let mut columns = entity.columns.iter();
        path.is_empty() || ENVELOPE.contains(&path) || columns.any(|column| column.name == path)
    };
    assert!(known(&violation.path), "{violation:?} of {body:?}");
    let stage = violation.code.stage();
    assert!(
        matches!(stage, Stage::Decode | Stage::Contract),
        "{violation:?} of {body:?}"
    );
    assert!(!violation.message.is_empty(), "{violation:?} of {body:?}");
    // The report's sentence when it cannot explain the decoder's refusal.
    assert_ne!(
        violation.message, "the body does not have the form of its entity",
        "{body:?}"
    );
    for value in repeatable {
        // Shorter ones are parts of some sentence by chance.
        assert!(
            value.len() < 8 || !violation.message.contains(value),
            "{violation:?} repeats {value:?} of {body:?}"
        );
    }
}

/// A body that is shown as text when a test fails.
#[derive(Clone)]
struct Body(Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

/// Runs bodies through all entities: `cases` of them, or `PROPTEST_CASES`.
fn run(cases: u32, bodies: impl Strategy<Value = Vec<u8>>) -> Seen {
    let mut config = Config {
        // The smallest failing body is printed; it belongs into a test of its own.
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let seen = std::cell::RefCell::new(Seen::default());
    let result = TestRunner::new(config).run(&bodies.prop_map(Body), |Body(body)| {
        // Bytes that are no UTF-8 are refused before they come here.
        take_as_everything(&String::from_utf8_lossy(&body), &mut seen.borrow_mut());
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    seen.into_inner()
}

#[test]
fn arbitrary_bytes() {
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..300),
        ".{0,200}".prop_map(String::into_bytes),
        "[\\[\\]{}\",:0-9eE.+\\- \\\\u]{0,60}".prop_map(String::into_bytes),
    ];
    let seen = run(2_000, bytes);
    assert!(seen.refused.contains(&Code::InvalidJson));
}

#[test]
fn arbitrary_json() {
    let seen = run(3_000, hostile_body());
    for code in [
        Code::InvalidJson,
        Code::TooDeep,
        Code::MissingField,
        Code::DuplicateField,
        Code::InvalidType,
        Code::OutOfRange,
    ] {
        assert!(seen.refused.contains(&code), "{code} never came");
    }
}

#[test]
fn mutated_samples() {
    let seen = run(4_000, mutated_sample());
    assert!(seen.accepted > 100, "only {} were valid", seen.accepted);
    for code in Code::ALL {
        let of_the_body = !matches!(
            code,
            Code::TooLarge
                | Code::NotUtf8
                | Code::DecoderFailed
                | Code::UnknownEntity
                | Code::PropertyNotUtf8
                | Code::PropertyMalformed
                | Code::HeadersTooDeep
        );
        let of_a_rule = matches!(code.stage(), Stage::Decode | Stage::Contract);
        // No entity has a rule over several fields so far.
        if of_the_body && of_a_rule && code != Code::Inconsistent {
            assert!(seen.refused.contains(&code), "{code} never came");
        }
    }
}

/// A decoder that fails half-way leaves columns of different lengths; truncating them is what
/// makes them whole again.
#[test]
fn truncating_undoes_a_row_that_is_half_there() {
    for target in TARGETS.iter() {
        for cut in 0..=target.filled.len() {
            let mut columns = target.filled.clone();
            for values in columns.iter_mut().skip(cut) {
                values.truncate(target.rows - 1);
            }
            for values in &mut columns {
                values.truncate(target.rows - 1);
            }
            let lengths: BTreeSet<_> = columns.iter().map(|values| shape(values).0).collect();
            assert_eq!(lengths, BTreeSet::from([target.rows - 1]));
        }
    }
}
