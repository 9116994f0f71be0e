//! Single headers of a message.

use lapin::BasicProperties;
use lapin::types::AMQPValue;

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// A header that is a whole number; `Some(None)` for one that is there and is none. Brokers and clients
/// differ in the integer type they choose.
#[must_use]
pub fn integer(properties: &BasicProperties, name: &str) -> Option<Option<i64>> {
    match header(properties, name)? {
        AMQPValue::Void => None,
        AMQPValue::LongLongInt(number) => Some(Some(*number)),
        AMQPValue::Timestamp(number) => Some(i64::try_from(*number).ok()),
        AMQPValue::LongInt(number) => Some(Some(i64::from(*number))),
        AMQPValue::LongUInt(number) => Some(Some(i64::from(*number))),
        AMQPValue::ShortInt(number) => Some(Some(i64::from(*number))),
        _ => Some(None),
    }
}

/// A header that is a text.
#[must_use]
pub fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    match header(properties, name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A header that should be a text; empty if it has another type.
#[must_use]
pub fn word(properties: &BasicProperties, name: &str) -> Option<String> {
    match header(properties, name)? {
        AMQPValue::Void => None,
        _ => Some(text(properties, name).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn with(value: AMQPValue) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert("h".into(), value);
        BasicProperties::default().with_headers(headers)
    }

    #[test]
    fn whole_numbers_are_told_from_other_values_and_from_none() {
        for (value, number) in [
            (AMQPValue::LongLongInt(-7), Some(Some(-7))),
            (AMQPValue::LongInt(7), Some(Some(7))),
            (AMQPValue::LongUInt(7), Some(Some(7))),
            (AMQPValue::ShortInt(7), Some(Some(7))),
            (AMQPValue::Timestamp(7), Some(Some(7))),
            (AMQPValue::Timestamp(u64::MAX), Some(None)),
            (AMQPValue::Boolean(true), Some(None)),
            (AMQPValue::LongString("7".into()), Some(None)),
            (AMQPValue::Void, None),
        ] {
            assert_eq!(integer(&with(value.clone()), "h"), number, "{value:?}");
        }
        assert_eq!(integer(&BasicProperties::default(), "h"), None);
        assert_eq!(integer(&with(AMQPValue::LongInt(7)), "other"), None);
    }

    #[test]
    fn texts_of_both_widths_are_read() {
        for value in [
            AMQPValue::LongString("x".into()),
            AMQPValue::ShortString("x".into()),
        ] {
            assert_eq!(text(&with(value), "h").as_deref(), Some("x"));
        }
        assert_eq!(text(&with(AMQPValue::Boolean(true)), "h"), None);
    }
}
