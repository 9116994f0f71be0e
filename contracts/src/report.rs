//! The complete report on a body that is not a message. Only bad bodies come here, so it may take its
//! time: it looks at each field separately and continues after the first error.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::field_of;
use crate::delete::OP_FIELD;
use crate::exact_decimal::ExactDecimal;
use crate::field::Kind;
use crate::json::shape;
use crate::message::{Column, Message};
use crate::rules::{self, Context};
use crate::time::Instant;
use crate::violation::{Code, Violation, flatten, sort};
use crate::{CONTRACT_VERSION, MAX_DEPTH};

/// The envelope's fields with their types.
const ENVELOPE: &[Column] = &[
    Column::of::<Option<String>>("entity"),
    Column::of::<Option<String>>("event_id"),
    Column::of::<Option<i64>>("v"),
    Column::of::<Option<Instant>>("ts"),
    Column::of::<Option<String>>(OP_FIELD),
];

/// The rules of the fields that a message breaks, and the texts that PostgreSQL cannot hold.
pub fn broken_rules<T: Message>(payload: &T, context: &Context) -> Vec<Violation> {
    let mut violations = match payload.validate_with_args(context) {
        Ok(()) => Vec::new(),
        Err(errors) => flatten(&errors),
    };
    payload.check_storable(&mut violations);
    violations
}

/// The violation of an event time, if there is one.
pub fn broken_time(ts: &Instant, context: &Context) -> Option<Violation> {
    let error = rules::event_time(ts, context).err()?;
    let mut errors = validator::ValidationErrors::new();
    errors.add("ts", error);
    flatten(&errors).pop()
}

/// Why a body does not say by itself of which entity it is: [`crate::entity_of`] found nothing, or a
/// unknown name.
#[must_use]
pub fn nameless(body: &str) -> Violation {
    let why = match fields_of(body) {
        Ok(fields) if fields.iter().filter(|(key, _)| key == "entity").count() > 1 => {
            return twice("entity");
        }
        Ok(_) => "neither type, routing key nor the field entity names an entity of the domain",
        Err(violation) if violation.code == Code::InvalidJson => return violation,
        Err(_) => {
            "neither type nor routing key names an entity of the domain, and the body is no JSON object"
        }
    };
    Violation::body(Code::UnknownEntity, why)
}

/// Everything that is wrong with a body of which a message of type `T` cannot be read.
pub fn report<T: Message>(body: &str, context: &Context) -> Vec<Violation> {
    let fields = match fields_of(body) {
        Ok(fields) => fields,
        Err(violation) => return vec![violation],
    };
    let mut violations = Vec::new();
    // The fields that can be read, and what stands in for the others.
    let mut readable = String::from("{");
    let mut replaced = Vec::new();
    let mut ts = None;
    for column in T::COLUMNS.iter().chain(ENVELOPE) {
        let mut values = fields
            .iter()
            .filter(|(key, _)| field_of::<T>(key) == column.name)
            .map(|(_, value)| value.get());
        let value = values.next();
        let before = violations.len();
        if values.next().is_some() {
            violations.push(twice(column.name));
        }
        violations.extend(misfit(column, value));
        let good = violations.len() == before;
        if ENVELOPE.iter().any(|field| field.name == column.name) {
            if column.name == "ts" && good {
                ts = value.and_then(|json| serde_json::from_str::<Instant>(json).ok());
            }
            continue;
        }
        if !good {
            replaced.push(column.name);
        }
        let json = value.filter(|_| good).unwrap_or(column.stand_in);
        let comma = if readable.len() > 1 { "," } else { "" };
        readable.push_str(&format!("{comma}\"{}\":{json}", column.name));
    }
    readable.push('}');
    violations.extend(structure::<T>(&fields));
    if let Ok(payload) = serde_json::from_str::<T>(&readable) {
        // A rule over several fields says nothing while one of them is not what was sent.
        violations.extend(broken_rules(&payload, context).into_iter().filter(|found| {
            let of = |name: &&str| found.path.is_empty() || found.path == **name;
            !replaced.iter().any(of)
        }));
        let ts = ts.or_else(|| payload.version().filter(|_| replaced.is_empty()));
        violations.extend(ts.and_then(|ts| broken_time(&ts, context)));
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

/// Violations of structure: nesting that is too deep, and keys that stand twice in unknown objects.
fn structure<T: Message>(fields: &[(String, &RawValue)]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut unknown = std::collections::HashSet::new();
    let mut repeats = false;
    for (key, value) in fields {
        let field = field_of::<T>(key);
        let known = T::COLUMNS.iter().chain(ENVELOPE);
        let known = known.into_iter().find(|column| column.name == field);
        let shape = shape(value.get());
        if shape.depth >= MAX_DEPTH {
            violations.push(Violation::field(
                Code::TooDeep,
                known.map_or("", |column| column.name),
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        repeats |= known.is_none() && (shape.repeats || !unknown.insert(field));
    }
    if repeats {
        violations.push(twice(""));
    }
    violations
}

fn twice(field: &'static str) -> Violation {
    Violation::field(
        Code::DuplicateField,
        field,
        if field.is_empty() {
            "a key that the contract does not know stands twice in its object"
        } else {
            "must stand only once in the object"
        },
    )
}

/// Reason why a JSON value does not fit its column, if it does not.
fn misfit(column: &Column, value: Option<&str>) -> Option<Violation> {
    let violation = |code, message: &str| {
        let message = message.to_owned();
        Some(Violation::field(code, column.name, message))
    };
    let Some(json) = value.filter(|json| *json != "null") else {
        return if column.required {
            violation(Code::MissingField, "is required")
        } else {
            None
        };
    };
    let is_text = json.starts_with('"');
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let is_integer = is_number && !json.contains(['.', 'e', 'E']);
    if column.name == "v" && is_integer {
        let other = json.parse() != Ok(CONTRACT_VERSION);
        let message =
            format!("must be {CONTRACT_VERSION}, the version of the contract, or left out");
        return other.then(|| violation(Code::NotAllowed, &message))?;
    }
    if (column.accepts)(json) {
        return None;
    }
    match column.kind {
        Kind::Int | Kind::BigInt if is_integer => {
            violation(Code::OutOfRange, "does not fit an integer")
        }
        Kind::Float if is_number => violation(Code::OutOfRange, "is too large"),
        Kind::Decimal if is_number => match ExactDecimal::read(json) {
            Err(Code::TooPrecise) => violation(Code::TooPrecise, "has more decimals than are kept"),
            _ => violation(Code::OutOfRange, "is too large"),
        },
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

/// The fields of a body with their values as they are written, repeated ones too.
pub fn fields_of(body: &str) -> Result<Vec<(String, &RawValue)>, Violation> {
    let error = match serde_json::from_str::<RawFields<'_>>(body) {
        Ok(RawFields(fields)) => return Ok(fields),
        // Whatever is no object is not read to its end: it may be no JSON either.
        Err(error) if error.is_data() => match serde_json::from_str::<IgnoredAny>(body) {
            Ok(_) => {
                return Err(Violation::body(
                    Code::InvalidType,
                    "the body must be one JSON object",
                ));
            }
            Err(error) => error,
        },
        Err(error) => error,
    };
    Err(Violation::body(
        Code::InvalidJson,
        format!(
            "not JSON: stops at line {}, column {}",
            error.line(),
            error.column()
        ),
    ))
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
