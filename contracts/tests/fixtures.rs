//! Every sample message of every entity: what the valid ones become, why the invalid ones are
//! refused. The samples of a new entity are found by themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fmt::Write as _;

use acequia_contracts::{Entity, Values, fixtures};

use crate::support::{context, entities, text, values};

#[test]
fn every_entity_has_samples() {
    for Entity { domain, name, .. } in entities() {
        let valid = fixtures::valid(domain, name).len();
        let invalid = fixtures::invalid(domain, name).len();
        assert!(valid >= 1, "{domain}.{name} has no valid sample");
        assert!(
            invalid >= 2,
            "{domain}.{name} has only {invalid} invalid samples"
        );
    }
}

/// Bodies go on one line each, so that they can be sent from a file as they are.
#[test]
fn a_sample_is_one_line() {
    for Entity { domain, name, .. } in entities() {
        for sample in [
            fixtures::valid(domain, name),
            fixtures::invalid(domain, name),
        ]
        .concat()
        {
            let lines = text(sample.body).lines().count();
            assert_eq!(lines, 1, "{domain}.{name}: {}", sample.name);
        }
    }
}

#[test]
fn samples_decode_as_recorded() {
    for entity in entities() {
        insta::assert_snapshot!(format!("{}.{}", entity.domain, entity.name), record(entity));
    }
}

#[test]
fn no_violation_repeats_a_value() {
    for entity in entities() {
        for sample in fixtures::invalid(entity.domain, entity.name) {
            let body = text(sample.body);
            let mut columns = entity.new_columns();
            let violations = entity.decode(body, &context(), &mut columns).unwrap_err();
            for value in values(body) {
                for violation in &violations {
                    assert!(
                        !violation.message.contains(&value),
                        "{}.{}/{}: {violation:?} repeats a value",
                        entity.domain,
                        entity.name,
                        sample.name,
                    );
                }
            }
        }
    }
}

/// All samples of an entity with what became of them.
fn record(entity: &Entity) -> String {
    let mut record = String::new();
    for sample in fixtures::valid(entity.domain, entity.name) {
        let mut columns = entity.new_columns();
        let envelope = entity
            .decode(text(sample.body), &context(), &mut columns)
            .unwrap_or_else(|why| panic!("{}/{}: {why:?}", entity.name, sample.name));
        writeln!(record, "valid {}", sample.name).unwrap();
        for (column, values) in entity.columns.iter().zip(&columns) {
            writeln!(record, "  {} = {}", column.name, only_value(values)).unwrap();
        }
        writeln!(record, "  {envelope:?}").unwrap();
    }
    for sample in fixtures::invalid(entity.domain, entity.name) {
        let mut columns = entity.new_columns();
        let Err(violations) = entity.decode(text(sample.body), &context(), &mut columns) else {
            panic!("{}/{} is taken for valid", entity.name, sample.name);
        };
        assert_eq!(columns, entity.new_columns(), "a refused message left rows");
        writeln!(record, "invalid {}", sample.name).unwrap();
        for violation in violations {
            writeln!(record, "  {violation}").unwrap();
        }
    }
    record
}

/// The value of a column that must have exactly one.
fn only_value(values: &Values) -> String {
    fn show<T: std::fmt::Debug>(values: &[Option<T>]) -> String {
        let [value] = values else {
            panic!("{} values for one message", values.len());
        };
        value
            .as_ref()
            .map_or("null".to_owned(), |value| format!("{value:?}"))
    }
    match values {
        Values::Int(values) => show(values),
        Values::BigInt(values) => show(values),
        Values::Float(values) => show(values),
        Values::Bool(values) => show(values),
        Values::Text(values) => show(values),
        Values::Decimal(values) => show(values),
        Values::Date(values) => show(values),
        Values::Timestamp(values) => show(values),
    }
}

#[test]
fn values_are_found_in_broken_json_too() {
    let found = values(r#"{"key":"some \"text\"","n":[12345,-1.5e400,true],"cut":"off by the e"#);
    assert_eq!(
        found,
        [r#"some \"text\""#, "12345", "-1.5e400", "off by the e"]
    );
}
