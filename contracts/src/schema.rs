//! The contract of an entity as JSON Schema, for publishers to check their messages with. It is made from the struct
//! itself: names, types, ranges, lengths and lists.
//!
//! It is looser than the contract, never stricter but in one place: what a rule of its own decides (a date
//! that is not in the future, at most two decimals) is named under `x-acequia-rule` and not checked, and a text of a
//! closed list must be spelled as in the list. Of a message that deletes by its field `_op` it asks for the key alone; one that deletes by
//! header looks like a version here.

use serde_json::{Map, Value, json};

use crate::CONTRACT_VERSION;
use crate::catalog::Entity;
use crate::delete::OP_FIELD;
use crate::field::Kind;
use crate::message::Column;

/// The JSON Schema (draft 2020-12) of the messages of an entity.
#[must_use]
pub fn schema(entity: &Entity) -> Value {
    let mut properties: Map<String, Value> = entity
        .columns
        .iter()
        .map(|column| (column.name.to_owned(), property(column)))
        .collect();
    for (other, name) in entity.aliases {
        let mut same = properties.get(*name).cloned().unwrap_or_default();
        same["description"] = format!("Another name of {name}").into();
        properties.insert((*other).to_owned(), same);
    }
    let text = |about: &str| json!({"type": ["string", "null"], "description": about});
    properties.insert(
        "ts".to_owned(),
        json!({"type": ["string", "null"], "format": "date-time",
            "description": "Event time: of two versions of a row the later one wins"}),
    );
    properties.insert(
        "event_id".to_owned(),
        text("Identity of the message when AMQP message_id is not set"),
    );
    properties.insert(
        "entity".to_owned(),
        text("Entity, when neither AMQP type nor routing key names it"),
    );
    properties.insert(
        "v".to_owned(),
        json!({"enum": [CONTRACT_VERSION, null], "description": "Version of the contract"}),
    );

    let deletes = entity.merge_spec.deletes;
    if deletes {
        properties.insert(
            OP_FIELD.to_owned(),
            json!({"enum": ["delete", "upsert", null],
                "description": "delete: the key is gone, and only key and envelope count"}),
        );
    }
    // Whose presence a body that deletes does without.
    let dispensable = |column: &&Column| deletes && !entity.key.contains(&column.name);
    let is_delete = json!({"properties": {OP_FIELD: {"enum": ["delete"]}}, "required": [OP_FIELD]});

    let other_name =
        |column: &&Column| entity.aliases.iter().find(|(_, name)| *name == column.name);
    let needed = || entity.columns.iter().filter(|column| column.required);
    let (values, required): (Vec<_>, Vec<_>) = needed()
        .filter(|column| other_name(column).is_none())
        .partition(dispensable);
    let names =
        |columns: Vec<&Column>| columns.iter().map(|column| column.name).collect::<Vec<_>>();
    let required = names(required);
    let mut either: Vec<_> = needed()
        .filter_map(|column| {
            let (other, name) = other_name(&column)?;
            let mut ways = vec![json!({"required": [name]}), json!({"required": [other]})];
            ways.extend(dispensable(&column).then(|| is_delete.clone()));
            Some(json!({"anyOf": ways}))
        })
        .collect();
    if !values.is_empty() {
        either.push(json!({"anyOf": [{"required": names(values)}, is_delete]}));
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("{}.{}", entity.domain, entity.name),
        "type": "object",
        "properties": properties,
        "required": required,
        "x-acequia-key": entity.key,
    });
    if !either.is_empty() {
        schema["allOf"] = either.into();
    }
    schema
}

/// What a field may be.
fn property(column: &Column) -> Value {
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
        Kind::Date => {
            made["format"] = "date".into();
            made["pattern"] = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$".into();
        }
        Kind::Timestamp => made["format"] = "date-time".into(),
        Kind::Choice => {
            let mut texts: Vec<Value> = column.choices.iter().map(|text| json!(text)).collect();
            if !column.required {
                texts.push(Value::Null);
            }
            made["enum"] = texts.into();
        }
        Kind::BigInt | Kind::Float | Kind::Decimal | Kind::Bool | Kind::Text => {}
    }
    let attributes = || column.attributes.split('\u{1e}').map(str::trim);
    let about: Vec<_> = attributes().filter_map(documented).collect();
    if !about.is_empty() {
        made["description"] = about.join(" ").into();
    }
    for rule in attributes().filter_map(|text| text.strip_prefix("validate")) {
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
        if let Some(function) = argument(rule, "custom", "function") {
            made["x-acequia-rule"] = function.trim_matches('"').into();
        }
    }
    made
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
