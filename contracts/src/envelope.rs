//! The envelope of a body: message id, the day inside the id, publish time, and the names
//! of headers.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;
use uuid::Uuid;

/// Day of ids that carry no time. All of them share one partition, so that a copy that comes
/// on a later day still meets its original.
pub const NO_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// Name under which messages without a known entity, or of no domain, are counted.
pub const UNKNOWN: &str = "(unknown)";

/// Header with the publish time in microseconds since 1970.
pub const PUBLISHED_AT: &str = "x-published-at";
/// Header with what the message does with its key: `delete`, or `upsert`, which is as if there were no header.
pub const OP: &str = "x-op";
/// Header of a replay: the number of the attempt, from 1 on.
pub const ATTEMPT: &str = "x-acequia-replay";
/// Header of a replay: the number of the row in quarantine.
pub const ORIGIN: &str = "x-acequia-origin";
/// Header of a replay whose body was rebuilt: hash of the original body, or void.
pub const REBUILT: &str = "x-acequia-rebuilt";

/// Member of the properties that quarantine keeps: the property list as it came, in base64. The other
/// members are for people, this one for replays.
pub const RAW: &str = "raw";

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
    /// time are another message; without a time the bytes alone tell.
    #[must_use]
    pub fn of_content(queue: &str, sent: Sent, body: &[u8]) -> Self {
        match (sent.header.flatten(), sent.timestamp) {
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

/// The time inside an id, which only UUIDv7 has.
#[must_use]
pub fn time_of(id: Uuid) -> Option<DateTime<Utc>> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

fn day_of(id: Uuid) -> NaiveDate {
    time_of(id)
        // PostgreSQL's dates end before UUIDv7's do.
        .filter(|time| time.year() < 9999)
        .map_or(NO_DAY, |time| time.date_naive())
}

/// When a message was sent, as far as the message says so in earnest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// The time.
    pub at: Option<DateTime<Utc>>,
    /// Whether the message has a time that cannot be true, which counts as missing: in another unit,
    /// of another type, or of a clock that is off.
    pub implausible: bool,
}

/// The publish times that a message carries, not yet judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Header [`PUBLISHED_AT`], if it is there: microseconds, or nothing when it is no whole number.
    pub header: Option<Option<i64>>,
    /// AMQP property `timestamp`, in seconds.
    pub timestamp: Option<u64>,
}

impl Sent {
    /// When the publisher sent the message: the header in microseconds, else the AMQP timestamp in
    /// seconds. Either is a time only from the year 2000 on and at most a day ahead of `now`: one in
    /// milliseconds lies in 1970 or in the far future.
    #[must_use]
    pub fn published(self, now: DateTime<Utc>) -> Published {
        let header = self
            .header
            .map(|micros| DateTime::from_timestamp_micros(micros?));
        let timestamp = self
            .timestamp
            .map(|seconds| DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0));
        let mut published = Published::default();
        for time in [header, timestamp].into_iter().flatten() {
            let plausible =
                time.filter(|time| *time >= FIRST_PUBLISHED && *time <= now + chrono::Days::new(1));
            published.implausible |= plausible.is_none();
            published.at = published.at.or(plausible);
        }
        published
    }
}

/// The beginning of the year 2000: nothing was published before.
const FIRST_PUBLISHED: DateTime<Utc> = match DateTime::from_timestamp_secs(946_684_800) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

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
    fn the_hash_of_a_body_is_the_same_on_every_machine() {
        // The value of the specification for the empty input.
        assert_eq!(body_hash(b"").cast_unsigned(), 0x2d06_8005_38d3_94c2);
        assert_ne!(body_hash(b"{}"), body_hash(b"{ }"));
    }
}
