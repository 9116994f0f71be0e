//! Hostile bodies: JSON outside of every rule, and samples with changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use acequia_contracts::{Entity, fixtures};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::value::RawValue;

use crate::ENVELOPE;
use crate::support::entities;

/// Bodies of all samples, valid and invalid.
static BODIES: LazyLock<Vec<&'static [u8]>> = LazyLock::new(|| {
    let of = |entity: &Entity| {
        let valid = fixtures::valid(entity.domain, entity.name);
        [valid, fixtures::invalid(entity.domain, entity.name)].concat()
    };
    entities().flat_map(of).map(|sample| sample.body).collect()
});

/// Every key that a sample or a column has, aliases among them.
static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let columns = entities().flat_map(|entity| entity.columns);
    let known = columns.map(|column| column.name).chain(ENVELOPE);
    let mut keys: BTreeSet<String> = known.map(ToOwned::to_owned).collect();
    for body in BODIES.iter() {
        let fields = serde_json::from_slice::<BTreeMap<String, &RawValue>>(body);
        keys.extend(fields.unwrap_or_default().into_keys());
    }
    keys.into_iter().collect()
});

/// A text as JSON that means to do harm, or nothing that is JSON at all.
fn hostile_text() -> impl Strategy<Value = String> {
    let inside = prop_oneof![
        "[^\"\\\\]{0,20}",
        "\\PC{0,230}",
        "(\\\\u[dD][89abAB][0-9a-f]{2}){1,3}",
        "(\\\\u[dD]83[dD]\\\\u[dD]e0[0-9a-f]){1,3}",
        "(\\\\u0000|\\\\ufeff|\\\\uffff|\\\\n|\\\\/|\\\\x|\\\\u12){1,3}",
        "[+-]?[0-9]{1,7}-[0-9]{1,2}-[0-9]{1,2}",
        "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,12})?(Z|z|[+-][0-9]{2}:?[0-9]{2})?",
        "[0-9]{4}[ABC]",
        "[mfMF]| [mfMF]\t",
        "[\u{0}-\u{1f}\u{7f}\u{feff}\u{2028}\u{202e}]{1,4}",
    ];
    inside.prop_map(|inside| format!("\"{inside}\""))
}

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "0e0",
    "1e400",
    "-1e400",
    "1e-400",
    "1E+2",
    "1e2147483648",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1.0",
    "10.000",
    "79228162514264337593543950335",
    "79228162514264337593543950336",
    "0.0000000000000000000000000001",
    "01",
    "+1",
    ".5",
    "1.",
    "1e",
    "--1",
    "NaN",
    "Infinity",
    "0x10",
    "1_000",
    "\u{661}",
];

fn hostile_number() -> impl Strategy<Value = String> {
    prop_oneof![
        select(NUMBERS).prop_map(ToOwned::to_owned),
        "-?(0|[1-9][0-9]{0,11})",
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,12})?",
        (1_usize..500, select(&["9", "-1", "0.", "1e", "0.0"][..]))
            .prop_map(|(digits, begin)| format!("{begin}{}", "7".repeat(digits))),
    ]
}

/// A JSON value, or nearly one.
fn hostile_value() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        4 => hostile_text(),
        4 => hostile_number(),
        1 => select(&["null", "true", "false", "nul", "True", "", "undefined"][..])
            .prop_map(ToOwned::to_owned),
        1 => (0_usize..300, select(&[("[", "]"), ("{\"a\":", "}"), ("[", "")][..])).prop_map(
            |(depth, (open, close))| format!("{}1{}", open.repeat(depth), close.repeat(depth))
        ),
    ];
    plain.prop_recursive(3, 12, 4, |inner| {
        let fields = vec((hostile_key(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            fields.prop_map(|fields| object(&fields)),
        ]
    })
}

fn hostile_key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(KEYS.as_slice()).prop_map(|key| format!("\"{key}\"")),
        1 => select(KEYS.as_slice()).prop_map(|key| {
            let escaped: String = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
            format!("\"{escaped}\"")
        }),
        1 => hostile_text(),
    ]
}

fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// A JSON object with something around it, most often nothing.
pub fn hostile_body() -> impl Strategy<Value = Vec<u8>> {
    let around = || {
        prop_oneof![
            8 => Just(""),
            1 => select(&["\u{feff}", "\0", " \t\r\n", "[", "}", "{}", "//", "\u{a0}"][..]),
        ]
    };
    let fields = vec((hostile_key(), hostile_value()), 0..9);
    (around(), fields, around())
        .prop_map(|(before, fields, after)| format!("{before}{}{after}", object(&fields)).into())
}

/// A change to a sample.
#[derive(Debug, Clone)]
enum Mutation {
    /// Another value for the field at this place, of another type perhaps.
    Value(Index, String),
    /// Another name for the field at this place.
    Key(Index, String),
    /// The field at this place once more, with this value.
    Twice(Index, String),
    /// Without the field at this place.
    Without(Index),
    /// With a word on what becomes of the key.
    Op(&'static str),
    FlipBit(Index, u8),
    Truncate(Index),
    Insert(Index, Vec<u8>),
    /// A part of the body again at another place.
    Repeat(Index, Index, Index),
    /// The end of another sample.
    Splice(Index, Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = any::<Index>;
    prop_oneof![
        6 => (place(), hostile_value()).prop_map(|(at, value)| Mutation::Value(at, value)),
        2 => (place(), hostile_key()).prop_map(|(at, key)| Mutation::Key(at, key)),
        1 => (place(), hostile_value()).prop_map(|(at, value)| Mutation::Twice(at, value)),
        1 => place().prop_map(Mutation::Without),
        1 => select(&["\"delete\"", "\"upsert\"", "\"no\"", "1"][..]).prop_map(Mutation::Op),
        1 => (place(), 0_u8..8).prop_map(|(at, bit)| Mutation::FlipBit(at, bit)),
        1 => place().prop_map(Mutation::Truncate),
        1 => (place(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (place(), place(), place()).prop_map(|(from, to, at)| Mutation::Repeat(from, to, at)),
        1 => (place(), place(), place()).prop_map(|(of, from, at)| Mutation::Splice(of, from, at)),
    ]
}

/// The fields of a body as they are written; none when it is not an object.
fn fields_of(body: &[u8]) -> Vec<(String, String)> {
    let fields = serde_json::from_slice::<BTreeMap<String, &RawValue>>(body).unwrap_or_default();
    let written = |(key, value): (String, &RawValue)| {
        (serde_json::to_string(&key).unwrap(), value.get().to_owned())
    };
    fields.into_iter().map(written).collect()
}

fn mutate(body: &mut Vec<u8>, mutation: Mutation) {
    let mut fields = fields_of(body);
    let field = |at: Index| at.index(fields.len().max(1));
    match mutation {
        Mutation::Value(at, _) | Mutation::Key(at, _) | Mutation::Twice(at, _)
            if field(at) >= fields.len() => {}
        Mutation::Without(_) if fields.is_empty() => {}
        Mutation::Value(at, value) => {
            let at = field(at);
            fields[at].1 = value;
            *body = object(&fields).into();
        }
        Mutation::Key(at, key) => {
            let at = field(at);
            fields[at].0 = key;
            *body = object(&fields).into();
        }
        Mutation::Twice(at, value) => {
            let again = (fields[field(at)].0.clone(), value);
            fields.push(again);
            *body = object(&fields).into();
        }
        Mutation::Without(at) => {
            let at = field(at);
            fields.remove(at);
            *body = object(&fields).into();
        }
        Mutation::Op(word) => {
            fields.push(("\"_op\"".to_owned(), word.to_owned()));
            *body = object(&fields).into();
        }
        Mutation::FlipBit(_, _) if body.is_empty() => {}
        Mutation::FlipBit(at, bit) => {
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
        }
        Mutation::Truncate(at) => body.truncate(at.index(body.len() + 1)),
        Mutation::Insert(at, bytes) => {
            let at = at.index(body.len() + 1);
            body.splice(at..at, bytes);
        }
        Mutation::Repeat(from, to, at) => {
            let (from, to) = (from.index(body.len() + 1), to.index(body.len() + 1));
            let part = body[from.min(to)..from.max(to)].to_owned();
            let at = at.index(body.len() + 1);
            body.splice(at..at, part);
        }
        Mutation::Splice(of, from, at) => {
            let other = BODIES[of.index(BODIES.len())];
            body.truncate(at.index(body.len() + 1));
            body.extend_from_slice(&other[from.index(other.len() + 1)..]);
        }
    }
}

pub fn mutated_sample() -> impl Strategy<Value = Vec<u8>> {
    let sample = select(BODIES.as_slice());
    (sample, vec(mutation(), 0..5)).prop_map(|(sample, mutations)| {
        let mut body = sample.to_owned();
        for mutation in mutations {
            mutate(&mut body, mutation);
        }
        body
    })
}
