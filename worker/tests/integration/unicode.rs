//! A valid text comes out of PostgreSQL as it went in, over all of Unicode.

use std::collections::{BTreeMap, HashMap};

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Code, Context, Domain, Entity, Kind, Values, catalog, fixtures};
use acequia_store::staging::{DecodedBatch, Store, WriteMode, named};
use lapin::message::Delivery;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::support::{Message, Platform};

/// An entity without parents that has texts of any characters, found in the catalog.
struct Texts {
    domain: &'static Domain,
    entity: &'static Entity,
    /// Its shortest valid sample.
    sample: BTreeMap<String, Box<RawValue>>,
    /// Fields that take any text, and how many characters each.
    fields: Vec<(&'static str, usize)>,
}

impl Texts {
    async fn find(platform: &Platform) -> Vec<Self> {
        let mut found = Vec::new();
        for domain in catalog() {
            for entity in &domain.entities {
                let parents = format!(
                    "select count(*) from pg_constraint where contype = 'f' and conrelid = '{}'::regclass",
                    entity.core
                );
                let mut texts = Self::new(domain, entity);
                texts.fields = texts.free_fields();
                if !texts.fields.is_empty() && platform.number(&parents).await == 0 {
                    found.push(texts);
                }
            }
        }
        assert!(!found.is_empty(), "no entity takes free text");
        found
    }

    fn new(domain: &'static Domain, entity: &'static Entity) -> Self {
        let samples = fixtures::valid(domain.name, entity.name);
        let shortest = samples.iter().min_by_key(|sample| sample.body.len());
        let mut sample: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(shortest.unwrap().body).unwrap();
        // Under their own names, not under an alias.
        sample.retain(|name, _| entity.columns.iter().any(|column| column.name == name));
        Self {
            domain,
            entity,
            sample,
            fields: Vec::new(),
        }
    }

    fn free_fields(&self) -> Vec<(&'static str, usize)> {
        let names = self.entity.columns.iter();
        let texts = names.filter(|column| column.kind == Kind::Text);
        let free = |name: &'static str| {
            let probe = "<\u{1}\"\\\u{1f600}\u{ffff}é>";
            if self.promised(name, probe).ok()?.as_deref() != Some(probe) {
                return None;
            }
            let takes = |length: &usize| self.promised(name, &"x".repeat(*length)).is_ok();
            let length = [2000, 1000, 500, 200, 100, 50, 20].into_iter().find(takes);
            Some((name, length?))
        };
        texts.filter_map(|column| free(column.name)).collect()
    }

    /// A body with texts as they are written in JSON.
    fn body(&self, number: i32, texts: &[(&str, String)]) -> String {
        let raw = |json: String| RawValue::from_string(json).unwrap();
        let mut fields = self.sample.clone();
        for key in self.entity.key {
            fields.insert((*key).to_owned(), raw(number.to_string()));
        }
        for (name, json) in texts {
            fields.insert((*name).to_owned(), raw(json.clone()));
        }
        serde_json::to_string(&fields).unwrap()
    }

    /// The contract's result for a text in a field.
    fn promised(&self, field: &'static str, text: &str) -> Result<Option<String>, Code> {
        let mut columns = self.entity.new_columns();
        let body = self.body(1, &[(field, raw_json(text))]);
        let decoded = self.entity.decode(&body, &Context::now(), &mut columns);
        decoded.map_err(|violations| violations[0].code)?;
        let mut columns = self.entity.columns.iter().zip(columns);
        match columns.find(|(column, _)| column.name == field) {
            Some((_, Values::Text(mut values))) => Ok(values.pop().flatten()),
            other => panic!("{other:?}"),
        }
    }

    fn message(&self, body: &str) -> Message {
        Message::new(self.domain.name, self.entity.name, body)
    }

    /// The texts of every message in a table of this entity.
    async fn stored(&self, platform: &Platform, table: &str) -> HashMap<Uuid, Vec<Option<String>>> {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| *name).collect();
        let statement = format!("select message_id, {} from {table}", names.join(", "));
        let rows = sqlx::query(AssertSqlSafe(statement))
            .fetch_all(&mut platform.connect().await)
            .await
            .unwrap();
        let texts = |row: &sqlx::postgres::PgRow| {
            let places = 1..=names.len();
            (row.get(0), places.map(|place| row.get(place)).collect())
        };
        rows.iter().map(texts).collect()
    }
}

/// A text in JSON as UTF-8, escaped only where it must be.
fn raw_json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A text in JSON with nothing but escapes, outside the basic plane in pairs.
fn escaped_json(text: &str) -> String {
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

/// Every character but U+0000, in texts with something around them that no contract trims.
struct EveryCharacter(std::ops::RangeInclusive<char>);

impl EveryCharacter {
    fn new() -> Self {
        Self('\u{1}'..=char::MAX)
    }

    fn take(&mut self, length: usize) -> Option<String> {
        let text: String = self.0.by_ref().take(length - 2).collect();
        (!text.is_empty()).then(|| format!("<{text}>"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_character_goes_through_queue_staging_and_core() {
    let platform = Platform::new().await;
    let entities = Texts::find(&platform).await;
    let worker = platform.worker(&[]);
    worker.ready().await;

    let (mut messages, mut refused) = (Vec::new(), Vec::new());
    let mut sent: HashMap<Uuid, Vec<Option<String>>> = HashMap::new();
    let mut number = 0;
    for (round, spell) in [raw_json, escaped_json].into_iter().enumerate() {
        let mut characters = EveryCharacter::new();
        let mut characters_left = true;
        while characters_left {
            number += 1;
            // Another entity in the second round, so the same characters meet other fields.
            let place = usize::try_from(number).unwrap() + round;
            let texts = &entities[place % entities.len()];
            let (mut spelled, mut plain) = (Vec::new(), Vec::new());
            for (name, length) in &texts.fields {
                let text = characters.take(*length);
                characters_left = text.is_some();
                let text = text.unwrap_or_else(|| "<>".to_owned());
                spelled.push((*name, spell(&text)));
                plain.push(Some(text));
            }
            let message = texts.message(&texts.body(number, &spelled));
            sent.insert(Identity::of_text(message.id()).id, plain);
            messages.push(message);
        }
    }
    let codepoints: usize = sent
        .values()
        .flatten()
        .flatten()
        .map(|text| text.chars().count() - 2)
        .sum();
    assert_eq!(codepoints, 2 * (0x11_0000 - 0x800 - 1));

    // U+0000 in every field, as an escape and as it is.
    for texts in &entities {
        for (name, _) in &texts.fields {
            let escape = texts.body(number, &[(name, "\"<\\u0000>\"".to_owned())]);
            refused.push((texts.message(&escape), Code::NulCharacter, Some(*name)));
            let byte = escape.replace("\\u0000", "\0");
            refused.push((texts.message(&byte), Code::InvalidJson, None));
        }
    }
    platform
        .publish_all(
            messages
                .iter()
                .chain(refused.iter().map(|(message, ..)| message)),
        )
        .await;
    let total = platform
        .settled_unique(i64::try_from(messages.len() + refused.len()).unwrap())
        .await;
    assert_eq!(total.inserted, i64::try_from(messages.len()).unwrap());

    let mut found = (HashMap::new(), HashMap::new());
    for texts in &entities {
        found
            .0
            .extend(texts.stored(&platform, texts.entity.staging).await);
        found
            .1
            .extend(texts.stored(&platform, texts.entity.core).await);
    }
    for (place, found) in [("staging", &found.0), ("core", &found.1)] {
        assert_eq!(found.len(), sent.len(), "{place}");
        for (id, texts) in &sent {
            assert_eq!(&found[id], texts, "{place}, message {id}");
        }
    }
    for (message, code, field) in &refused {
        let row = platform.quarantined(message).await;
        assert_eq!(
            (row.code.as_str(), row.field_path.as_deref()),
            (code.as_str(), *field)
        );
        assert_eq!(row.body, message.body);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_character_is_no_text() {
    let platform = Platform::new().await;
    for texts in Texts::find(&platform).await {
        for (name, _) in &texts.fields {
            for half in 0xd800..=0xdfff_u16 {
                for json in [
                    format!("\"<\\u{half:04x}>\""),
                    format!("\"\\u{half:04X}\\u{half:04X}\""),
                ] {
                    let body = texts.body(1, &[(name, json)]);
                    let mut columns = texts.entity.new_columns();
                    let refused = texts.entity.decode(&body, &Context::now(), &mut columns);
                    let refused = refused.expect_err(&body);
                    assert_eq!(
                        (refused[0].code, refused[0].path.as_ref()),
                        (Code::InvalidFormat, *name),
                        "{body}"
                    );
                }
            }
        }
    }
}

/// Texts that begin and end as they like, longer than allowed some of them.
fn any_text() -> impl Strategy<Value = String> {
    let space = "[ \t\n\r\u{b}\u{85}\u{a0}\u{2003}\u{3000}\u{feff}\u{200b}]{0,3}";
    prop_oneof![
        any::<String>(),
        (space, ".{0,30}", space).prop_map(|(before, text, after)| before + &text + &after),
        "[a-z\u{301}\u{e9}\u{1f468}\u{200d}\u{1f469}]{190,210}",
        "[\\\\\"/{}$%';\\-\\[\\]]{1,20}",
        "\\PC{1,3}\u{0}",
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_stored_as_its_contract_promises() {
    let platform = Platform::new().await;
    let mut runner = TestRunner::default();
    for texts in Texts::find(&platform).await {
        let queue = acequia_net::topology::queue_of(texts.domain.name);
        let store = Store::new("test", &[texts.domain]);
        for (place, (name, _)) in texts.fields.iter().enumerate() {
            let sent = prop::collection::vec(any_text(), 500)
                .new_tree(&mut runner)
                .unwrap()
                .current();
            let mut decoded = DecodedBatch::new(texts.domain);
            let mut deliveries = Vec::new();
            for (position, text) in sent.iter().enumerate() {
                let message = texts.message(&texts.body(1, &[(name, raw_json(text))]));
                let key = message.routing_key.as_str().into();
                let mut delivery = Delivery::mock(1, "acequia".into(), key, false, message.body);
                delivery.properties = message.properties;
                decoded.add(position, &delivery, &queue, &Context::now());
                deliveries.push(delivery);
            }
            let url = platform.database_url();
            let mut connection = acequia_store::db::connect(&url, "test").await.unwrap();
            let written = store.write(
                &mut connection,
                &queue,
                &decoded,
                &deliveries,
                WriteMode::Commit,
            );
            written.await.unwrap();

            let stored = texts.stored(&platform, texts.entity.staging).await;
            let refused: Vec<(Uuid, String)> =
                sqlx::query_as("select message_id, code from raw.quarantine")
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            let refused: HashMap<_, _> = refused.into_iter().collect();
            for (text, delivery) in sent.iter().zip(&deliveries) {
                let id = named(&delivery.properties).unwrap().id;
                match texts.promised(name, text) {
                    Ok(promised) => {
                        let found = &stored[&id][place];
                        assert_eq!(found, &promised, "{name} of {text:?}");
                        let found = found.as_deref().unwrap();
                        assert!(found == text || found == text.trim(), "{name} of {text:?}");
                    }
                    Err(code) => {
                        assert_eq!(refused[&id], code.as_str(), "{name} of {text:?}");
                        assert!(!stored.contains_key(&id), "{name} of {text:?}");
                    }
                }
            }
        }
    }
}
