//! The part of JSON Schema 2020-12 that the OpenAPI document uses. A keyword that it does not know fails the test that asks,
//! so that nothing passes unseen.

use chrono::DateTime;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Keywords that do not affect validity.
const SILENT: [&str; 6] = [
    "description",
    "default",
    "title",
    "example",
    "examples",
    "deprecated",
];

/// Where a value breaks a schema of a document; empty where it does not.
pub fn errors(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "$", true, &mut found);
    found
}

/// `strict`: members that the schema does not name are errors, too: nobody documented them.
fn check(
    document: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
    strict: bool,
    found: &mut Vec<String>,
) {
    let empty = Map::new();
    let words = schema.as_object().unwrap_or(&empty);
    for (word, means) in words {
        // Errors of this word.
        let mut said = None;
        match word.as_str() {
            "type" => {
                if !is_of(means, value) {
                    said = Some(format!("{} is not of type {means}", short(value)));
                }
            }
            "enum" => {
                if !means.as_array().is_some_and(|some| some.contains(value)) {
                    said = Some(format!("{} is not one of {means}", short(value)));
                }
            }
            "format" => {
                if !is_formatted(means.as_str().unwrap_or_default(), value) {
                    said = Some(format!("{} is no {means}", short(value)));
                }
            }
            "minimum" => {
                let below = value.as_f64().zip(means.as_f64());
                if below.is_some_and(|(is, least)| is < least) {
                    said = Some(format!("{value} is less than {means}"));
                }
            }
            "required" if value.is_object() => {
                let names = means.as_array().into_iter().flatten();
                for name in names.filter_map(Value::as_str) {
                    if value.get(name).is_none() {
                        found.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "$ref" => {
                let pointer = means.as_str().unwrap_or_default().trim_start_matches('#');
                let referred = document.pointer(pointer).expect("a schema of the document");
                check(document, referred, value, at, strict, found);
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(
                        document,
                        means,
                        item,
                        &format!("{at}[{index}]"),
                        true,
                        found,
                    );
                }
            }
            "allOf" => {
                for part in means.as_array().into_iter().flatten() {
                    // A field that one part does not name may be named by another.
                    check(document, part, value, at, false, found);
                }
            }
            "oneOf" | "anyOf" => {
                let some = means.as_array().into_iter().flatten();
                let wrong: Vec<Vec<String>> =
                    some.map(|one| errors(document, one, value)).collect();
                if wrong.iter().all(|errors| !errors.is_empty()) {
                    said = Some(format!("fits nothing of {word}: {wrong:?}"));
                }
            }
            "properties" | "additionalProperties" | "propertyNames" | "required" => {}
            silent if SILENT.contains(&silent) => {}
            unknown => {
                said = Some(format!(
                    "the schema says {unknown}, which this test does not know"
                ));
            }
        }
        found.extend(said.map(|text| format!("{at}: {text}")));
    }
    members(document, words, value, at, strict, found);
}

fn members(
    document: &Value,
    words: &Map<String, Value>,
    value: &Value,
    at: &str,
    strict: bool,
    found: &mut Vec<String>,
) {
    let (Some(object), true) = (
        value.as_object(),
        words.contains_key("properties") || words.contains_key("additionalProperties"),
    ) else {
        return;
    };
    let named = words.get("properties").and_then(Value::as_object);
    let others = words.get("additionalProperties");
    for (name, member) in object {
        let at = format!("{at}.{name}");
        match (named.and_then(|named| named.get(name)), others) {
            (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                check(document, schema, member, &at, true, found);
            }
            (None, Some(Value::Bool(true))) => {}
            (None, Some(_)) => found.push(format!("{at} is not allowed")),
            (None, None) if strict => found.push(format!("{at} is not documented")),
            (None, None) => {}
        }
    }
}

fn is_of(kinds: &Value, value: &Value) -> bool {
    let one = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    match kinds {
        Value::String(kind) => one(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(one),
        _ => false,
    }
}

/// Formats are about values of their type only.
fn is_formatted(format: &str, value: &Value) -> bool {
    match (format, value) {
        ("int32", Value::Number(number)) => number
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_ok()),
        ("date-time", Value::String(text)) => DateTime::parse_from_rfc3339(text).is_ok(),
        ("uuid", Value::String(text)) => Uuid::parse_str(text).is_ok(),
        _ => true,
    }
}

/// A value as far as it fits into a line.
fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}
