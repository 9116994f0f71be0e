//! Messages that say that their key is gone: only the key and the envelope of such a body count.

use crate::MAX_DEPTH;
use crate::decode::{Envelope, field_of, read};
use crate::field::Values;
use crate::json::shape;
use crate::message::Message;
use crate::report::{broken_rules, broken_time, fields_of, report};
use crate::rules::Context;
use crate::time::Instant;
use crate::violation::{Code, Violation, sort};

/// Field of a body that says what a message does with its key.
pub const OP_FIELD: &str = "_op";

/// Effect of a message on its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The message brings a version; this is the default.
    Upsert,
    /// The key is deleted from the message's event time on.
    Delete,
}

impl Op {
    /// Reads the header `x-op` or the field `_op`.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] at the header or field when it is another text.
    pub fn read(text: &str, path: &'static str) -> Result<Self, Violation> {
        match text.trim() {
            text if text.eq_ignore_ascii_case("delete") => Ok(Self::Delete),
            text if text.eq_ignore_ascii_case("upsert") => Ok(Self::Upsert),
            _ => Err(Violation::field(
                Code::NotAllowed,
                path,
                "must be delete, upsert or left out",
            )),
        }
    }

    /// The operation in a body, if the body is an object whose field `_op` is a text.
    pub(crate) fn of_body(body: &str) -> Option<Result<Self, Violation>> {
        let fields = fields_of(body).ok()?;
        let mut values = fields.iter().filter(|(key, _)| key == OP_FIELD);
        let (_, value) = values.next()?;
        let text = serde_json::from_str::<Option<String>>(value.get()).ok()??;
        Some(Self::read(&text, OP_FIELD))
    }
}

/// Decodes a delete, and appends its key to the columns, with nothing in the others.
///
/// # Errors
/// [`Code::DeleteNotAllowed`] when the entity does not allow deletes; else every broken rule of key and
/// envelope, sorted by field. Other fields are not looked at.
pub fn decode_delete<T: Message>(
    body: &str,
    path: &'static str,
    context: &Context,
    columns: &mut [Values],
) -> Result<Envelope, Vec<Violation>> {
    if !T::MERGE_SPEC.deletes {
        return Err(vec![Violation::field(
            Code::DeleteNotAllowed,
            path,
            "messages of this entity do not delete",
        )]);
    }
    let fields = fields_of(body).map_err(|violation| vec![violation])?;
    let is_value = |name: &str| {
        let mut columns = T::COLUMNS.iter();
        columns.any(|column| column.name == name) && !T::KEY.contains(&name)
    };
    let mut violations = Vec::new();
    // The message as if it had all values: others stand in for those that do not count.
    let mut whole = String::from("{");
    for (key, value) in &fields {
        if is_value(field_of::<T>(key)) {
            if shape(value.get()).depth >= MAX_DEPTH {
                let message = format!("nested deeper than {MAX_DEPTH} levels");
                violations.push(Violation::field(Code::TooDeep, key.clone(), message));
            }
            continue;
        }
        append(&mut whole, key, value.get());
    }
    for column in T::COLUMNS.iter().filter(|column| is_value(column.name)) {
        append(&mut whole, column.name, column.stand_in);
    }
    whole.push('}');
    let counts = |found: &Violation| !is_value(&found.path);
    let Ok((payload, ts, mut envelope)) = read::<T>(&whole) else {
        violations.extend(report::<T>(&whole, context).into_iter().filter(counts));
        sort(&mut violations);
        return Err(violations);
    };
    // A rule over several fields has the empty path, and judges what stands in.
    let of_key = |found: &Violation| T::KEY.contains(&found.path.as_ref());
    violations.extend(broken_rules(&payload, context).into_iter().filter(of_key));
    violations.extend(ts.and_then(|ts| broken_time(&ts, context)));
    if !violations.is_empty() {
        sort(&mut violations);
        return Err(violations);
    }
    envelope.ts = ts.map(Instant::utc);
    envelope.op = Op::Delete;
    let mut staged: Vec<_> = T::COLUMNS
        .iter()
        .map(|column| Values::new(column.kind))
        .collect();
    payload.append(&mut staged);
    for ((column, all), one) in T::COLUMNS.iter().zip(columns).zip(&mut staged) {
        if T::KEY.contains(&column.name) {
            all.append(one);
        } else {
            all.push_null();
        }
    }
    Ok(envelope)
}

/// Adds a member to the text of an object.
fn append(object: &mut String, key: &str, value: &str) {
    if object.len() > 1 {
        object.push(',');
    }
    // A text is always JSON.
    object.push_str(&serde_json::Value::from(key).to_string());
    object.push(':');
    object.push_str(value);
}
