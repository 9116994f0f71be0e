//! Hostile messages whose verdict follows from how they are made, not from a second decoder.

use chrono::{SecondsFormat, TimeDelta, Utc};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use uuid::Builder;

use super::raw::Raw;
use crate::kinds::{Kind, Row, kind};
use crate::oracle::Verdict;

/// Names that are strange and good.
const NAMES: [&str; 12] = [
    "'); drop table academico.alumnos; --",
    "\\.",
    "\\N\\N",
    "a\tb\nc\rd",
    "\u{202e}אבג\u{202c} ltr",
    "e\u{301}\u{301}\u{301}",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "\u{feff}x\u{200b}y",
    "{\"id\":1}",
    "%s%n${jndi:x}",
    "<script>alert(1)</script>",
    "\u{1}\u{1f}\u{7f}z",
];

/// Bodies that break every message type.
const BODIES: [&[u8]; 16] = [
    b"",
    b" ",
    b"null",
    b"true",
    b"17",
    b"\"text\"",
    b"[]",
    b"[{}]",
    b"{}",
    b"{",
    b"\xff\xfe{\"id_alumno\":1}",
    b"\xef\xbb\xbf{\"id_alumno\":1,\"nombre\":\"A\",\"edad\":20,\"genero\":\"F\"}",
    b"<xml/>",
    b"{\"id_alumno\":NaN}",
    b"\x00\x00\x00\x00",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
];

/// Values that no number of a student, no age and no mark can have.
const WRONG: [&str; 18] = [
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"x\"",
    "-1",
    "1.5",
    "1e999",
    "-1e999",
    "9223372036854775808",
    "2147483648",
    "99999999999999999999999999999999999999999999",
    "[1]",
    "{\"a\":1}",
    "\"1\"",
    "0.0000000000000000000000000000000000000001",
    "-9223372036854775809",
];

/// Event times that cannot be.
const TIMES: [&str; 8] = [
    "\"2999-01-01T00:00:00Z\"",
    "\"0000-01-01T00:00:00Z\"",
    "\"2024-02-30T00:00:00Z\"",
    "\"2024-01-01T00:00:00\"",
    "\"yesterday\"",
    "\"+262143-12-31T23:59:59Z\"",
    "1700000000",
    "{}",
];

/// Makes them.
pub struct Maker {
    rng: ChaCha8Rng,
    made: i64,
}

impl Maker {
    /// The same messages, but for ids and times, for the same seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x0bad_5eed),
            made: 0,
        }
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.rng.random_range(0..list.len())]
    }

    /// A good message of some entity.
    fn good(&mut self) -> Option<(&'static Kind, Value)> {
        let at = Utc::now() - TimeDelta::days(400) + TimeDelta::milliseconds(self.made);
        self.made += 1;
        let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let number = self.rng.random_range(5_000_000..5_002_000);
        let name = format!("Nombre {}", self.made);
        let (kind_name, body) = match self.rng.random_range(0..10) {
            0 => (
                "maestro",
                json!({"id_maestro": number, "nombre": name, "especialidad": "X", "ts": at}),
            ),
            1 => (
                "materia",
                json!({"id_materia": number, "nombre": name, "creditos": 7, "ts": at}),
            ),
            2 | 3 => (
                "calificacion",
                json!({"id_alumno": number, "id_grupo": self.rng.random_range(1..41), "calificacion": 7.5, "ts": at}),
            ),
            _ => (
                "alumno",
                json!({"id_alumno": number, "nombre": name, "edad": 20, "genero": "F", "ts": at}),
            ),
        };
        Some((kind(kind_name)?, body))
    }

    /// The next message.
    pub fn next(&mut self) -> (Raw, Verdict) {
        let (kind, body, verdict) = self.make().unwrap_or_else(|| {
            let nothing = kind("alumno").map_or("alumno", |kind| kind.name);
            (nothing, b"{".to_vec(), Verdict::Bad)
        });
        let mut bytes = [0; 10];
        self.rng.fill_bytes(&mut bytes);
        let millis = u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default();
        let raw = Raw {
            id: Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid(),
            entity: kind,
            body,
            published_at: None,
        };
        (raw, verdict)
    }

    fn make(&mut self) -> Option<(&'static str, Vec<u8>, Verdict)> {
        let (kind, mut body) = self.good()?;
        let (bytes, verdict) = match self.rng.random_range(0..100) {
            0..30 => {
                let bytes = self.strange(kind, &mut body)?;
                let at = body["ts"].as_str()?.parse().ok()?;
                (bytes, Verdict::Good(Row::of(kind, &body, at)))
            }
            30..75 => (self.broken(kind, &body)?, Verdict::Bad),
            _ => (self.damaged(&body), Verdict::Either),
        };
        Some((kind.name, bytes, verdict))
    }

    /// Good, but not as anybody would write it. What it means stays in `body`.
    fn strange(&mut self, kind: &Kind, body: &mut Value) -> Option<Vec<u8>> {
        if body.get("nombre").is_some() && self.rng.random_bool(0.6) {
            body["nombre"] = self.of(&NAMES).into();
        }
        let fields = body.as_object()?;
        let mut fields: Vec<(String, String)> = fields
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect();
        match self.rng.random_range(0..5) {
            0 => fields.reverse(),
            1 => fields.push((
                "__proto__".to_owned(),
                "{\"a\":[[[[1,2,{\"b\":null}]]]]}".to_owned(),
            )),
            2 if kind.key.len() == 1 => {
                // The number under its other name.
                for field in &mut fields {
                    if field.0 == kind.key[0].0 {
                        "id".clone_into(&mut field.0);
                    }
                }
            }
            3 => {
                // Every character of every text as an escape.
                for (_, value) in &mut fields {
                    if let Ok(text) = serde_json::from_str::<String>(value) {
                        let escaped: String = text
                            .encode_utf16()
                            .map(|unit| format!("\\u{unit:04x}"))
                            .collect();
                        *value = format!("\"{escaped}\"");
                    }
                }
            }
            _ => fields.push(("x".repeat(300), "1e5".to_owned())),
        }
        let gap = self.of(&["", " ", "\n\t", "\r\n  "]);
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{gap}\"{name}\"{gap}:{gap}{value}{gap}"))
            .collect();
        Some(format!("{gap}{{{}}}{gap}", fields.join(",")).into_bytes())
    }

    /// Breaks the contract for certain.
    fn broken(&mut self, kind: &Kind, body: &Value) -> Option<Vec<u8>> {
        let whole = body.to_string();
        let number = kind.key[0].0;
        let with = |name: &str, value: &str| {
            let old = format!("\"{name}\":{}", body[name]);
            whole
                .replace(&old, &format!("\"{name}\":{value}"))
                .into_bytes()
        };
        Some(match self.rng.random_range(0..12) {
            0 => whole.as_bytes()[..self.rng.random_range(0..whole.len())].to_vec(),
            1 => self.of(&BODIES).to_vec(),
            2 => {
                let mut garbage = vec![0; self.rng.random_range(1..400)];
                self.rng.fill_bytes(&mut garbage);
                // Not a digit, not a bracket: no JSON begins so.
                garbage[0] = 0xc1;
                garbage
            }
            3 | 4 => with(number, self.of(&WRONG)),
            5 => with("ts", self.of(&TIMES)),
            6 => whole
                .replace(&format!("\"{number}\""), "\"another\"")
                .into_bytes(),
            7 => [
                whole.as_bytes(),
                self.of(&[&b"x"[..], b"{}", b",", b"]", b"\0"]),
            ]
            .concat(),
            8 => {
                let deep = "[".repeat(200) + &"]".repeat(200);
                format!("{{\"deep\":{deep},{}", &whole[1..]).into_bytes()
            }
            9 => format!("{{\"{number}\":1,{}", &whole[1..]).into_bytes(),
            10 => {
                let text = self.of(&[
                    &b"\"\xff\""[..],
                    b"\"\\ud800\"",
                    b"\"\\u12\"",
                    b"\"\xc3\x28\"",
                    b"\"\n\"",
                ]);
                let rest = &whole.as_bytes()[1..];
                [b"{\"entity\":", text, b",", rest].concat()
            }
            _ => whole.replace('"', "'").into_bytes(),
        })
    }

    /// Some bytes changed, taken out or put in: who knows.
    fn damaged(&mut self, body: &Value) -> Vec<u8> {
        let mut bytes = body.to_string().into_bytes();
        for _ in 0..self.rng.random_range(1..4) {
            let place = self.rng.random_range(0..bytes.len());
            match self.rng.random_range(0..4) {
                0 => bytes[place] = self.rng.random(),
                1 => bytes[place] ^= 1 << self.rng.random_range(0..8),
                2 if bytes.len() > 1 => drop(bytes.remove(place)),
                _ => bytes.insert(place, self.of(b"0123456789\"{}[],:.eE-+ \\")),
            }
        }
        bytes
    }
}
