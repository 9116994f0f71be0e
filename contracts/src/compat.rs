//! Finds messages that an earlier contract accepted and a later one refuses, by comparing their JSON Schemas.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::schema::{ALIAS_OF, KEY, RULES};

/// The kind of a breaking change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The entity is not there any more.
    EntityRemoved,
    /// The field, or another name of it, is not there any more: it is ignored now.
    FieldRemoved,
    /// The field must be there now.
    FieldRequired,
    /// The field takes fewer types.
    TypeNarrowed,
    /// The limits of a number are narrower.
    RangeNarrowed,
    /// The limits of a text's length are narrower.
    LengthNarrowed,
    /// The list of values is shorter, or there was none.
    ValueRemoved,
    /// A text must have another form.
    FormChanged,
    /// A rule that JSON Schema cannot say is new.
    RuleAdded,
    /// The key consists of other fields: other rows count as the same.
    KeyChanged,
}

impl ChangeKind {
    /// The kind as it is shown: `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntityRemoved => "entity_removed",
            Self::FieldRemoved => "field_removed",
            Self::FieldRequired => "field_required",
            Self::TypeNarrowed => "type_narrowed",
            Self::RangeNarrowed => "range_narrowed",
            Self::LengthNarrowed => "length_narrowed",
            Self::ValueRemoved => "value_removed",
            Self::FormChanged => "form_changed",
            Self::RuleAdded => "rule_added",
            Self::KeyChanged => "key_changed",
        }
    }
}

/// A change that breaks publishers of the earlier contract.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Breaking {
    /// The field; empty for the entity as a whole.
    pub field: String,
    /// Kind of the change.
    pub change: ChangeKind,
    /// A sentence with before and after.
    pub message: String,
}

/// Changes by which `now` refuses or ignores parts of messages that fit `was`; both are schemas of
/// [`crate::schema`]. Sorted by field.
#[must_use]
pub fn breaking(was: &Value, now: &Value) -> Vec<Breaking> {
    let mut found = Vec::new();
    for (field, was) in members(&was["properties"]) {
        match now["properties"].get(field) {
            None => push(
                &mut found,
                field,
                ChangeKind::FieldRemoved,
                "is not known any more".to_owned(),
            ),
            Some(now) => narrower(field, was, now, &mut found),
        }
    }
    for (field, property) in members(&now["properties"]) {
        let new = was["properties"].get(field).is_none() && property.get(ALIAS_OF).is_none();
        if new && types(property).is_some_and(|types| !types.contains("null")) {
            let message = "is new and must be there".to_owned();
            push(&mut found, field, ChangeKind::FieldRequired, message);
        }
    }
    // Exports of an earlier program have no list of rules.
    if was[RULES].is_array() {
        rules(was, now, &mut found);
    }
    if was[KEY] != now[KEY] {
        let message = format!("the key is {}, was {}", now[KEY], was[KEY]);
        push(&mut found, "", ChangeKind::KeyChanged, message);
    }
    found.sort();
    found
}

/// Ways in which a field accepts less than before.
fn narrower(field: &str, was: &Value, now: &Value, found: &mut Vec<Breaking>) {
    let types_now = types(now);
    let nullable = |property: &Value| {
        let list = property["enum"].as_array();
        types(property).is_none_or(|types| types.contains("null"))
            && list.is_none_or(|list| list.contains(&Value::Null))
    };
    if nullable(was) && !nullable(now) {
        let message = "must be there, was optional".to_owned();
        push(found, field, ChangeKind::FieldRequired, message);
    }
    if let Some(now) = types_now {
        let accepts = |name: &&str| {
            *name == "null" || now.contains(*name) || (*name == "integer" && now.contains("number"))
        };
        let was = types(was).unwrap_or_default();
        let lost: Vec<_> = was.iter().copied().filter(|name| !accepts(name)).collect();
        if !lost.is_empty() || was.is_empty() {
            let lists = [now, was].map(listed);
            let message = format!("is {}, was {}", lists[0], lists[1]);
            push(found, field, ChangeKind::TypeNarrowed, message);
        }
    }
    for (word, kind, lower) in [
        ("minimum", ChangeKind::RangeNarrowed, true),
        ("maximum", ChangeKind::RangeNarrowed, false),
        ("minLength", ChangeKind::LengthNarrowed, true),
        ("maxLength", ChangeKind::LengthNarrowed, false),
    ] {
        let (before, after) = (&was[word], &now[word]);
        let narrowed = match (before.as_f64(), after.as_f64()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(after)) if lower => after > before,
            (Some(before), Some(after)) => after < before,
        };
        if narrowed {
            push(found, field, kind, said(word, before, after));
        }
    }
    if let Some(after) = now["enum"].as_array() {
        let before = was["enum"].as_array();
        let lost: Vec<_> = before
            .into_iter()
            .flatten()
            .filter(|value| !value.is_null() && !after.contains(value))
            .map(ToString::to_string)
            .collect();
        if before.is_none() {
            let message = "has a list of values, had none".to_owned();
            push(found, field, ChangeKind::ValueRemoved, message);
        } else if !lost.is_empty() {
            let message = format!("does not take {} any more", lost.join(", "));
            push(found, field, ChangeKind::ValueRemoved, message);
        }
    }
    if now["pattern"].is_string() && was["pattern"] != now["pattern"] {
        let message = said("pattern", &was["pattern"], &now["pattern"]);
        push(found, field, ChangeKind::FormChanged, message);
    }
}

/// Rules beyond JSON Schema that are new for a field which was there before.
fn rules(was: &Value, now: &Value, found: &mut Vec<Breaking>) {
    let codes = |schema: &Value, field: &str| -> BTreeSet<String> {
        let entries = schema[RULES].as_array().cloned().unwrap_or_default();
        let of_field = entries.iter().filter(|entry| {
            let mut fields = entry["fields"].as_array().into_iter().flatten();
            fields.any(|one| one == field)
        });
        of_field
            .filter_map(|entry| entry["codes"].as_array())
            .flatten()
            .filter_map(|code| code.as_str().map(ToOwned::to_owned))
            .collect()
    };
    for (field, _) in members(&was["properties"]) {
        let before = codes(was, field);
        let new: Vec<_> = codes(now, field).difference(&before).cloned().collect();
        if !new.is_empty() {
            let message = format!("can be refused as {}", new.join(", "));
            push(found, field, ChangeKind::RuleAdded, message);
        }
    }
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

/// The types that a property takes; nothing when it says nothing of types.
fn types(property: &Value) -> Option<BTreeSet<&str>> {
    match property.get("type")? {
        Value::Array(types) => Some(types.iter().filter_map(Value::as_str).collect()),
        one => one.as_str().map(|one| BTreeSet::from([one])),
    }
}

/// Types in words.
fn listed(types: BTreeSet<&str>) -> String {
    if types.is_empty() {
        return "anything".to_owned();
    }
    types.into_iter().collect::<Vec<_>>().join(" or ")
}

/// A word of JSON Schema before and after.
fn said(word: &str, was: &Value, now: &Value) -> String {
    if was.is_null() {
        format!("{word} is {now}, there was none")
    } else {
        format!("{word} is {now}, was {was}")
    }
}

fn push(found: &mut Vec<Breaking>, field: &str, change: ChangeKind, message: String) {
    found.push(Breaking {
        field: field.to_owned(),
        change,
        message,
    });
}
