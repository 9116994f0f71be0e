//! All contracts with the broker's part as one AsyncAPI document: exchange, routing keys, queues, headers, identity.

use serde_json::{Map, Value, json};

use crate::catalog::{Domain, Entity};
use crate::envelope::{OP, PUBLISHED_AT};
use crate::{MAX_BODY_BYTES, MAX_DEPTH, OP_FIELD, fixtures, schema};

/// Version of the AMQP bindings in the document.
const BINDINGS: &str = "0.3.0";

/// Names of exchanges and queues.
#[derive(Debug, Clone, Copy)]
pub struct Topology {
    /// The exchange that publishers send to.
    pub exchange: &'static str,
    /// The exchange that merges publish on.
    pub alerts: &'static str,
    /// The exchange for notices of refused messages.
    pub rejected: &'static str,
    /// The queue of a domain.
    pub queue_of: fn(&str) -> String,
}

/// The AsyncAPI document (3.1) of some domains.
#[must_use]
pub fn asyncapi<'a>(domains: impl IntoIterator<Item = &'a Domain>, broker: &Topology) -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    let mut schemas = Map::new();
    for domain in domains {
        for entity in &domain.entities {
            let name = name(entity);
            channels.insert(name.clone(), routed(entity, broker));
            operations.insert(format!("receive.{name}"), receive(&name, entity));
            messages.insert(name.clone(), message(entity));
            schemas.insert(
                name,
                json!({"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": schema(entity)}),
            );
        }
        let queue = (broker.queue_of)(domain.name);
        let about = format!(
            "The queue that workers read: quorum, bound to exchange {} by {}.#. Publishers send to the exchange, not to it",
            broker.exchange, domain.name
        );
        channels.insert(queue.clone(), queued(domain, &queue, &about));
        if let Some(queue) = domain.legacy_queue {
            let about = "A queue on the default exchange, for publishers of a reference system: the body names its entity in the field entity";
            channels.insert(queue.to_owned(), queued(domain, queue, about));
        }
    }
    let own = [
        (
            broker.alerts,
            "Routing key <domain>.<topic>. Bind a queue of your own, or read the stream of the same name, which keeps the last seven days",
            "Messages that merges publish, at least once, in order for each x-key",
            alert(),
        ),
        (
            broker.rejected,
            "Routing key <domain>.<entity>, or <domain> when the entity is unknown. Only while an operator has switched the feed of the domain on. Bind a queue of your own, or read the stream of the same name, which keeps the last seven days",
            "Notices of messages in quarantine, at least once; a notice has no value of its message",
            notice(),
        ),
    ];
    for (name, about, summary, message) in own {
        channels.insert(name.to_owned(), published(name, about));
        let channel = reference("channels", name);
        operations.insert(
            format!("send.{name}"),
            json!({"action": "send", "channel": channel, "summary": summary}),
        );
        messages.insert(name.to_owned(), message);
    }
    json!({
        "asyncapi": "3.1.0",
        "info": {
            "title": "Acequia",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!(
                "Messages that the platform takes, by AMQP 0-9-1. A body is one JSON object in UTF-8, at most {MAX_BODY_BYTES} bytes and {MAX_DEPTH} levels deep. \
                 Publish persistent and mandatory, and wait for the confirm: only a confirmed message that did not come back is promised to arrive."
            ),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    })
}

fn name(entity: &Entity) -> String {
    format!("{}.{}", entity.domain, entity.name)
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/{kind}/{name}")})
}

fn exchange(name: &str) -> Value {
    json!({"amqp": {"is": "routingKey", "bindingVersion": BINDINGS,
        "exchange": {"name": name, "type": "topic", "durable": true, "autoDelete": false}}})
}

/// The channel of an entity: its routing key.
fn routed(entity: &Entity, broker: &Topology) -> Value {
    let name = name(entity);
    json!({
        "address": name,
        "description": format!("Exchange {}, routing key {name}; workers read queue {}", broker.exchange, (broker.queue_of)(entity.domain)),
        "messages": {entity.name: reference("components/messages", &name)},
        "bindings": exchange(broker.exchange),
    })
}

/// A queue with the messages of a domain.
fn queued(domain: &Domain, queue: &str, about: &str) -> Value {
    let messages: Map<_, _> = domain
        .entities
        .iter()
        .map(|entity| {
            (
                entity.name.to_owned(),
                reference("components/messages", &name(entity)),
            )
        })
        .collect();
    json!({
        "address": queue,
        "description": about,
        "messages": messages,
        "bindings": {"amqp": {"is": "queue", "bindingVersion": BINDINGS,
            "queue": {"name": queue, "durable": true, "exclusive": false, "autoDelete": false}}},
    })
}

fn receive(name: &str, entity: &Entity) -> Value {
    json!({
        "action": "receive",
        "channel": reference("channels", name),
        "messages": [reference(&format!("channels/{name}/messages"), entity.name)],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": true, "bindingVersion": BINDINGS}},
    })
}

/// A message type with its headers and AMQP properties.
fn message(entity: &Entity) -> Value {
    let name = name(entity);
    let deletes = entity.merge_spec.deletes;
    let op = if deletes {
        json!({"type": "string", "enum": ["delete", "upsert"],
            "description": format!("delete: the key is gone, and of the body only key, ts and event_id count; goes before the field {OP_FIELD}")})
    } else {
        json!({"type": "string", "enum": ["upsert"],
            "description": "upsert says the same as nothing: messages of this entity do not delete"})
    };
    let samples = fixtures::valid(entity.domain, entity.name);
    let sample = samples
        .iter()
        .find(|sample| sample.name == "full")
        .or(samples.first());
    let examples: Vec<_> = sample
        .and_then(|sample| serde_json::from_slice::<Value>(sample.body).ok())
        .map(|payload| json!({"name": "full", "payload": payload}))
        .into_iter()
        .collect();
    json!({
        "name": name,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": {
            PUBLISHED_AT: {"type": "integer", "description": "When it was published, microseconds since 1970; AMQP timestamp (seconds) stands in"},
            OP: op,
        }},
        "payload": reference("components/schemas", &name),
        "bindings": {"amqp": {"messageType": name, "bindingVersion": BINDINGS}},
        "examples": examples,
        "x-amqp-properties": {"type": "object", "required": ["delivery_mode"], "properties": {
            "message_id": {"type": "string", "maxLength": 255,
                "description": "Identity within the entity: made once for a message and kept when it is sent again, with the same bytes. The same id with other bytes is refused (id_reused). Without it event_id of the body is the identity, and without both queue, publish time and bytes"},
            "type": {"enum": [name, entity.name], "description": "Goes before the routing key; without both the body names its entity"},
            "app_id": {"type": "string", "description": "Name of the publisher: what it sent is found by it in quarantine"},
            "timestamp": {"type": "integer", "description": "Publish time in seconds, when there is no x-published-at"},
            "delivery_mode": {"const": 2, "description": "Persistent"},
        }},
        "x-acequia-key": entity.key,
        "x-acequia-deletes": deletes,
    })
}

/// A channel that the platform publishes on.
fn published(exchange_name: &str, about: &str) -> Value {
    json!({
        "address": null,
        "description": about,
        "messages": {"message": reference("components/messages", exchange_name)},
        "bindings": exchange(exchange_name),
    })
}

fn notice() -> Value {
    let text = json!({"type": "string"});
    let maybe = json!({"type": ["string", "null"]});
    json!({
        "name": "rejected",
        "contentType": "application/json",
        "payload": {"type": "object",
            "required": ["message_id", "app_id", "quarantine_id", "code", "field", "message", "received_at"],
            "properties": {
                "message_id": {"type": "string", "description": "Id that it was published with, else the identity that the platform gave it"},
                "app_id": {"type": ["string", "null"], "description": "AMQP app_id of its publisher; null also where a merge refused it"},
                "quarantine_id": {"type": "integer", "description": "Number of its row in quarantine"},
                "code": text,
                "field": maybe,
                "message": {"type": "string", "description": "What is wrong, without the value"},
                "received_at": {"type": "string", "format": "date-time"},
            }},
    })
}

fn alert() -> Value {
    json!({
        "name": "alert",
        "contentType": "application/json",
        "headers": {"type": "object", "required": ["x-key", "x-sequence"], "properties": {
            "x-key": {"type": "string", "description": "What the message is about: messages of one key come in their order"},
            "x-sequence": {"type": "integer", "description": "Of two messages of one key the one with the greater number is the newer; a copy has the same number"},
        }},
        "payload": {"type": "object"},
    })
}
