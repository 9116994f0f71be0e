//! A database with the tests' domain, its merges generated, and the worker's way into it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use acequia_contracts::{Context, MergeKind};
use acequia_net::SecretUrl;
use acequia_schema::merge_sql;
use acequia_store::db;
use acequia_store::promotion;
use acequia_store::staging::{DecodedBatch, Store, WriteMode};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::cases::{Case, Says, Sent};
use super::domain::domain;
use super::oracle::{Outcome, Table};
use crate::support::Platform;

const QUEUE: &str = "acequia.pruebas";

/// The text of an entity's merge.
pub fn merge_of(entity: &str) -> String {
    merge_sql(domain(), domain().find(entity).unwrap()).unwrap()
}

/// Gives a database the domain: tables, generated merges, list, rights.
pub async fn install(owner: &mut PgConnection) {
    let mut statements = include_str!("tables.sql").to_owned();
    for (position, entity) in (100..).zip(&domain().entities) {
        statements.push_str(&merge_of(entity.name));
        let texts = |names: &mut dyn Iterator<Item = &str>| {
            let names: Vec<_> = names.map(|name| format!("'{name}'")).collect();
            names.join(", ")
        };
        statements.push_str(&format!(
            "insert into core.entities (domain, entity, position, staging, merge, core_table, key_columns, fields)
             values ('pruebas', '{}', {position}, '{}', '{}', '{}', array[{}], array[{}]);\n",
            entity.name,
            entity.staging,
            entity.merge,
            entity.core,
            texts(&mut entity.key.iter().copied()),
            texts(&mut entity.columns.iter().map(|column| column.name)),
        ));
    }
    statements.push_str(
        "select core.ensure_partitions(), core.guard_references(); select core.apply_rights();",
    );
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(owner)
        .await
        .unwrap();
}

/// A delivery as the broker hands it over.
pub fn delivery(tag: u64, sent: &Sent) -> Delivery {
    let key = format!("pruebas.{}", sent.heard.entity);
    let mut delivery = Delivery::mock(tag, "acequia".into(), key.into(), false, sent.body());
    let mut properties =
        BasicProperties::default().with_message_id(sent.heard.id.to_string().into());
    let mut headers = FieldTable::default();
    if sent.untimed {
        headers.insert(
            "x-published-at".into(),
            AMQPValue::LongLongInt(sent.heard.at),
        );
    }
    if sent.says == Says::Header {
        headers.insert("x-op".into(), AMQPValue::LongString("delete".into()));
    }
    properties = properties.with_headers(headers);
    delivery.properties = properties;
    delivery
}

/// Result of deliveries.
#[derive(Debug)]
pub struct Found {
    pub outcome: Outcome,
    /// Rows that the hook has kept: existing articles.
    pub there: BTreeSet<(i32, String)>,
    /// Entities whose ledger do not add up, or whose counts are not those of the deliveries.
    pub unaccounted: Vec<String>,
}

/// The worker's own way from a delivery to the tables, without the broker.
pub struct Feed {
    pub connection: PgConnection,
    store: Store,
}

impl Feed {
    pub async fn stage(&mut self, deliveries: &[Delivery]) {
        let context = Context::now();
        let mut decoded = DecodedBatch::new(domain());
        for (position, delivery) in deliveries.iter().enumerate() {
            decoded.add(position, delivery, QUEUE, &context);
        }
        let connection = &mut self.connection;
        self.store
            .write(connection, QUEUE, &decoded, deliveries, WriteMode::Commit)
            .await
            .unwrap();
    }

    pub async fn promote(&mut self, max_rows: i32) -> Result<bool, String> {
        let promoted = promotion::promote(&mut self.connection, "pruebas", max_rows).await;
        promoted
            .map(|promoted| !promoted.is_empty())
            .map_err(|error| error.to_string())
    }

    pub async fn promote_all(&mut self) -> Result<(), String> {
        // A merge that never settles must fail rather than go on without end.
        for _ in 0..200 {
            if !self.promote(20_000).await? {
                return Ok(());
            }
        }
        Err("promotion does not come to an end".to_owned())
    }
}

/// A database that is emptied before each case.
pub struct Bench {
    runtime: tokio::runtime::Runtime,
    tables: RefCell<(Feed, PgConnection)>,
}

impl Bench {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let tables = runtime.block_on(async {
            let platform = Platform::new().await;
            let mut owner = platform.connect().await;
            install(&mut owner).await;
            (feed(&platform).await, owner)
        });
        Self {
            runtime,
            tables: RefCell::new(tables),
        }
    }

    /// Runs statements as the owner.
    pub fn execute(&self, statements: &str) {
        let (_, owner) = &mut *self.tables.borrow_mut();
        let query = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        self.runtime.block_on(query.execute(owner)).unwrap();
    }

    /// Result of a case; an error when a promotion fails.
    pub fn run(&self, case: &Case) -> Result<Found, String> {
        let (feed, owner) = &mut *self.tables.borrow_mut();
        self.runtime.block_on(async {
            empty(owner).await;
            let sent = case.deliveries();
            let deliveries: Vec<_> = (1..)
                .zip(&sent)
                .map(|(tag, sent)| delivery(tag, sent))
                .collect();
            let mut rest = deliveries.as_slice();
            for (size, promote) in case.rhythm.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (batch, others) = rest.split_at(rest.len().min(*size));
                rest = others;
                feed.stage(batch).await;
                if let Some(rows) = promote {
                    feed.promote(*rows).await?;
                }
            }
            feed.promote_all().await?;
            Ok(found(owner, &sent).await)
        })
    }
}

pub async fn feed(platform: &Platform) -> Feed {
    let url = SecretUrl::parse(&platform.database.worker, &["postgres"]).unwrap();
    Feed {
        connection: db::connect(&url, "test").await.unwrap(),
        store: Store::new("test", &[domain()]),
    }
}

async fn empty(owner: &mut PgConnection) {
    sqlx::raw_sql(
        "delete from pruebas.vigentes; delete from pruebas.movimientos; delete from pruebas.rebajas; \
         delete from pruebas.tarifas; delete from pruebas.articulos; delete from pruebas.familias; \
         delete from stg.pruebas_familia; delete from stg.pruebas_articulo; delete from stg.pruebas_tarifa; \
         delete from stg.pruebas_rebaja; delete from stg.pruebas_movimiento; delete from raw.quarantine; \
         delete from core.pending; delete from core.batch_entities; delete from core.batches; \
         delete from core.settled_totals; delete from core.domain_state; delete from core.entity_state",
    )
    .execute(owner)
    .await
    .unwrap();
}

async fn found(owner: &mut PgConnection, sent: &[&Sent]) -> Found {
    let mut outcome = Outcome::default();
    for entity in &domain().entities {
        // Times as numbers: they are compared to the microsecond.
        let gone = if entity.merge_spec.deletes {
            " || jsonb_build_object('deleted_at', (extract(epoch from t.deleted_at) * 1000000)::bigint)"
        } else {
            ""
        };
        let rows: Vec<serde_json::Value> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select to_jsonb(t) - 'batch_id' || jsonb_build_object('event_at', (extract(epoch from t.event_at) * 1000000)::bigint){gone} \
             from {} t",
            entity.core
        )))
        .fetch_all(&mut *owner)
        .await
        .unwrap();
        let key = |row: &serde_json::Value| {
            let fields = entity
                .key
                .iter()
                .map(|field| entity.merge_spec.key_column(field));
            let mut key: Vec<String> = fields.map(|column| row[column].to_string()).collect();
            if entity.merge_spec.kind == MergeKind::Append {
                key.push(row["message_id"].as_str().unwrap().to_owned());
            }
            key
        };
        let table: Table = rows.into_iter().map(|row| (key(&row), row)).collect();
        outcome.tables.insert(entity.name, table);
    }
    let pending: Vec<(String, Uuid)> =
        sqlx::query_as("select split_part(entity, '.', 2), message_id from core.pending")
            .fetch_all(&mut *owner)
            .await
            .unwrap();
    outcome.pending = pending
        .into_iter()
        .map(|(entity, id)| (domain().find(&entity).unwrap().name, id))
        .collect();
    let there: Vec<(i32, String)> =
        sqlx::query_as("select id_articulo, nombre from pruebas.vigentes")
            .fetch_all(&mut *owner)
            .await
            .unwrap();
    Found {
        outcome,
        there: there.into_iter().collect(),
        unaccounted: unaccounted(owner, sent).await,
    }
}

async fn unaccounted(owner: &mut PgConnection, sent: &[&Sent]) -> Vec<String> {
    let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
    for sent in sent {
        *expected.entry(sent.heard.entity).or_default() += 1;
    }
    let ledger: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "select entity, received::bigint, staged::bigint, quarantined::bigint, difference::bigint
         from core.conservation where domain = 'pruebas'",
    )
    .fetch_all(owner)
    .await
    .unwrap();
    let mut problems: Vec<String> = ledger
        .iter()
        .filter(|(entity, received, staged, quarantined, difference)| {
            let known = expected.get(entity.as_str()) == Some(received);
            !known || (*staged, *quarantined, *difference) != (0, 0, 0)
        })
        .map(|entry| format!("{entry:?}"))
        .collect();
    if ledger.len() != expected.len() {
        problems.push(format!("{ledger:?} of {expected:?}"));
    }
    problems
}
