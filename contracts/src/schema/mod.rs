//! The contract of an entity as JSON Schema, for publishers to check their messages with. It is made from the struct
//! itself: names, types, ranges, lengths and lists.
//!
//! Whatever JSON Schema cannot say, or says differently, is listed under `x-acequia-rules` with the fields and the codes of
//! violations concerned: only there may a validator and the contract disagree. Of a message that deletes by its field `_op`
//! the schema asks for the key alone; one that deletes by header looks like a version here.

mod differences;
mod property;
mod rule;

use serde_json::{Map, Value, json};

use crate::CONTRACT_VERSION;
use crate::catalog::Entity;
use crate::delete::OP_FIELD;
use crate::message::Column;

use self::property::{INSTANT, property};
pub use self::rule::Rule;

pub(crate) use self::property::custom_rule;

/// Member of a schema that names its key.
pub const KEY: &str = "x-acequia-key";
/// Member of a schema that lists where it and the contract may disagree.
pub const RULES: &str = "x-acequia-rules";
/// Member of a property that is another name of a field.
pub const ALIAS_OF: &str = "x-acequia-alias-of";

/// The JSON Schema (draft 2020-12) of the messages of an entity.
#[must_use]
pub fn schema(entity: &Entity) -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("{}.{}", entity.domain, entity.name),
        "type": "object",
        "properties": properties(entity),
        KEY: entity.key,
        RULES: differences::differences(entity),
    });
    let (required, conditions) = presence(entity);
    schema["required"] = required.into();
    if !conditions.is_empty() {
        schema["allOf"] = conditions.into();
    }
    schema
}

/// The fields with their other names, and those of the envelope.
fn properties(entity: &Entity) -> Map<String, Value> {
    let mut properties: Map<String, Value> = entity
        .columns
        .iter()
        .map(|column| (column.name.to_owned(), property(column, entity.rules)))
        .collect();
    for (other, name) in entity.aliases {
        let mut same = properties.get(*name).cloned().unwrap_or_default();
        same["description"] = format!("Another name of {name}").into();
        same[ALIAS_OF] = (*name).into();
        properties.insert((*other).to_owned(), same);
    }
    let text = |about: &str| json!({"type": ["string", "null"], "description": about});
    properties.insert(
        "ts".to_owned(),
        json!({"type": ["string", "null"], "format": "date-time", "pattern": INSTANT,
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
    let op = if entity.merge_spec.deletes {
        json!({"enum": ["delete", "upsert", null],
            "description": "delete: the key is gone, and only key and envelope count"})
    } else {
        json!({"enum": ["upsert", null],
            "description": "upsert says the same as nothing: messages of this entity do not delete"})
    };
    properties.insert(OP_FIELD.to_owned(), op);
    properties
}

/// The fields that every message has, and conditions on the presence of the others: fields with two names, and
/// those that a body that deletes does without.
fn presence(entity: &Entity) -> (Vec<&'static str>, Vec<Value>) {
    let dispensable =
        |column: &&Column| entity.merge_spec.deletes && !entity.key.contains(&column.name);
    let is_delete = json!({"properties": {OP_FIELD: {"enum": ["delete"]}}, "required": [OP_FIELD]});
    let other_name =
        |column: &&Column| entity.aliases.iter().find(|(_, name)| *name == column.name);
    let needed = || entity.columns.iter().filter(|column| column.required);
    let (values, required): (Vec<_>, Vec<_>) = needed()
        .filter(|column| other_name(column).is_none())
        .partition(dispensable);
    let names = |columns: Vec<&'static Column>| columns.iter().map(|column| column.name).collect();
    let mut conditions: Vec<_> = needed()
        .filter_map(|column| {
            let (other, name) = other_name(&column)?;
            let mut ways = vec![json!({"required": [name]}), json!({"required": [other]})];
            ways.extend(dispensable(&column).then(|| is_delete.clone()));
            Some(json!({"anyOf": ways}))
        })
        .collect();
    let values: Vec<&str> = names(values);
    if !values.is_empty() {
        conditions.push(json!({"anyOf": [{"required": values}, is_delete]}));
    }
    (names(required), conditions)
}
