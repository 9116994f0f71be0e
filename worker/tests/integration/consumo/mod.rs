//! The domain of electricity consumption: how readings become days, days verdicts, verdicts alerts.

mod alerts;
mod arrival;
mod clients;
mod clocks;
mod detection;
mod gaps;
mod oracle;
mod original;
mod quality;

use acequia_contracts::{Context, Domain};
use acequia_net::SecretUrl;
use acequia_publisher::{Ids, messages};
use acequia_store::db;
use acequia_store::promotion;
use acequia_store::staging::{DecodedBatch, Store, WriteMode};
use lapin::BasicProperties;
use lapin::message::Delivery;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::Platform;

const DOMAIN: &str = "consumo";

/// A message: its identity, its entity and its body.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: Uuid,
    entity: &'static str,
    pub body: Vec<u8>,
}

impl Sent {
    pub fn new(entity: &'static str, body: &Value) -> Self {
        Self {
            id: Uuid::now_v7(),
            entity,
            body: body.to_string().into_bytes(),
        }
    }

    /// A reading in watt-hours; `at` and the version are RFC 3339.
    pub fn reading(client: &str, at: &str, hour: u32, wh: i64, ts: &str) -> Self {
        let kwh = format!("{}.{:03}", wh / 1000, wh % 1000);
        let kwh: serde_json::Number = serde_json::from_str(&kwh).unwrap();
        Self::new(
            "lectura",
            &json!({"propietario_id": client, "timestamp": at, "hora": hour, "consumo_kwh": kwh, "ts": ts}),
        )
    }
}

/// The body of a message.
pub fn body(sent: &Sent) -> Value {
    serde_json::from_slice(&sent.body).unwrap()
}

/// The messages of the domain's generator.
pub fn generated(options: &str) -> Vec<Sent> {
    generated_by(acequia_contracts::domain(DOMAIN).unwrap(), options)
}

/// The messages of a domain's generator.
pub fn generated_by(domain: &'static Domain, options: &str) -> Vec<Sent> {
    let options: Vec<_> = options.split_whitespace().collect();
    let made = messages(domain.name, &options, Ids::Fresh).unwrap();
    let entity = |label: &str| {
        let entities = &domain.entities;
        let name = label.rsplit('.').next().unwrap();
        entities
            .iter()
            .find(|entity| entity.name == name)
            .unwrap()
            .name
    };
    made.into_iter()
        .map(|message| Sent {
            id: message.id.unwrap(),
            entity: entity(&message.route.label),
            body: message.body,
        })
        .collect()
}

/// The worker's own way from a delivery to the core, without the broker.
pub struct Feed {
    connection: PgConnection,
    store: Store,
    domain: &'static Domain,
}

impl Feed {
    pub async fn new(platform: &Platform) -> Self {
        Self::of(platform, acequia_contracts::domain(DOMAIN).unwrap()).await
    }

    pub async fn of(platform: &Platform, domain: &'static Domain) -> Self {
        let url = SecretUrl::parse(&platform.database.worker, &["postgres"]).unwrap();
        Self {
            connection: db::connect(&url, "test").await.unwrap(),
            store: Store::new("test", &[domain]),
            domain,
        }
    }

    /// Stages one batch.
    pub async fn stage<'a>(&mut self, batch: impl IntoIterator<Item = &'a Sent>) {
        let domain = self.domain;
        let queue = format!("acequia.{}", domain.name);
        let deliveries: Vec<Delivery> = (1..)
            .zip(batch)
            .map(|(tag, sent)| {
                let key = format!("{}.{}", domain.name, sent.entity);
                let mut delivery =
                    Delivery::mock(tag, "acequia".into(), key.into(), false, sent.body.clone());
                delivery.properties =
                    BasicProperties::default().with_message_id(sent.id.to_string().into());
                delivery
            })
            .collect();
        let mut decoded = DecodedBatch::new(domain);
        for (position, delivery) in deliveries.iter().enumerate() {
            decoded.add(position, delivery, &queue, &Context::now());
        }
        let connection = &mut self.connection;
        self.store
            .write(connection, &queue, &decoded, &deliveries, WriteMode::Commit)
            .await
            .unwrap();
    }

    /// Promotes batches of up to `max_rows` rows until nothing is left.
    pub async fn promote(&mut self, max_rows: i32) {
        while !promotion::promote(&mut self.connection, self.domain.name, max_rows)
            .await
            .unwrap()
            .is_empty()
        {}
    }

    pub async fn send(&mut self, messages: &[Sent]) {
        self.stage(messages).await;
        self.promote(20_000).await;
    }
}
