//! From bytes to columns: one pass over the JSON for a good message, a complete report for a
//! bad one.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::field::{Kind, Values};
use crate::message::{Column, Message};
use crate::rules::{self, Context};
use crate::violation::{Code, Violation, flatten, sort};

/// The deepest nesting of objects and lists that a message may have.
pub const MAX_DEPTH: usize = 64;

/// What every message may carry beside its own fields.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Envelope {
    /// Event time: decides which of two versions is the newer one.
    pub ts: Option<DateTime<Utc>>,
    /// Identity of the message, when AMQP `message_id` is not set.
    pub event_id: Option<String>,
    /// How many fields the contract does not know.
    pub unknown_fields: u32,
}

/// The envelope's fields with their types, for the error report.
const ENVELOPE: &[Column] = &[
    Column::of::<Option<String>>("entity"),
    Column::of::<Option<String>>("event_id"),
    Column::of::<Option<i64>>("v"),
    Column::of::<Option<DateTime<Utc>>>("ts"),
];

/// Decodes and validates one body and appends it to the columns.
///
/// Columns are only touched when the message is good.
///
/// # Errors
/// Every broken rule, sorted by field.
pub fn decode<T: Message>(
    body: &str,
    context: &Context,
    columns: &mut [Values],
) -> Result<Envelope, Vec<Violation>> {
    let Ok(Wire {
        payload,
        mut envelope,
    }) = serde_json::from_str::<Wire<T>>(body)
    else {
        return Err(report::<T>(body));
    };
    envelope.ts = envelope.ts.or_else(|| payload.version());
    let mut violations = match payload.validate_with_args(context) {
        Ok(()) => Vec::new(),
        Err(errors) => flatten(&errors),
    };
    payload.check_storable(&mut violations);
    if let Some(ts) = &envelope.ts
        && let Err(error) = rules::event_time(ts, context)
    {
        let mut errors = validator::ValidationErrors::new();
        errors.add("ts", error);
        violations.extend(flatten(&errors));
    }
    if violations.is_empty() {
        payload.append(columns);
        Ok(envelope)
    } else {
        sort(&mut violations);
        Err(violations)
    }
}

/// The body's `entity` field, for queues whose publishers set neither type nor routing key.
#[must_use]
pub fn entity_of(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        entity: Option<String>,
    }
    serde_json::from_str::<Named>(body).ok()?.entity
}

/// A payload and its envelope, which share one flat JSON object.
struct Wire<T> {
    payload: T,
    envelope: Envelope,
}

impl<'de, T: Message> Deserialize<'de> for Wire<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `deserialize_map`, so that a JSON list is not taken for a struct.
        deserializer.deserialize_map(WireVisitor(PhantomData))
    }
}

struct WireVisitor<T>(PhantomData<T>);

impl<'de, T: Message> Visitor<'de> for WireVisitor<T> {
    type Value = Wire<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Wire<T>, A::Error> {
        let mut envelope = Envelope::default();
        let payload = T::deserialize(MapAccessDeserializer::new(PayloadFields {
            map,
            envelope: &mut envelope,
            message: PhantomData::<T>,
        }))?;
        Ok(Wire { payload, envelope })
    }
}

/// Shows the payload's struct only its own fields; the envelope's and the unknown ones are
/// taken out on the way.
struct PayloadFields<'a, A, T> {
    map: A,
    envelope: &'a mut Envelope,
    message: PhantomData<T>,
}

impl<'de, A: MapAccess<'de>, T: Message> MapAccess<'de> for PayloadFields<'_, A, T> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(Key(key)) = self.map.next_key()? {
            let field = field_of::<T>(&key);
            if T::COLUMNS.iter().any(|column| column.name == field) {
                let key = match key {
                    Cow::Borrowed(key) if key == field => {
                        seed.deserialize(BorrowedStrDeserializer::new(key))
                    }
                    _ => seed.deserialize(StrDeserializer::new(field)),
                };
                return key.map(Some);
            }
            match field {
                "ts" => put_once(&mut self.envelope.ts, self.map.next_value()?)?,
                "event_id" => put_once(&mut self.envelope.event_id, self.map.next_value()?)?,
                "entity" => drop(self.map.next_value::<Option<Key<'de>>>()?),
                "v" => drop(self.map.next_value::<Option<i64>>()?),
                _ => {
                    let value: &RawValue = self.map.next_value()?;
                    if nesting(value.get()) >= MAX_DEPTH {
                        return Err(A::Error::custom("nested too deep"));
                    }
                    self.envelope.unknown_fields += 1;
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Sets a field of the envelope. Which of two event times counts must not be a guess.
fn put_once<T, E: serde::de::Error>(place: &mut Option<T>, value: Option<T>) -> Result<(), E> {
    if place.is_some() {
        return Err(E::custom("stands twice"));
    }
    *place = value;
    Ok(())
}

/// The field that a key stands for: itself, or the field it is an alias of.
fn field_of<T: Message>(key: &str) -> &str {
    T::ALIASES
        .iter()
        .find(|(alias, _)| *alias == key)
        .map_or(key, |(_, field)| *field)
}

/// A key or text, borrowed from the body unless it contains escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// How deep objects and lists are nested in a piece of valid JSON.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                // To the end of the string; an escaped quote does not end it.
                while let Some(inner) = bytes.next() {
                    match inner {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// Everything that keeps a body from being a message of type `T`. Called for bad ones only, so
/// it may take its time: it looks at each field apart and goes on after the first error.
fn report<T: Message>(body: &str) -> Vec<Violation> {
    let fields = match serde_json::from_str::<RawFields<'_>>(body) {
        Ok(RawFields(fields)) => fields,
        Err(error) if error.is_data() => {
            return vec![Violation::body(
                Code::InvalidType,
                "the body must be one JSON object",
            )];
        }
        Err(error) => {
            return vec![Violation::body(
                Code::InvalidJson,
                format!(
                    "not JSON: stops at line {}, column {}",
                    error.line(),
                    error.column()
                ),
            )];
        }
    };
    let mut violations = Vec::new();
    for column in T::COLUMNS.iter().chain(ENVELOPE) {
        let mut values = fields
            .iter()
            .filter(|(key, _)| field_of::<T>(key) == column.name)
            .map(|(_, value)| value.get());
        let value = values.next();
        if values.next().is_some() {
            violations.push(Violation::field(
                Code::DuplicateField,
                column.name,
                "must stand only once in the object",
            ));
        }
        violations.extend(misfit(column, value));
    }
    for (key, value) in &fields {
        if nesting(value.get()) >= MAX_DEPTH {
            let known = T::COLUMNS.iter().find(|column| column.name == key);
            violations.push(Violation::field(
                Code::TooDeep,
                known.map_or("", |column| column.name),
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
    }
    if violations.is_empty() {
        violations.push(Violation::body(
            Code::InvalidType,
            "the body does not have the form of its entity",
        ));
    }
    sort(&mut violations);
    violations
}

/// Why a JSON value does not fit its column, if it does not.
fn misfit(column: &Column, value: Option<&str>) -> Option<Violation> {
    let violation = |code, message: &str| Some(Violation::field(code, column.name, message));
    let Some(json) = value.filter(|json| *json != "null") else {
        return if column.required {
            violation(Code::MissingField, "is required")
        } else {
            None
        };
    };
    if (column.accepts)(json) {
        return None;
    }
    let is_text = json.starts_with('"');
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match column.kind {
        Kind::Int | Kind::BigInt if is_number && !json.contains(['.', 'e', 'E']) => {
            violation(Code::OutOfRange, "does not fit an integer")
        }
        Kind::Float | Kind::Decimal if is_number => {
            violation(Code::OutOfRange, "is too large or too precise")
        }
        Kind::Int | Kind::BigInt => violation(Code::InvalidType, "must be an integer"),
        Kind::Float | Kind::Decimal => violation(Code::InvalidType, "must be a number"),
        Kind::Bool => violation(Code::InvalidType, "must be true or false"),
        Kind::Choice if is_text => violation(Code::NotAllowed, "is not in the list of values"),
        Kind::Date if is_text => violation(Code::InvalidDate, "must be a date as YYYY-MM-DD"),
        Kind::Timestamp if is_text => violation(
            Code::InvalidDate,
            "must be an instant with offset as YYYY-MM-DDThh:mm:ssZ",
        ),
        // Text that is no Unicode: an escape for half of a surrogate pair.
        Kind::Text if is_text => violation(Code::InvalidFormat, "must be Unicode text"),
        _ => violation(Code::InvalidType, "must be a text"),
    }
}

/// A JSON object as a list, so that repeated keys are seen.
struct RawFields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = RawFields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(RawFields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}
