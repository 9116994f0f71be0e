//! Random messages over few keys, and the rhythm in which they are staged and promoted.

use chrono::DateTime;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::oracle::Heard;

/// How a message says that its key is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It does not.
    Nothing,
    /// Field `_op`, and the key alone.
    Body,
    /// Field `_op` beside all fields.
    WholeBody,
    /// Header `x-op`.
    Header,
}

/// A message as a publisher sends it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub heard: Heard,
    pub says: Says,
    /// Whether its time stands in the header alone, as the time of publishing.
    pub untimed: bool,
}

impl Sent {
    /// The body on the wire.
    pub fn body(&self) -> Vec<u8> {
        let mut body = self.heard.body.clone();
        if !self.untimed {
            let at = DateTime::from_timestamp_micros(self.heard.at).unwrap();
            body.insert("ts".to_owned(), json!(at));
        }
        if matches!(self.says, Says::Body | Says::Header) {
            for value in [
                "id_familia",
                "id_suplente",
                "nombre",
                "precio",
                "estado",
                "revisado_en",
                "importe",
            ] {
                body.remove(value);
            }
        }
        if matches!(self.says, Says::Body | Says::WholeBody) {
            body.insert("_op".to_owned(), json!("delete"));
        }
        Value::Object(body).to_string().into_bytes()
    }
}

/// Microseconds of 2024-03-01T12:00:00Z.
const BEGIN: i64 = 1_709_294_400_000_000;

fn optional<T: Into<Value>>(value: Option<T>) -> Value {
    value.map_or(Value::Null, Into::into)
}

/// Entity and fields. Few keys and values: what a wrong merge does to a row shows only where several
/// messages, some of them alike, meet in it.
fn said() -> impl Strategy<Value = (&'static str, Value)> {
    let few = || 1..3_i32;
    let text = || prop::sample::select(vec!["uno", "dos"]);
    let seldom = |strategy| prop::option::weighted(0.35, strategy);
    let family = (few(), prop::option::of(text())).prop_map(|(id, name)| {
        (
            "familia",
            json!({"id_familia": id, "nombre": optional(name)}),
        )
    });
    let article = (
        few(),
        seldom(few()),
        seldom(few()),
        text(),
        seldom(few()),
        seldom(few()),
        seldom(few()),
    )
        .prop_map(|(id, family, other, name, price, state, day)| {
            let price = price.map(|which| if which == 1 { 1.25 } else { 9.5 });
            let state = state.map(|which| if which == 1 { "usado" } else { "it's new" });
            let day = day.map(|which| format!("2024-03-0{which}"));
            (
                "articulo",
                json!({"id_articulo": id, "id_familia": optional(family), "id_suplente": optional(other), "nombre": name,
                    "precio": optional(price), "estado": optional(state), "revisado_en": optional(day)}),
            )
        });
    let tariff = (few(), text(), few()).prop_map(|(article, code, amount)| {
        (
            "tarifa",
            json!({"id_articulo": article, "codigo": code, "importe": amount}),
        )
    });
    let discount = (few(), seldom(few()), text(), seldom(few()), few()).prop_map(
        |(id, article, code, family, part)| {
            (
                "rebaja",
                json!({"id_rebaja": id, "id_articulo": optional(article), "codigo": code,
                    "id_familia": optional(family), "tanto": part}),
            )
        },
    );
    let movement = (few(), seldom(few()), few()).prop_map(|(article, family, units)| {
        (
            "movimiento",
            json!({"id_articulo": article, "id_familia": optional(family), "unidades": units}),
        )
    });
    prop_oneof![2 => family, 4 => article, 2 => tariff, 4 => discount, 2 => movement]
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        4 => Just(Says::Nothing),
        1 => prop::sample::select(vec![Says::Body, Says::WholeBody, Says::Header]),
    ]
}

/// Random messages and how they are delivered.
#[derive(Debug, Clone)]
pub struct Case {
    pub sent: Vec<Sent>,
    pub seed: u64,
    /// Messages of each batch, and whether it is promoted at once and how many rows with it.
    pub rhythm: Vec<(usize, Option<i32>)>,
}

impl Case {
    /// All messages in a random order, some of them several times.
    pub fn deliveries(&self) -> Vec<&Sent> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut deliveries: Vec<&Sent> = self.sent.iter().collect();
        deliveries.shuffle(&mut random);
        deliveries.extend_from_within(..deliveries.len() / 3);
        deliveries.shuffle(&mut random);
        deliveries
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.sent.iter().map(|sent| sent.heard.clone()).collect()
    }
}

pub fn case() -> impl Strategy<Value = Case> {
    let message = (
        said(),
        says(),
        0..5_i64,
        any::<u32>(),
        prop::bool::weighted(0.3),
    );
    let promote = prop::option::of(prop::sample::select(vec![1, 3, 1_000]));
    (
        prop::collection::vec(message, 1..40),
        any::<u64>(),
        prop::collection::vec((1..12_usize, promote), 1..8),
    )
        .prop_map(|(messages, seed, rhythm)| {
            let sent = (0_u128..).zip(messages);
            let sent = sent.map(
                |(number, ((entity, body), says, minute, random, untimed))| {
                    let may_go = matches!(entity, "articulo" | "tarifa");
                    let says = if may_go { says } else { Says::Nothing };
                    let body: Map<String, Value> = body.as_object().unwrap().clone();
                    Sent {
                        heard: Heard {
                            entity,
                            // Not in the order of the messages, and no two alike.
                            id: Uuid::from_u128((u128::from(random) << 32) + number + 1),
                            at: BEGIN + minute * 60_000_000,
                            deletes: says != Says::Nothing,
                            body,
                        },
                        says,
                        untimed,
                    }
                },
            );
            Case {
                sent: sent.collect(),
                seed,
                rhythm,
            }
        })
}
