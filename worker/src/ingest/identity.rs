//! Who a message is: its id, the day inside the id, when it happened, when it was sent.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Day of ids that carry no time. All of them share one partition, so that a copy that comes
/// on a later day still meets its original.
pub const NO_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// Header with the publish time in microseconds since 1970.
pub const PUBLISHED_AT: &str = "x-published-at";

/// Identity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The id: a UUID as it came, any other text or the bytes themselves hashed into one.
    pub id: Uuid,
    /// Partition of the id.
    pub day: NaiveDate,
}

impl Identity {
    /// From the AMQP `message_id`, if the message has one.
    #[must_use]
    pub fn of_properties(properties: &BasicProperties) -> Option<Self> {
        properties
            .message_id()
            .as_ref()
            .map(|id| Self::of_text(id.as_str()))
    }

    /// From a text that names the message.
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

/// When the publisher sent the message: the header in microseconds, else the AMQP timestamp in
/// seconds. Times that make no sense are as good as none.
#[must_use]
pub fn published_at(properties: &BasicProperties, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let header = properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get(PUBLISHED_AT))
        .and_then(integer)
        .and_then(DateTime::from_timestamp_micros);
    let timestamp = || {
        properties
            .timestamp()
            .and_then(|seconds| DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0))
    };
    header
        .or_else(timestamp)
        .filter(|time| time.year() >= 1970 && *time <= now + chrono::Days::new(1))
}

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

    #[test]
    fn nonsense_times_are_dropped() {
        let now = Utc::now();
        let at = |seconds| published_at(&BasicProperties::default().with_timestamp(seconds), now);
        assert!(at(1_700_000_000).is_some());
        assert!(at(u64::MAX).is_none());
        assert!(at(32_503_680_000).is_none());
    }
}
