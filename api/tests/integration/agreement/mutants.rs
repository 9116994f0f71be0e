//! Messages made from valid samples: some still valid, most broken in one way or two.

use std::collections::BTreeMap;

use acequia_contracts::generate::SeededRng;
use acequia_contracts::{Column, Entity, Kind, MAX_BODY_BYTES, MAX_DEPTH, fixtures};
use serde_json::value::RawValue;

/// An object: names with their values as they are written.
type Members = Vec<(String, String)>;

/// Bodies of an entity; the same for the same seed. The first is valid, the second too large, none has a line end.
pub fn mutants(entity: &Entity, seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut rng = SeededRng::new(seed, entity.columns.len() as u64);
    let samples: Vec<Members> = fixtures::valid(entity.domain, entity.name)
        .iter()
        .map(|sample| members(sample.body))
        .collect();
    let mut large = samples[0].clone();
    large.push(("unheard_of".to_owned(), text(&"x".repeat(MAX_BODY_BYTES))));
    let mut bodies = vec![written(&samples[0]), written(&large)];
    while bodies.len() < count {
        let mut members = samples[rng.below(samples.len() as u32) as usize].clone();
        for _ in 0..rng.pick(&[0, 1, 1, 1, 2]) {
            change(entity, &mut members, &mut rng);
        }
        let mut body = written(&members);
        if rng.percent(6) {
            damage(&mut body, &mut rng);
        }
        bodies.push(body);
    }
    bodies
}

fn members(body: &[u8]) -> Members {
    let read: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).unwrap();
    let texts = read.into_iter();
    texts
        .map(|(name, value)| (name, value.get().to_owned()))
        .collect()
}

fn written(members: &Members) -> Vec<u8> {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name.as_str())))
        .collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}

/// Changes a message in one way.
fn change(entity: &Entity, members: &mut Members, rng: &mut SeededRng) {
    let column = &entity.columns[rng.below(entity.columns.len() as u32) as usize];
    let names = |name: &'static str| -> [Option<&str>; 2] {
        let alias = entity.aliases.iter().find(|(_, field)| *field == name);
        [Some(name), alias.map(|(alias, _)| *alias)]
    };
    let place = members
        .iter()
        .position(|(name, _)| names(column.name).contains(&Some(name)));
    match rng.below(12) {
        0 => members.retain(|(name, _)| !names(column.name).contains(&Some(name))),
        1..=6 => {
            let before = place.map(|place| members[place].1.clone());
            let value = value(column, before.as_deref(), rng);
            match place {
                Some(place) => members[place].1 = value,
                None => members.push((column.name.to_owned(), value)),
            }
        }
        7 => {
            // Under its other name, or under both.
            if let (Some(place), [_, Some(alias)]) = (place, names(column.name)) {
                let value = members[place].1.clone();
                if rng.percent(50) {
                    members.remove(place);
                }
                members.push((alias.to_owned(), value));
            }
        }
        8 => {
            let again = rng.below(members.len() as u32) as usize;
            members.push(members[again].clone());
        }
        9 => unknown(members, rng),
        _ => envelope(entity, members, rng),
    }
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const ANYTHING: [&str; 14] = [
    "null",
    "true",
    "0",
    "1",
    "-1",
    "7",
    "1.5",
    "\"\"",
    "\" \"",
    "\"x\"",
    "[1]",
    "{\"a\":1}",
    "1e12",
    "NaN",
];
const INTEGERS: [&str; 9] = [
    "1.0",
    "1e2",
    "-0",
    "2147483647",
    "2147483648",
    "-2147483649",
    "99999999999999999999",
    "23",
    "24",
];
const DECIMALS: [&str; 16] = [
    "8.75",
    "875e-2",
    "8.750000",
    "8.123456",
    "1e-30",
    "-0.0",
    "0.1e1",
    "10",
    "10.01",
    "1000",
    "1000.001",
    "1e400",
    "12345678901234567890.5",
    "0.001",
    "0.0005",
    "\"8.75\"",
];
const DATES: [&str; 10] = [
    "2024-02-29",
    "2023-02-29",
    "1899-12-31",
    "1900-01-01",
    "2999-01-01",
    "0000-01-01",
    "2024-1-1",
    "2024-01-01 ",
    "20240101",
    "2024-13-01",
];
const INSTANTS: [&str; 18] = [
    "2024-06-10T18:00:00Z",
    "2024-06-10 18:00:00+00:00",
    "2024-06-10t18:00:00.000z",
    "2024-06-10T18:00:00-05:00",
    "2024-06-10T18:20:00Z",
    "2024-06-10T18:00:00.5Z",
    "2024-06-10T18:00:00",
    "2024-06-10",
    "2999-01-01T00:00:00Z",
    "1999-12-31T23:00:00Z",
    "1899-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2024-06-10T18:59:60Z",
    "2024-06-10T24:00:00Z",
    "2024-02-30T00:00:00Z",
    "2024-06-10T18:00:00+24:00",
    "2024-06-10T18:00:00+0000",
    "2024-06-10T18:00:00.Z",
];

/// A value for a field: one of its type at the edge, one near the value before, or anything.
fn value(column: &Column, before: Option<&str>, rng: &mut SeededRng) -> String {
    if rng.percent(20) {
        return rng.pick(&ANYTHING).to_owned();
    }
    let near = before.and_then(|json| serde_json::from_str::<String>(json).ok());
    if let Some(near) = near.filter(|_| rng.percent(50)) {
        let mut shorter = near.clone();
        shorter.pop();
        return text(&match rng.below(7) {
            0 => near.to_lowercase(),
            1 => shorter,
            2 => near + "0",
            3 => format!(" {near}\t"),
            4 => near.to_uppercase(),
            5 => near.replace('T', " ").replace('Z', "+00:00"),
            _ => near + "\0",
        });
    }
    match column.kind {
        Kind::Int | Kind::BigInt => rng.pick(&INTEGERS).to_owned(),
        Kind::Float | Kind::Decimal => rng.pick(&DECIMALS).to_owned(),
        Kind::Bool => rng
            .pick(&["true", "false", "1", "\"true\"", "null"])
            .to_owned(),
        Kind::Date => text(rng.pick(&DATES)),
        Kind::Timestamp => text(rng.pick(&INSTANTS)),
        Kind::Choice => text(rng.pick(column.choices)),
        Kind::Text => {
            let letter = rng.pick(&["x", "ñ", "🜚"]);
            let length = rng.pick(&[1, 5, 9, 99, 100, 101, 199, 200, 201, 1_000]);
            match rng.below(4) {
                0 => format!("\"{}\\ud800\"", letter.repeat(length)),
                1 => text(&format!("  {}  ", letter.repeat(length))),
                _ => text(&letter.repeat(length)),
            }
        }
    }
}

/// Adds a field that the contract does not know.
fn unknown(members: &mut Members, rng: &mut SeededRng) {
    let depth = rng.pick(&[1, MAX_DEPTH - 2, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 10]);
    let value = match rng.below(4) {
        0 => "1".to_owned(),
        1 => "{\"a\":1,\"a\":2}".to_owned(),
        2 => "{\"a\":{\"b\":[null,{\"a\":1}]}}".to_owned(),
        _ => format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
    };
    members.push(("unheard_of".to_owned(), value));
}

/// Sets a field of the envelope.
fn envelope(entity: &Entity, members: &mut Members, rng: &mut SeededRng) {
    let other_case = entity.name.to_uppercase();
    let full = format!("{}.{}", entity.domain, entity.name);
    let (name, value) = match rng.below(5) {
        0 => ("ts", text(rng.pick(&INSTANTS))),
        1 => (
            "v",
            rng.pick(&["1", "1.0", "2", "\"1\"", "null", "99999999999999999999"])
                .to_owned(),
        ),
        2 => (
            "event_id",
            rng.pick(&[
                "\"e-1\"",
                "\"\"",
                "null",
                "7",
                "\"00000000-0000-0000-0000-000000000000\"",
            ])
            .to_owned(),
        ),
        3 => (
            "_op",
            rng.pick(&[
                "\"upsert\"",
                "\" UPSERT\"",
                "\"delete\"",
                "\"Delete\"",
                "\"drop\"",
                "null",
                "1",
            ])
            .to_owned(),
        ),
        _ => (
            "entity",
            match rng.below(4) {
                0 => text(entity.name),
                1 => text(&full),
                2 => text(&other_case),
                _ => "7".to_owned(),
            },
        ),
    };
    members.retain(|(known, _)| known != name);
    members.push((name.to_owned(), value));
}

/// Damages the bytes themselves.
fn damage(body: &mut Vec<u8>, rng: &mut SeededRng) {
    let place = 1 + rng.below(body.len() as u32 - 1) as usize;
    match rng.below(6) {
        0 => body.truncate(place),
        1 => body.extend(b"}"),
        2 => *body = [b"[", body.as_slice(), b"]"].concat(),
        3 => body.insert(place, 0xff),
        4 => {
            *body = body
                .iter()
                .map(|byte| if *byte == b'"' { b'\'' } else { *byte })
                .collect();
        }
        _ => *body = b"null".to_vec(),
    }
}
