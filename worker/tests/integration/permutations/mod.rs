//! Order and repetition do not matter: random messages over few keys, in random orders, batches
//! and promotions, always give the core that the oracle tells.

mod arrival;
mod cases;
mod ledger;
mod properties;
mod random;

use std::collections::BTreeSet;

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Context, Domain};
use acequia_net::{SecretUrl, topology};
use acequia_store::marts::{self, Refreshed};
use acequia_store::staging::{DecodedBatch, Store, WriteMode};
use acequia_store::{db, promotion};
use acequia_testkit::TestDatabase;
use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::oracle::{Core, Oracle, Outcome, Pending};
use crate::support::Platform;

const QUEUE: &str = "acequia.academico";
const ENTITIES: [&str; 6] = [
    "maestro",
    "materia",
    "grupo",
    "alumno",
    "inscripcion",
    "calificacion",
];

/// A message as a publisher sends it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub entity: &'static str,
    pub published_at: DateTime<Utc>,
    pub body: Vec<u8>,
}

impl Sent {
    /// A message of now.
    pub fn new(id: u128, entity: &'static str, body: &Value) -> Self {
        Self {
            id: Uuid::from_u128(id).to_string(),
            entity,
            published_at: Utc::now(),
            body: body.to_string().into_bytes(),
        }
    }

    pub fn message_id(&self) -> Uuid {
        Identity::of_text(&self.id).id
    }

    pub fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(
            "x-published-at".into(),
            AMQPValue::LongLongInt(self.published_at.timestamp_micros()),
        );
        BasicProperties::default()
            .with_message_id(self.id.as_str().into())
            .with_headers(headers)
    }

    pub fn routing_key(&self) -> String {
        format!("academico.{}", self.entity)
    }

    pub fn tell(&self, oracle: &mut Oracle) {
        oracle.hear(
            self.message_id(),
            self.published_at,
            self.entity,
            &self.body,
        );
    }
}

/// The worker's own way from a delivery to the core, without the broker.
pub struct Feed {
    pub connection: PgConnection,
    store: Store,
    domain: &'static Domain,
}

impl Feed {
    /// With the rights of the worker.
    pub async fn new(database: &TestDatabase) -> Self {
        let domain = acequia_contracts::domain("academico").unwrap();
        let url = SecretUrl::parse(&database.worker, &["postgres"]).unwrap();
        Self {
            connection: db::connect(&url, "test").await.unwrap(),
            store: Store::new("test", &[domain]),
            domain,
        }
    }

    /// Stages one batch.
    pub async fn stage(&mut self, batch: &[&Sent]) {
        let deliveries: Vec<Delivery> = (1..)
            .zip(batch)
            .map(|(tag, sent)| {
                let (exchange, key) = ("acequia".into(), sent.routing_key().into());
                let mut delivery = Delivery::mock(tag, exchange, key, false, sent.body.clone());
                delivery.properties = sent.properties();
                delivery
            })
            .collect();
        self.stage_deliveries(&deliveries).await;
    }

    async fn stage_deliveries(&mut self, deliveries: &[Delivery]) {
        let context = Context::now();
        let mut decoded = DecodedBatch::new(self.domain);
        for (position, delivery) in deliveries.iter().enumerate() {
            decoded.add(position, delivery, QUEUE, &context);
        }
        self.store
            .write(
                &mut self.connection,
                QUEUE,
                &decoded,
                deliveries,
                WriteMode::Commit,
            )
            .await
            .unwrap();
    }

    /// Promotes the oldest batches; false when there was nothing to promote.
    pub async fn promote(&mut self, max_rows: i32) -> bool {
        let promoted = promotion::promote(&mut self.connection, self.domain.name, max_rows).await;
        !promoted.unwrap().is_empty()
    }

    /// Promotes until nothing is left.
    pub async fn promote_all(&mut self) {
        while self.promote(20_000).await {}
    }

    /// The materialized marts that the refresh loop would refresh with this bound of a backlog.
    pub async fn due(&mut self, backlog: Option<i32>) -> Vec<String> {
        let due = marts::due(&mut self.connection, self.domain.name, backlog).await;
        due.unwrap().into_iter().map(|(mart, _)| mart).collect()
    }

    /// Refreshes the materialized marts that are behind.
    pub async fn refresh(&mut self) {
        for mart in self.due(None).await {
            let refreshed = marts::refresh(
                &mut self.connection,
                &mart,
                std::time::Duration::from_secs(60),
            )
            .await
            .unwrap();
            assert!(
                matches!(refreshed, Refreshed::Rows(_)),
                "{mart}: {refreshed:?}"
            );
        }
    }

    /// Stages messages in batches of this size and promotes them.
    pub async fn send(&mut self, messages: &[Sent], batch: usize) {
        for batch in messages.chunks(batch) {
            self.stage(&batch.iter().collect::<Vec<_>>()).await;
        }
        self.promote_all().await;
    }
}

/// The core and what waits for it, as they are.
pub async fn outcome_of(connection: &mut PgConnection) -> Outcome {
    macro_rules! table {
        ($sql:literal) => {
            sqlx::query_as($sql)
                .fetch_all(&mut *connection)
                .await
                .unwrap()
        };
    }
    let core = Core {
        maestros: table!("select * from academico.maestros order by id"),
        materias: table!("select * from academico.materias order by id"),
        grupos: table!("select * from academico.grupos order by id"),
        alumnos: table!("select * from academico.alumnos order by id"),
        inscripciones: table!("select * from academico.inscripciones order by id_alumno, id_grupo"),
        calificaciones: table!(
            "select * from academico.calificaciones order by id_alumno, id_grupo"
        ),
    };
    let waiting: Vec<(String, Uuid, String, String)> =
        table!("select entity, message_id, parent, parent_key from core.pending");
    let name = |name: &str| {
        let found = ENTITIES
            .iter()
            .find(|entity| name == format!("academico.{entity}"));
        *found.unwrap()
    };
    let mut pending: Vec<_> = waiting
        .into_iter()
        .map(|(entity, message_id, parent, key)| Pending {
            entity: name(&entity),
            message_id,
            missing: BTreeSet::from([(name(&parent), key.parse().unwrap())]),
        })
        .collect();
    pending.sort();
    Outcome { core, pending }
}

/// Compares the result with the oracle's. A row that lacks two parents waits for one of them.
fn compare(found: &Outcome, oracle: &Oracle) -> Result<(), String> {
    let mut expected = oracle.outcome();
    for (right, found) in expected.pending.iter_mut().zip(&found.pending) {
        if found.missing.is_subset(&right.missing) {
            right.missing.clone_from(&found.missing);
        }
    }
    found.difference(&expected).map_or(Ok(()), Err)
}

/// The messages of the demo, as the publisher makes them by default.
pub fn demo() -> Vec<Sent> {
    let domain = acequia_contracts::domain("academico").unwrap();
    let generator = domain.generator.unwrap();
    let options = generator
        .options(clap::Command::new("generate"))
        .get_matches_from(["generate"]);
    let messages = generator.generate(&options, 42).unwrap();
    (0_u64..)
        .zip(messages)
        .map(|(number, synthetic)| {
            let millis = u64::try_from(synthetic.at.timestamp_millis()).unwrap();
            let mut random = [7; 10];
            // Not in the order of the messages.
            random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            Sent {
                id: uuid::Builder::from_unix_timestamp_millis(millis, &random)
                    .into_uuid()
                    .to_string(),
                entity: synthetic.entity,
                published_at: synthetic.at,
                body: synthetic.body,
            }
        })
        .collect()
}

/// Publishes all messages, then waits for all confirms.
pub async fn publish(platform: &Platform, messages: &[&Sent]) {
    let (connection, channel) = platform.channel().await;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let mut confirms = Vec::new();
    for sent in messages {
        let properties = sent.properties().with_delivery_mode(2);
        let (exchange, key) = ("acequia".into(), sent.routing_key().into());
        let confirm = channel.basic_publish(exchange, key, options, &sent.body, properties);
        confirms.push(confirm.await.unwrap());
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
    topology::close(&connection).await;
}
