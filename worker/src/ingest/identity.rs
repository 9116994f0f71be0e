//! Who a message is: its id, the day inside the id, when it happened, when it was sent.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;
use uuid::Uuid;

/// Day of ids that carry no time. All of them share one partition, so that a copy that comes
/// on a later day still meets its original.
pub const NO_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// Header with the publish time in microseconds since 1970.
pub const PUBLISHED_AT: &str = "x-published-at";

/// Identity of a message within its entity: each has a staging table of its own, so the same id in
/// two entities is two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The id: a UUID as it came, any other text or the bytes themselves hashed into one.
    pub id: Uuid,
    /// Partition of the id.
    pub day: NaiveDate,
}

impl Identity {
    /// From the AMQP `message_id`, if it names the message.
    #[must_use]
    pub fn of_properties(properties: &BasicProperties) -> Option<Self> {
        Self::named(properties.message_id().as_ref()?.as_str())
    }

    /// From a text that names the message; `None` for one that names nothing: blank, or the nil or
    /// max UUID. Publishers send these where they have no id, many messages under the same one.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let invisible = |character: char| {
            character.is_whitespace()
                || character.is_control()
                || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
        };
        if text.chars().all(invisible) {
            return None;
        }
        Some(Self::of_text(text)).filter(|identity| !identity.id.is_nil() && !identity.id.is_max())
    }

    /// From any text, as [`Self::named`] makes it of one that names a message.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        match Uuid::try_parse(text.trim()) {
            Ok(id) => Self {
                id,
                day: day_of(id),
            },
            Err(_) => Self::hashed("id", text.as_bytes()),
        }
    }

    /// From queue and bytes, for messages without any id: the same bytes are the same message.
    #[must_use]
    pub fn of_bytes(queue: &str, body: &[u8]) -> Self {
        Self::hashed(queue, body)
    }

    /// From queue, publish time and bytes, for messages without any id. Equal bytes of another
    /// time are another message; `properties` without a time leave the bytes alone to tell.
    #[must_use]
    pub fn of_content(queue: &str, properties: &BasicProperties, body: &[u8]) -> Self {
        let header = properties.headers().as_ref();
        let header = header
            .and_then(|headers| headers.inner().get(PUBLISHED_AT))
            .and_then(integer);
        match (header, properties.timestamp()) {
            (Some(micros), _) => Self::hashed(&format!("{queue}@{micros}us"), body),
            (None, Some(seconds)) => Self::hashed(&format!("{queue}@{seconds}s"), body),
            (None, None) => Self::of_bytes(queue, body),
        }
    }

    /// Identity of a row of quarantine whose message shares its id with another one: made of the
    /// message's domain, entity and id, and of a digest of its body.
    #[must_use]
    pub fn of_row(domain: &str, entity: Option<&str>, message: Self, digest: Uuid) -> Self {
        let entity = entity.unwrap_or_default();
        let space = format!("quarantine {domain} {entity} {}", message.id);
        Self::hashed(&space, digest.as_bytes())
    }

    fn hashed(space: &str, bytes: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(space.as_bytes());
        hash.update([0]);
        hash.update(bytes);
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self {
            id: Uuid::new_v8(half),
            day: NO_DAY,
        }
    }
}

/// Tells a copy of a message from another message under the same id. Fast, stable over versions and
/// machines; no protection against a publisher who makes two bodies alike.
#[must_use]
pub fn body_hash(body: &[u8]) -> i64 {
    XxHash3_64::oneshot(body).cast_signed()
}

/// First half of the SHA-256 of a body.
#[must_use]
pub fn body_digest(body: &[u8]) -> Uuid {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(body)[..16]);
    Uuid::from_bytes(half)
}

fn day_of(id: Uuid) -> NaiveDate {
    if id.get_version_num() != 7 {
        return NO_DAY;
    }
    id.get_timestamp()
        .and_then(|time| {
            let (seconds, nanos) = time.to_unix();
            DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
        })
        // PostgreSQL's dates end before UUIDv7's do.
        .filter(|time| time.year() < 9999)
        .map_or(NO_DAY, |time| time.date_naive())
}

/// When a message was sent, as far as the message says so in earnest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// The time.
    pub at: Option<DateTime<Utc>>,
    /// Whether the message has a time that cannot be true, which counts as none: in another unit, of
    /// another type, or of a clock that is off.
    pub implausible: bool,
}

/// When the publisher sent the message: the header in microseconds, else the AMQP timestamp in
/// seconds. Either is a time only from the year 2000 on and at most a day ahead of `now`: what is in
/// milliseconds lies in 1970 or in the far future.
#[must_use]
pub fn published(properties: &BasicProperties, now: DateTime<Utc>) -> Published {
    let header = (properties.headers().as_ref())
        .and_then(|headers| headers.inner().get(PUBLISHED_AT))
        .filter(|value| **value != AMQPValue::Void)
        .map(|value| integer(value).and_then(DateTime::from_timestamp_micros));
    let timestamp = (properties.timestamp().as_ref())
        .map(|seconds| DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0));
    let mut published = Published::default();
    for time in [header, timestamp].into_iter().flatten() {
        let plausible =
            time.filter(|time| *time >= FIRST_PUBLISHED && *time <= now + chrono::Days::new(1));
        published.implausible |= plausible.is_none();
        published.at = published.at.or(plausible);
    }
    published
}

/// [`published`], where a time that cannot be true is as good as none.
#[must_use]
pub fn published_at(properties: &BasicProperties, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    published(properties, now).at
}

/// The beginning of the year 2000: nothing was published before.
const FIRST_PUBLISHED: DateTime<Utc> = match DateTime::from_timestamp_secs(946_684_800) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

/// Brokers and clients differ in the integer type they choose for headers.
fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::Timestamp(number) => i64::try_from(*number).ok(),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use lapin::types::FieldTable;

    #[test]
    fn a_uuid_stays_and_its_day_is_read() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        let identity = Identity::of_text(id);
        assert_eq!(identity.id.to_string(), id);
        assert_eq!(identity.day, NaiveDate::from_ymd_opt(2024, 6, 14).unwrap());
    }

    #[test]
    fn other_ids_are_stable_and_share_a_partition() {
        let one = Identity::of_text("order-17");
        assert_eq!(one, Identity::of_text("order-17"));
        assert_ne!(one, Identity::of_text("order-18"));
        assert_eq!(one.day, NO_DAY);
        assert_ne!(
            Identity::of_bytes("a", b"{}").id,
            Identity::of_bytes("b", b"{}").id
        );
    }

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
            let found = published(&with_header(value.clone()), now);
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
            let found = published(&properties, now);
            let at = found.at.map(|at| at.timestamp_micros());
            assert_eq!(
                (at, found.implausible),
                (expected, expected.is_none()),
                "{timestamp}"
            );
            // A header that makes no sense does not hide a timestamp that does.
            let both = with_header(AMQPValue::LongLongInt(17)).with_timestamp(timestamp);
            assert_eq!(
                published(&both, now),
                Published {
                    at: found.at,
                    implausible: true
                }
            );
        }
        let none = Published::default();
        assert_eq!(published(&BasicProperties::default(), now), none);
        assert_eq!(published(&with_header(AMQPValue::Void), now), none);
    }

    #[test]
    fn texts_that_name_nothing_are_no_ids() {
        for text in [
            "",
            " ",
            "\t \r\n",
            "\u{200b}",
            "\u{feff}\u{200d}",
            "\u{a0}\u{3000}",
            "00000000-0000-0000-0000-000000000000",
            " 00000000000000000000000000000000 ",
            "{00000000-0000-0000-0000-000000000000}",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "urn:uuid:FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        ] {
            assert_eq!(Identity::named(text), None, "{text:?}");
        }
        for text in [
            "0",
            "-",
            "null",
            "a\u{200b}",
            "00000000-0000-0000-0000-000000000001",
        ] {
            assert_eq!(
                Identity::named(text),
                Some(Identity::of_text(text)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_time_tells_equal_bytes_apart() {
        let of = |properties: BasicProperties| Identity::of_content("q", &properties, b"7");
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

    #[test]
    fn the_hash_of_a_body_is_the_same_on_every_machine() {
        // The value of the specification for the empty input.
        assert_eq!(body_hash(b"").cast_unsigned(), 0x2d06_8005_38d3_94c2);
        assert_ne!(body_hash(b"{}"), body_hash(b"{ }"));
    }
}
