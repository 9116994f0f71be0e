//! AMQP properties and headers as JSON, kept with quarantined messages.

use acequia_net::guard::Note;
use acequia_net::properties;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};

/// The property list as it came, in base64: the other members are for people, this one for replays.
pub const RAW: &str = "raw";

/// Everything that came with a delivery except its body. Text that PostgreSQL's `jsonb` cannot
/// hold (U+0000) is replaced. What cannot be read of it stands in the note.
#[must_use]
pub fn to_json(delivery: &Delivery, note: Option<&Note>) -> Value {
    let properties: &BasicProperties = &delivery.properties;
    let mut map = Map::new();
    let unreadable = note.map_or(&[][..], |note| &note.unreadable);
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), Value::String(clean(&value)));
        }
    };
    for (name, value) in [
        ("exchange", &delivery.exchange),
        ("routing_key", &delivery.routing_key),
    ] {
        let read = unreadable.iter().all(|one| one.path != name);
        put(name, read.then(|| value.to_string()));
    }
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    put("content_type", text(properties.content_type()));
    put("content_encoding", text(properties.content_encoding()));
    put("message_id", text(properties.message_id()));
    put("correlation_id", text(properties.correlation_id()));
    put("type", text(properties.kind()));
    put("app_id", text(properties.app_id()));
    put("user_id", text(properties.user_id()));
    put("reply_to", text(properties.reply_to()));
    put("expiration", text(properties.expiration()));
    put("cluster_id", text(properties.cluster_id()));
    if let Some(seconds) = properties.timestamp() {
        map.insert("timestamp".to_owned(), json!(seconds));
    }
    if let Some(mode) = properties.delivery_mode() {
        map.insert("delivery_mode".to_owned(), json!(mode));
    }
    if let Some(priority) = properties.priority() {
        map.insert("priority".to_owned(), json!(priority));
    }
    map.insert("redelivered".to_owned(), json!(delivery.redelivered));
    if let Some(headers) = properties.headers() {
        map.insert("headers".to_owned(), table(headers));
    }
    if !unreadable.is_empty() {
        let unreadable = unreadable.iter().map(|one| {
            json!({
                "path": clean(&one.path),
                "why": one.to_string(),
                "text": shortened(&one.bytes),
                "base64": STANDARD.encode(&one.bytes[..one.bytes.len().min(MOST_SHOWN)]),
            })
        });
        map.insert("unreadable".to_owned(), unreadable.collect());
    }
    let raw = match note {
        Some(note) if !note.list.is_empty() => STANDARD.encode(&note.list),
        _ => STANDARD.encode(properties::write(properties)),
    };
    map.insert(RAW.to_owned(), Value::String(raw));
    Value::Object(map)
}

/// Bytes of an unreadable property that stand beside the whole list: a short string has no more.
const MOST_SHOWN: usize = 255;

fn shortened(bytes: &[u8]) -> String {
    clean(&String::from_utf8_lossy(
        &bytes[..bytes.len().min(MOST_SHOWN)],
    ))
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
        AMQPValue::DecimalValue(decimal) => {
            Value::String(format!("{}e-{}", decimal.value, decimal.scale))
        }
        AMQPValue::ByteArray(bytes) => Value::String(STANDARD.encode(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}

/// A text as PostgreSQL can hold it.
pub(super) fn clean(text: &str) -> String {
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
