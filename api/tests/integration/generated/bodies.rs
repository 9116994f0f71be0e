//! Bodies: examples that are as they should be, values made from a schema, and texts that are broken.

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Map, Number, Value, json};

use super::answers::Document;
use super::{at, chance, pick, values};

/// A body that succeeds, where it has no other effect than one that may be had many times.
pub fn example(path: &str) -> Value {
    match path {
        path if path.starts_with("/v1/quarantine") => {
            json!({"filter": {"domain": ["academico"]}, "dry_run": true})
        }
        path if path.starts_with("/v1/gates") => {
            json!({"marts": ["marts.kpi_materia"], "reason": "generated"})
        }
        path if path.starts_with("/v1/streams") || path.starts_with("/v1/operations") => {
            json!({"reason": "generated"})
        }
        "/v1/archives/archive" => json!({"table": "consumo.lecturas", "dry_run": true}),
        "/v1/archives/restore" => {
            json!({"table": "consumo.lecturas", "from": "2024-01", "to": "2024-12", "dry_run": true})
        }
        path if path.starts_with("/v1/messages") => {
            json!({"id_alumno": 1, "nombre": "Ana", "edad": 20, "genero": "F"})
        }
        "/v1/tokens" => {
            json!({"name": format!("x{}", uuid::Uuid::now_v7().simple()), "role": "viewer"})
        }
        "/v1/people" => {
            json!({"name": format!("x{}", uuid::Uuid::now_v7().simple()), "role": "viewer", "password": "long enough to be one"})
        }
        "/v1/session" => json!({"name": "nobody", "password": "long enough to be one"}),
        "/v1/people/{name}/password" => json!({"password": "long enough to be one"}),
        _ => json!({"password": "long enough to be one", "new_password": "long enough to be two"}),
    }
}

/// A body and its media type, with something wrong most of the time.
pub fn odd(document: &Document, path: &str, schema: &Value, rng: &mut StdRng) -> (Vec<u8>, String) {
    let mut media = "application/json".to_owned();
    let mut value = if chance(rng, 50) || schema == &json!({}) {
        example(path)
    } else {
        made(document, schema, rng, 0)
    };
    if chance(rng, 60) {
        spoil(&mut value, rng);
    }
    let mut body = value.to_string().into_bytes();
    match rng.random_range(0..14) {
        0 => body.clear(),
        1 => body.truncate(body.len() / 2),
        2 => body = [b"[".repeat(20_000), b"]".repeat(20_000)].concat(),
        3 => body = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000)).into_bytes(),
        4 => body = b"{\"filter\":{},\"n\":1e400}".to_vec(),
        5 => body.extend(b"\xff\xfe\x00"),
        6 => body = [b"\xef\xbb\xbf".to_vec(), body].concat(),
        7 => {
            media = pick(rng, &MEDIA).to_owned();
        }
        8 if path.starts_with("/v1/messages") => {
            media = "application/x-ndjson".to_owned();
            body = [body.clone(), b"\n\n{\n\x00\n".to_vec(), body].concat();
        }
        _ => {}
    }
    (body, media)
}

const MEDIA: [&str; 9] = [
    "",
    "text/plain",
    "application/json; charset=latin1",
    "APPLICATION/JSON",
    "application/x-ndjson",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "application",
    ";;;",
];

/// A value of a schema, at the edges of what it allows.
fn made(document: &Document, schema: &Value, rng: &mut StdRng, depth: usize) -> Value {
    let schema = document.resolved(schema);
    if depth > 6 {
        return Value::Null;
    }
    if let Some(some) = schema["enum"].as_array() {
        return some[rng.random_range(0..some.len())].clone();
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(some) = schema[key].as_array() {
            let one = &some[rng.random_range(0..some.len())];
            return made(document, one, rng, depth + 1);
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec!["object"],
    };
    match pick(rng, &kinds) {
        "null" => Value::Null,
        "boolean" => json!(chance(rng, 50)),
        "integer" | "number" => number(rng),
        "array" => {
            let length = *pick(rng, &[&0, &1, &1, &2, &40]);
            let one = |_| made(document, &schema["items"], rng, depth + 1);
            Value::Array((0..length).map(one).collect())
        }
        "string" => Value::String(text(rng)),
        _ => {
            let mut object = Map::new();
            let properties = at(schema, &["properties"]).as_object();
            for (name, property) in properties.into_iter().flatten() {
                if chance(rng, 70) {
                    object.insert(name.clone(), made(document, property, rng, depth + 1));
                }
            }
            Value::Object(object)
        }
    }
}

fn number(rng: &mut StdRng) -> Value {
    let edges = [
        i64::MIN,
        i64::from(i32::MIN) - 1,
        -1,
        0,
        1,
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        i64::MAX,
    ];
    match rng.random_range(0..edges.len() + 2) {
        0 => json!(u64::MAX),
        1 => Number::from_f64(1.5e300).into(),
        other => json!(edges[other - 2]),
    }
}

fn text(rng: &mut StdRng) -> String {
    const SOME: [&str; 6] = [
        "academico",
        "alumno",
        "open",
        "2h",
        "marts.kpi_materia",
        "long enough to be one",
    ];
    if chance(rng, 50) {
        return pick(rng, &SOME).to_owned();
    }
    values::odd_text(rng).to_owned()
}

/// Puts something wrong somewhere.
fn spoil(value: &mut Value, rng: &mut StdRng) {
    match value {
        Value::Object(object) if !object.is_empty() && chance(rng, 80) => {
            let keys: Vec<String> = object.keys().cloned().collect();
            let key = &keys[rng.random_range(0..keys.len())];
            match rng.random_range(0..4) {
                0 => {
                    object.remove(key);
                }
                1 => {
                    object.insert(values::odd_text(rng).to_owned(), json!(1));
                }
                _ => spoil(&mut object[key], rng),
            }
        }
        Value::Array(list) if !list.is_empty() && chance(rng, 70) => {
            let index = rng.random_range(0..list.len());
            spoil(&mut list[index], rng);
        }
        other => {
            *other = match rng.random_range(0..6) {
                0 => Value::Null,
                1 => json!([]),
                2 => json!({}),
                3 => number(rng),
                4 => json!("a".repeat(5_000)),
                _ => Value::String(values::odd_text(rng).to_owned()),
            }
        }
    }
}
