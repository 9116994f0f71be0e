//! AMQP properties and headers as JSON, kept with quarantined messages.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};

/// Everything that came with a delivery except its body. Text that PostgreSQL's `jsonb` cannot
/// hold (U+0000) is replaced.
#[must_use]
pub fn to_json(delivery: &Delivery) -> Value {
    let properties: &BasicProperties = &delivery.properties;
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), Value::String(clean(&value)));
        }
    };
    put("exchange", Some(delivery.exchange.to_string()));
    put("routing_key", Some(delivery.routing_key.to_string()));
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    put("content_type", text(properties.content_type()));
    put("content_encoding", text(properties.content_encoding()));
    put("message_id", text(properties.message_id()));
    put("correlation_id", text(properties.correlation_id()));
    put("type", text(properties.kind()));
    put("app_id", text(properties.app_id()));
    put("user_id", text(properties.user_id()));
    put("reply_to", text(properties.reply_to()));
    if let Some(seconds) = properties.timestamp() {
        map.insert("timestamp".to_owned(), json!(seconds));
    }
    if let Some(mode) = properties.delivery_mode() {
        map.insert("delivery_mode".to_owned(), json!(mode));
    }
    map.insert("redelivered".to_owned(), json!(delivery.redelivered));
    if let Some(headers) = properties.headers() {
        map.insert("headers".to_owned(), table(headers));
    }
    Value::Object(map)
}

fn table(fields: &FieldTable) -> Value {
    fields
        .inner()
        .iter()
        .map(|(name, field)| (clean(name.as_str()), value(field)))
        .collect::<Map<_, _>>()
        .into()
}

fn value(field: &AMQPValue) -> Value {
    match field {
        AMQPValue::Boolean(flag) => json!(flag),
        AMQPValue::ShortShortInt(number) => json!(number),
        AMQPValue::ShortShortUInt(number) => json!(number),
        AMQPValue::ShortInt(number) => json!(number),
        AMQPValue::ShortUInt(number) => json!(number),
        AMQPValue::LongInt(number) => json!(number),
        AMQPValue::LongUInt(number) => json!(number),
        AMQPValue::LongLongInt(number) => json!(number),
        AMQPValue::Timestamp(seconds) => json!(seconds),
        AMQPValue::Float(number) => json!(number),
        AMQPValue::Double(number) => json!(number),
        AMQPValue::ShortString(text) => Value::String(clean(text.as_str())),
        AMQPValue::LongString(text) => {
            Value::String(clean(&String::from_utf8_lossy(text.as_bytes())))
        }
        AMQPValue::FieldTable(fields) => table(fields),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(value).collect(),
        AMQPValue::Void => Value::Null,
        other => Value::String(clean(&format!("{other:?}"))),
    }
}

fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The queue that gave a message up first, as the broker noted it.
#[must_use]
pub fn first_death_queue(properties: &BasicProperties) -> Option<String> {
    text_header(properties, "x-first-death-queue")
}

/// A header that is a text.
#[must_use]
pub fn text_header(properties: &BasicProperties, name: &str) -> Option<String> {
    let headers = properties.headers().as_ref()?;
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
