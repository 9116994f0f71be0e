//! The headers that identify a replay.

use acequia_contracts::envelope::{ATTEMPT, ORIGIN, REBUILT};
use lapin::BasicProperties;
use lapin::types::AMQPValue;

/// The number of the attempt that a message is, 0 when it is no replay.
#[must_use]
pub fn attempt_of(properties: &BasicProperties) -> i32 {
    let headers = properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get(ATTEMPT)) {
        Some(AMQPValue::LongLongInt(number)) => i32::try_from((*number).max(0)).unwrap_or(i32::MAX),
        Some(AMQPValue::LongInt(number)) => (*number).max(0),
        _ => 0,
    }
}

/// The number of the row in quarantine that a message was replayed from.
#[must_use]
pub fn origin_of(properties: &BasicProperties) -> Option<i64> {
    match properties.headers().as_ref()?.inner().get(ORIGIN)? {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some((*number).into()),
        _ => None,
    }
}

/// For a replay whose body was rebuilt: the hash of the original body, if that is known. `None` for
/// all other messages.
#[must_use]
pub fn original_hash(properties: &BasicProperties) -> Option<Option<i64>> {
    match properties.headers().as_ref()?.inner().get(REBUILT)? {
        AMQPValue::LongLongInt(hash) => Some(Some(*hash)),
        _ => Some(None),
    }
}
