//! Which changes of a contract break publishers.
#![allow(clippy::unwrap_used, missing_docs)]

use acequia_contracts::{ChangeKind, breaking, catalog, schema};
use serde_json::{Value, json};

/// The schema of a student with a change, and the student as it is.
fn changed(change: impl FnOnce(&mut Value)) -> (Value, Value) {
    let entity = acequia_contracts::domain("academico").unwrap();
    let now = schema(entity.find("alumno").unwrap());
    let mut other = now.clone();
    change(&mut other);
    (other, now)
}

/// Field and kind of what breaks when the other schema was there before, and when it comes after.
fn both_ways(change: impl FnOnce(&mut Value)) -> [Vec<(String, ChangeKind)>; 2] {
    let (other, now) = changed(change);
    [breaking(&other, &now), breaking(&now, &other)].map(|found| {
        found
            .into_iter()
            .map(|one| (one.field, one.change))
            .collect()
    })
}

#[test]
fn nothing_breaks_when_nothing_changes() {
    for entity in catalog().iter().flat_map(|domain| &domain.entities) {
        assert_eq!(breaking(&schema(entity), &schema(entity)), []);
    }
}

/// A field, a change that widens its contract, and what taking it back breaks.
type Case = (&'static str, fn(&mut Value), ChangeKind);

#[test]
fn a_narrower_contract_breaks_and_a_wider_one_does_not() {
    let field = |name: &str, kind| vec![(name.to_owned(), kind)];
    let cases: [Case; 8] = [
        (
            "edad",
            |schema| schema["properties"]["edad"]["maximum"] = json!(150),
            ChangeKind::RangeNarrowed,
        ),
        (
            "edad",
            |schema| schema["properties"]["edad"]["minimum"] = json!(0),
            ChangeKind::RangeNarrowed,
        ),
        (
            "nombre",
            |schema| schema["properties"]["nombre"]["maxLength"] = json!(300),
            ChangeKind::LengthNarrowed,
        ),
        (
            "nombre",
            |schema| {
                schema["properties"]["nombre"]
                    .as_object_mut()
                    .unwrap()
                    .remove("minLength");
            },
            ChangeKind::LengthNarrowed,
        ),
        (
            "genero",
            |schema| schema["properties"]["genero"]["enum"] = json!(["M", "F", "X"]),
            ChangeKind::ValueRemoved,
        ),
        (
            "edad",
            |schema| schema["properties"]["edad"]["type"] = json!(["integer", "null"]),
            ChangeKind::FieldRequired,
        ),
        (
            "edad",
            |schema| schema["properties"]["edad"]["type"] = json!("number"),
            ChangeKind::TypeNarrowed,
        ),
        (
            "nombre",
            |schema| {
                schema["properties"]["nombre"]
                    .as_object_mut()
                    .unwrap()
                    .remove("pattern");
            },
            ChangeKind::FormChanged,
        ),
    ];
    for (name, widen, kind) in cases {
        assert_eq!(
            both_ways(widen),
            [field(name, kind), Vec::new()],
            "{name} {kind:?}"
        );
    }
}

#[test]
fn fields_come_and_go() {
    let add = |schema: &mut Value, property: Value| schema["properties"]["apodo"] = property;
    let removed = vec![("apodo".to_owned(), ChangeKind::FieldRemoved)];
    let optional = both_ways(|schema| add(schema, json!({"type": ["string", "null"]})));
    assert_eq!(optional, [removed.clone(), Vec::new()]);
    let required = both_ways(|schema| add(schema, json!({"type": "string"})));
    let must = vec![("apodo".to_owned(), ChangeKind::FieldRequired)];
    assert_eq!(required, [removed.clone(), must]);
    // Another name of a field that was there asks for nothing.
    let alias = json!({"type": "string", "x-acequia-alias-of": "nombre"});
    assert_eq!(
        both_ways(|schema| add(schema, alias)),
        [removed, Vec::new()]
    );
}

#[test]
fn keys_and_rules_count_too() {
    let key = both_ways(|schema| schema["x-acequia-key"] = json!(["nombre"]));
    let changed = vec![(String::new(), ChangeKind::KeyChanged)];
    assert_eq!(key, [changed.clone(), changed]);
    let rule = json!({"fields": ["edad"], "codes": ["inconsistent"], "description": "even"});
    let listed = both_ways(|schema| {
        let rules = schema["x-acequia-rules"].as_array_mut().unwrap();
        rules.push(rule);
    });
    let added = vec![("edad".to_owned(), ChangeKind::RuleAdded)];
    assert_eq!(listed, [Vec::new(), added]);
    // Exports of earlier programs have no list: that is no change.
    let none = both_ways(|schema| {
        schema.as_object_mut().unwrap().remove("x-acequia-rules");
    });
    assert_eq!(none, [Vec::new(), Vec::new()]);
}

#[test]
fn a_change_is_shown_with_before_and_after() {
    let (other, now) = changed(|schema| schema["properties"]["edad"]["maximum"] = json!(150));
    let found = breaking(&other, &now);
    assert_eq!(found[0].message, "maximum is 120, was 150");
    assert_eq!(
        serde_json::to_value(&found[0]).unwrap(),
        json!({"field": "edad", "change": "range_narrowed", "message": "maximum is 120, was 150"})
    );
}
