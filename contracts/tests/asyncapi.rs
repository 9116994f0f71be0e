//! The AsyncAPI document names everything of the catalog, and nothing that it does not define.
#![allow(clippy::unwrap_used, missing_docs)]

use acequia_contracts::{Topology, asyncapi, catalog, schema};
use serde_json::{Value, json};

fn document() -> Value {
    let broker = Topology {
        exchange: "in",
        alerts: "out",
        rejected: "back",
        queue_of: |domain| format!("q.{domain}"),
    };
    asyncapi(catalog(), &broker)
}

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(to)) = members.get("$ref") {
                found.push(to.clone());
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 30, "{}", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_entity_has_its_channel_operation_and_message() {
    let document = document();
    for domain in catalog() {
        let queue = &document["channels"][format!("q.{}", domain.name)];
        assert_eq!(queue["bindings"]["amqp"]["is"], "queue");
        assert_eq!(
            queue["messages"].as_object().unwrap().len(),
            domain.entities.len()
        );
        if let Some(legacy) = domain.legacy_queue {
            assert_eq!(document["channels"][legacy]["address"], legacy);
        }
        for entity in &domain.entities {
            let name = format!("{}.{}", domain.name, entity.name);
            let channel = &document["channels"][&name];
            assert_eq!(channel["address"], name);
            assert_eq!(channel["bindings"]["amqp"]["exchange"]["name"], "in");
            let operation = &document["operations"][format!("receive.{name}")];
            assert_eq!(operation["action"], "receive");
            let message = &document["components"]["messages"][&name];
            let headers = message["headers"]["properties"].as_object().unwrap();
            assert_eq!(
                headers.keys().collect::<Vec<_>>(),
                ["x-op", "x-published-at"]
            );
            assert_eq!(
                headers["x-op"]["enum"],
                json!(["upsert"]),
                "no entity deletes"
            );
            let properties = &message["x-amqp-properties"]["properties"];
            assert_eq!(properties["type"]["enum"], json!([name, entity.name]));
            assert!(properties["message_id"].is_object());
            assert_eq!(
                document["components"]["schemas"][&name]["schema"],
                schema(entity)
            );
            let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
            let at = "https://example.org/s.json";
            compiler.add_resource(at, schema(entity)).unwrap();
            let index = compiler.compile(at, &mut schemas).unwrap();
            let example = &message["examples"][0]["payload"];
            assert!(
                schemas.validate(example, index).is_ok(),
                "{name}: {example}"
            );
        }
    }
}

#[test]
fn a_part_of_the_catalog_shows_nothing_of_the_rest() {
    let broker = Topology {
        exchange: "in",
        alerts: "out",
        rejected: "back",
        queue_of: |domain| format!("q.{domain}"),
    };
    let [shown, hidden] = [&catalog()[0], &catalog()[1]];
    let text = asyncapi([shown], &broker).to_string();
    assert!(text.contains(&format!("\"{}.", shown.name)));
    assert!(!text.contains(hidden.name), "{}", hidden.name);
}
