//! Decodes bytes into columns: one pass over the JSON of a good message. A bad one is reported on by
//! [`report`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::delete::{OP_FIELD, Op, decode_delete};
use crate::field::{Text, Values};
use crate::json::shape;
use crate::message::Message;
use crate::report::{self, broken_rules, report};
use crate::rules::Context;
use crate::time::Instant;
use crate::violation::{Code, Violation, sort};
use crate::{CONTRACT_VERSION, MAX_DEPTH};

/// Fields that every message may carry beside its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Event time: decides which of two versions is the newer one.
    pub ts: Option<DateTime<Utc>>,
    /// Identity of the message, when AMQP `message_id` is not set.
    pub event_id: Option<String>,
    /// Number of fields that the contract does not know.
    pub unknown_fields: u32,
    /// Whether the message writes or deletes its key.
    pub op: Op,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            ts: None,
            event_id: None,
            unknown_fields: 0,
            op: Op::Upsert,
        }
    }
}

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
    let Ok((mut payload, ts, mut envelope)) = read::<T>(body) else {
        // A key that is gone may come without the values.
        return match Op::of_body(body) {
            Some(Ok(Op::Delete)) => decode_delete::<T>(body, OP_FIELD, context, columns),
            Some(Err(violation)) => {
                let mut violations = report::<T>(body, context);
                violations
                    .retain(|found| found.code != Code::InvalidType || !found.path.is_empty());
                violations.push(violation);
                sort(&mut violations);
                Err(violations)
            }
            _ => Err(report::<T>(body, context)),
        };
    };
    if envelope.op == Op::Delete {
        return decode_delete::<T>(body, OP_FIELD, context, columns);
    }
    let ts = ts.or_else(|| payload.version());
    let mut violations = broken_rules(&payload, context);
    violations.extend(ts.and_then(|ts| report::broken_time(&ts, context)));
    if !violations.is_empty() {
        sort(&mut violations);
        return Err(violations);
    }
    if let Some(ts) = ts {
        payload.set_day(ts.day());
        envelope.ts = Some(ts.utc());
    }
    payload.append(columns);
    Ok(envelope)
}

/// The fields, event time and envelope of a body; nothing when it has not the form of its entity.
pub(crate) fn read<T: Message>(
    body: &str,
) -> Result<(T, Option<Instant>, Envelope), serde_json::Error> {
    let wire = serde_json::from_str::<Wire<T>>(body)?;
    Ok((wire.payload, wire.ts, wire.envelope))
}

/// The body's `entity` field, for queues whose publishers set neither type nor routing key. Nothing
/// when the body is no JSON object, or has no such text, or has it twice: [`crate::nameless`] says why.
#[must_use]
pub fn entity_of(body: &str) -> Option<String> {
    let Named(entity) = serde_json::from_str(body).ok()?;
    entity.map(Cow::into_owned)
}

/// The field `entity` of an object.
struct Named<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Named<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamedVisitor;
        impl<'de> Visitor<'de> for NamedVisitor {
            type Value = Named<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut entity, mut seen) = (None, false);
                while let Some(Text(key)) = map.next_key()? {
                    if key == "entity" {
                        once(&mut seen)?;
                        entity = map
                            .next_value::<Option<Text<'de>>>()?
                            .map(|Text(name)| name);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Named(entity))
            }
        }
        deserializer.deserialize_map(NamedVisitor)
    }
}

/// A payload and its envelope, which share one flat JSON object.
struct Wire<T> {
    payload: T,
    ts: Option<Instant>,
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
        let mut beside = Beside::default();
        let payload = T::deserialize(MapAccessDeserializer::new(PayloadFields {
            map,
            beside: &mut beside,
            message: PhantomData::<T>,
        }))?;
        Ok(Wire {
            payload,
            ts: beside.ts,
            envelope: beside.envelope,
        })
    }
}

/// The data beside the fields of the payload.
#[derive(Default)]
struct Beside<'de> {
    envelope: Envelope,
    ts: Option<Instant>,
    seen_ts: bool,
    seen_event_id: bool,
    seen_entity: bool,
    seen_v: bool,
    seen_op: bool,
    unknown: HashSet<Cow<'de, str>>,
}

/// Shows the payload's struct only its own fields; the envelope's and the unknown ones are
/// taken out on the way.
struct PayloadFields<'a, 'de, A, T> {
    map: A,
    beside: &'a mut Beside<'de>,
    message: PhantomData<T>,
}

impl<'de, A: MapAccess<'de>, T: Message> PayloadFields<'_, 'de, A, T> {
    /// Takes the value of a key that is none of the payload's. No key may stand twice: which of two
    /// values counts must not be a guess.
    fn take(&mut self, key: Cow<'de, str>) -> Result<(), A::Error> {
        let beside = &mut *self.beside;
        match key.as_ref() {
            "ts" => {
                once(&mut beside.seen_ts)?;
                beside.ts = self.map.next_value()?;
            }
            "event_id" => {
                once(&mut beside.seen_event_id)?;
                beside.envelope.event_id = self.map.next_value()?;
            }
            "entity" => {
                once(&mut beside.seen_entity)?;
                self.map.next_value::<Option<Text<'de>>>()?;
            }
            "v" => {
                once(&mut beside.seen_v)?;
                let version = self.map.next_value::<Option<i64>>()?;
                if version.is_some_and(|version| version != CONTRACT_VERSION) {
                    return Err(A::Error::custom("another version"));
                }
            }
            OP_FIELD => {
                once(&mut beside.seen_op)?;
                if let Some(Text(text)) = self.map.next_value::<Option<Text<'de>>>()? {
                    beside.envelope.op = Op::read(&text, OP_FIELD)
                        .map_err(|_| A::Error::custom("another operation"))?;
                }
            }
            _ => {
                let json = self.map.next_value::<&RawValue>()?.get();
                // Whatever has a structure of its own begins with a bracket.
                if json.starts_with(['{', '[']) {
                    let shape = shape(json);
                    if shape.depth >= MAX_DEPTH || shape.repeats {
                        return Err(A::Error::custom("its structure is refused"));
                    }
                }
                if !beside.unknown.insert(key) {
                    return Err(A::Error::custom("stands twice"));
                }
                beside.envelope.unknown_fields += 1;
            }
        }
        Ok(())
    }
}

impl<'de, A: MapAccess<'de>, T: Message> MapAccess<'de> for PayloadFields<'_, 'de, A, T> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(Text(key)) = self.map.next_key()? {
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
            self.take(key)?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

fn once<E: serde::de::Error>(seen: &mut bool) -> Result<(), E> {
    if std::mem::replace(seen, true) {
        return Err(E::custom("stands twice"));
    }
    Ok(())
}

/// The field that a key stands for: itself, or the field it is an alias of.
pub fn field_of<T: Message>(key: &str) -> &str {
    T::ALIASES
        .iter()
        .find(|(alias, _)| *alias == key)
        .map_or(key, |(_, field)| *field)
}
