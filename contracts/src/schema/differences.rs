//! Possible differences between a schema and the contract: rules that JSON Schema cannot express, and a few
//! that it expresses more strictly.

use serde_json::{Value, json};

use super::property::{custom_rule, is_trimmed};
use super::rule::{EVENT_TIME, Rule};
use crate::catalog::Entity;
use crate::delete::OP_FIELD;
use crate::field::Kind;
use crate::message::Column;
use crate::violation::Code;

/// The differences, each with its fields (none means any field, and the body as a whole), the codes of violations and a text.
pub fn differences(entity: &Entity) -> Vec<Value> {
    let names = |wanted: &dyn Fn(&Column) -> bool, more: &[&'static str]| -> Vec<&'static str> {
        let columns = entity.columns.iter().filter(|column| wanted(column));
        let names = columns.map(|column| column.name);
        names.chain(more.iter().copied()).collect()
    };
    let of = |kind: Kind| move |column: &Column| column.kind == kind;
    let bytes = entry(
        &[],
        &[
            Code::TooLarge,
            Code::NotUtf8,
            Code::InvalidJson,
            Code::TooDeep,
            Code::DuplicateField,
        ],
        "one JSON object in UTF-8, at most 1 MiB, at most 64 levels deep; no key stands twice in its object, nor a field under two of its names",
    );
    let by_type: [(Vec<&str>, &[Code], &str); 8] = [
        (
            names(
                &|column| matches!(column.kind, Kind::Int | Kind::BigInt),
                &["v"],
            ),
            &[Code::InvalidType, Code::OutOfRange],
            "an integer is written without point and exponent, and zero without a sign",
        ),
        (
            names(&is_trimmed, &[]),
            &[Code::InvalidLength],
            "white space around the text is dropped, and does not count",
        ),
        (
            names(&of(Kind::Choice), &[OP_FIELD]),
            &[Code::NotAllowed],
            "other case, and white space around, is accepted too",
        ),
        (
            names(&of(Kind::Decimal), &[]),
            &[Code::TooPrecise],
            "at most 28 decimals; zeros at the end do not count",
        ),
        (
            names(&of(Kind::Date), &[]),
            &[Code::InvalidDate],
            "a day of the calendar, from year 1",
        ),
        (
            names(&of(Kind::Timestamp), &["ts"]),
            &[Code::InvalidDate],
            "a day of the calendar and a time of the day; second 60 at 23:59:60 UTC only",
        ),
        (
            vec!["ts"],
            &[Code::InvalidDate, Code::FutureDate],
            EVENT_TIME,
        ),
        (
            vec!["entity"],
            &[Code::UnknownEntity],
            "when it is there, it names this entity",
        ),
    ];
    let by_type = by_type
        .into_iter()
        .filter(|(fields, ..)| !fields.is_empty())
        .map(|(fields, codes, text)| entry(&fields, codes, text));
    let own = entity.columns.iter().filter_map(|column| {
        let rule = Rule::find(entity.rules, custom_rule(column)?)?;
        let mut own = entry(&[column.name], rule.codes, rule.text);
        own["rule"] = rule.function.into();
        (!rule.codes.is_empty()).then_some(own)
    });
    [bytes].into_iter().chain(by_type).chain(own).collect()
}

fn entry(fields: &[&str], codes: &[Code], description: &str) -> Value {
    let codes: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    json!({"fields": fields, "codes": codes, "description": description})
}
