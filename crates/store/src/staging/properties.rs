//! AMQP properties and headers as JSON, kept with quarantined messages.

use std::borrow::Cow;

use acequia_contracts::envelope::{Identity, PUBLISHED_AT, RAW, Sent};
use acequia_net::guard::Note;
use acequia_net::{headers, properties};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};

/// Header with the queue that a message came by first: it is part of the identity of messages
/// without an id.
pub const CAME_BY: &str = "x-acequia-queue";

/// The queue that gives a message without an id its identity.
#[must_use]
pub fn came_by<'a>(delivery: &Delivery, queue: &'a str) -> Cow<'a, str> {
    headers::text(&delivery.properties, CAME_BY).map_or(Cow::Borrowed(queue), Cow::Owned)
}

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
    headers::text(properties, "x-first-death-queue")
}

/// The identity by the AMQP `message_id`, if it names the message.
#[must_use]
pub fn named(properties: &BasicProperties) -> Option<Identity> {
    Identity::named(properties.message_id().as_ref()?.as_str())
}

/// The publish times that a message carries.
#[must_use]
pub fn sent(properties: &BasicProperties) -> Sent {
    Sent {
        header: headers::integer(properties, PUBLISHED_AT),
        timestamp: *properties.timestamp(),
    }
}

/// When a message was published; a time that cannot be true is as good as none.
#[must_use]
pub fn published_at(properties: &BasicProperties, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    sent(properties).published(now).at
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use acequia_contracts::envelope::Published;

    use super::*;

    fn with_header(value: AMQPValue) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(PUBLISHED_AT.into(), value);
        BasicProperties::default().with_headers(headers)
    }

    #[test]
    fn a_publish_time_is_plausible_or_none() {
        let now: DateTime<Utc> = "2026-11-29T12:00:00Z".parse().unwrap();
        let micros = now.timestamp_micros();
        let day = 86_400_000_000;
        let first = 946_684_800_000_000;
        let text = |text: &str| AMQPValue::LongString(text.into());
        let headers = [
            (AMQPValue::LongLongInt(micros), Some(micros)),
            (AMQPValue::Timestamp(micros.unsigned_abs()), Some(micros)),
            (AMQPValue::LongLongInt(micros + day), Some(micros + day)),
            (AMQPValue::LongLongInt(first), Some(first)),
            // Limits, other units, other types.
            (AMQPValue::LongLongInt(micros + day + 1), None),
            (AMQPValue::LongLongInt(first - 1), None),
            (AMQPValue::LongLongInt(micros / 1_000), None),
            (AMQPValue::LongLongInt(micros / 1_000_000), None),
            (AMQPValue::LongInt((micros / 1_000_000) as i32), None),
            (AMQPValue::LongLongInt(micros * 1_000), None),
            (AMQPValue::LongLongInt(-micros), None),
            (AMQPValue::LongLongInt(i64::MIN), None),
            (AMQPValue::LongLongInt(i64::MAX), None),
            (AMQPValue::Timestamp(u64::MAX), None),
            (AMQPValue::LongLongInt(0), None),
            (AMQPValue::ShortInt(7), None),
            (AMQPValue::ShortShortInt(7), None),
            (AMQPValue::Boolean(true), None),
            (AMQPValue::Double(micros as f64), None),
            (AMQPValue::Float(1.5), None),
            (text(&micros.to_string()), None),
            (text("2026-11-29T12:00:00Z"), None),
            (text(""), None),
        ];
        for (value, expected) in headers {
            let found = sent(&with_header(value.clone())).published(now);
            let at = found.at.map(|at| at.timestamp_micros());
            assert_eq!(
                (at, found.implausible),
                (expected, expected.is_none()),
                "{value:?}"
            );
        }

        let seconds = now.timestamp().unsigned_abs();
        for (timestamp, expected) in [
            (seconds, Some(micros)),
            (946_684_800, Some(first)),
            (946_684_799, None),
            (seconds + 86_401, None),
            (seconds * 1_000, None),
            (seconds * 1_000_000, None),
            (0, None),
            (u64::MAX, None),
        ] {
            let properties = BasicProperties::default().with_timestamp(timestamp);
            let found = sent(&properties).published(now);
            let at = found.at.map(|at| at.timestamp_micros());
            assert_eq!(
                (at, found.implausible),
                (expected, expected.is_none()),
                "{timestamp}"
            );
            // A header that makes no sense does not hide a timestamp that does.
            let both = with_header(AMQPValue::LongLongInt(17)).with_timestamp(timestamp);
            assert_eq!(
                sent(&both).published(now),
                Published {
                    at: found.at,
                    implausible: true
                }
            );
        }
        let none = Published::default();
        assert_eq!(sent(&BasicProperties::default()).published(now), none);
        assert_eq!(sent(&with_header(AMQPValue::Void)).published(now), none);
    }

    #[test]
    fn a_time_tells_equal_bytes_apart() {
        let of = |properties: BasicProperties| Identity::of_content("q", sent(&properties), b"7");
        let plain = of(BasicProperties::default());
        assert_eq!(plain, Identity::of_bytes("q", b"7"));
        let at = |seconds| of(BasicProperties::default().with_timestamp(seconds));
        assert_eq!(at(1), at(1));
        assert!(at(1) != at(2) && at(1) != plain);
        let header = |micros| {
            let mut headers = FieldTable::default();
            headers.insert(PUBLISHED_AT.into(), AMQPValue::LongLongInt(micros));
            of(BasicProperties::default().with_headers(headers))
        };
        assert_eq!(header(1), header(1));
        assert!(header(1) != header(2) && header(1) != at(1));
    }
}
