//! The schema of one field, from its type and its attributes.

use serde_json::{Value, json};

use super::rule::Rule;
use crate::field::Kind;
use crate::message::Column;

/// No U+0000, which no text of PostgreSQL can hold.
const NO_NUL: &str = "^[^\\u0000]*$";
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
/// The form of an instant; its day and time have to exist as well.
pub const INSTANT: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";

/// JSON Schema of a field.
pub fn property(column: &Column, rules: &'static [Rule]) -> Value {
    let name = match column.kind {
        Kind::Int | Kind::BigInt => "integer",
        Kind::Float | Kind::Decimal => "number",
        Kind::Bool => "boolean",
        Kind::Text | Kind::Choice | Kind::Date | Kind::Timestamp => "string",
    };
    let mut made =
        json!({"type": if column.required { json!(name) } else { json!([name, "null"]) }});
    match column.kind {
        Kind::Int => {
            made["minimum"] = i32::MIN.into();
            made["maximum"] = i32::MAX.into();
        }
        Kind::BigInt => {
            made["minimum"] = i64::MIN.into();
            made["maximum"] = i64::MAX.into();
        }
        Kind::Date => {
            made["format"] = "date".into();
            made["pattern"] = DATE.into();
        }
        Kind::Timestamp => {
            made["format"] = "date-time".into();
            made["pattern"] = INSTANT.into();
        }
        Kind::Choice => {
            let mut texts: Vec<Value> = column.choices.iter().map(|text| json!(text)).collect();
            if !column.required {
                texts.push(Value::Null);
            }
            made["enum"] = texts.into();
        }
        Kind::Text => made["pattern"] = NO_NUL.into(),
        Kind::Float | Kind::Decimal | Kind::Bool => {}
    }
    let about: Vec<_> = attributes(column).filter_map(documented).collect();
    if !about.is_empty() {
        made["description"] = about.join(" ").into();
    }
    for rule in validations(column) {
        for (kind, limit, key) in [
            ("range", "min", "minimum"),
            ("range", "max", "maximum"),
            ("length", "min", "minLength"),
            ("length", "max", "maxLength"),
        ] {
            let number = argument(rule, kind, limit).and_then(|text| text.parse::<i64>().ok());
            if let Some(number) = number {
                made[key] = number.into();
            }
        }
    }
    if let Some(function) = custom_rule(column) {
        let words = Rule::find(rules, function).and_then(Rule::words);
        for (word, value) in words.unwrap_or_default() {
            made[word] = value;
        }
        made["x-acequia-rule"] = function.into();
    }
    made
}

/// The function that checks a field, if it has one of its own.
pub fn custom_rule(column: &Column) -> Option<&'static str> {
    validations(column)
        .find_map(|rule| argument(rule, "custom", "function"))
        .map(|function| function.trim_matches('"'))
}

/// Whether white space around a text is dropped before it is checked.
pub fn is_trimmed(column: &Column) -> bool {
    let mut serde = attributes(column).filter(|text| text.starts_with("serde"));
    serde.any(|text| argument(text, "serde", "deserialize_with") == Some("\"trimmed\""))
}

fn attributes(column: &Column) -> impl Iterator<Item = &'static str> {
    column.attributes.split('\u{1e}').map(str::trim)
}

/// The rules of `validator`.
fn validations(column: &Column) -> impl Iterator<Item = &'static str> {
    attributes(column).filter_map(|text| text.strip_prefix("validate"))
}

/// The text of a documentation comment.
fn documented(attribute: &str) -> Option<String> {
    let text = attribute.strip_prefix("doc")?;
    let text = text.split_once('"')?.1.rsplit_once('"')?.0;
    Some(text.trim().replace("\\\"", "\""))
}

/// The value of an argument: `min` of `(range(min = 1, max = 9))`.
fn argument<'a>(rule: &'a str, kind: &str, name: &str) -> Option<&'a str> {
    let (_, arguments) = rule.split_once(&format!("{kind}("))?;
    let (arguments, _) = arguments.split_once(')')?;
    arguments.split(',').find_map(|part| {
        let (found, value) = part.split_once('=')?;
        (found.trim() == name).then_some(value.trim())
    })
}
