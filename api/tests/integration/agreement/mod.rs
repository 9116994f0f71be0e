//! One contract, four ways to ask it: JSON Schema, `publisher validate`, a dry run of the API, the worker. They agree on
//! every message; where JSON Schema cannot, the schema says so.

mod mutants;
mod schemas;

use std::collections::{BTreeMap, HashMap};

use acequia_api::auth::Role;
use acequia_contracts::{Entity, catalog};
use acequia_net::topology::EXCHANGE;
use acequia_publisher::{CheckedLines, Scope};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use self::mutants::mutants;
use self::schemas::{Fault, Schema};
use crate::support::{Platform, request_bytes};

/// Messages of each entity.
const MESSAGES: usize = 200;

/// `AGREEMENT_SEED` makes other messages.
fn seed() -> u64 {
    std::env::var("AGREEMENT_SEED").map_or(1, |text| text.parse().unwrap())
}

fn faults(list: &Value, field: &str) -> Vec<Fault> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = list.as_array().into_iter().flatten();
    list.map(|fault| (text(&fault[field]), text(&fault["code"])))
        .collect()
}

/// Faults that `publisher validate` reports for each line.
fn validated(entity: &'static Entity, lines: &[u8]) -> Vec<Vec<Fault>> {
    CheckedLines::new(lines, Scope::Entity(entity))
        .map(|line| {
            let faults = line.unwrap().faults.into_iter();
            faults
                .map(|fault| (fault.path.into_owned(), fault.code.to_string()))
                .collect()
        })
        .collect()
}

/// Faults that a dry run of the API reports for each line.
async fn rehearsed(
    platform: &Platform,
    token: &str,
    entity: &Entity,
    lines: &[u8],
) -> Vec<Vec<Fault>> {
    let path = format!(
        "/v1/messages/{}/{}?dry_run=true",
        entity.domain, entity.name
    );
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/x-ndjson"),
    ];
    let answer = request_bytes(&platform.api, "POST", &path, &headers, lines).await;
    let answer = answer.is(200);
    let lines = answer["lines"].as_array().unwrap();
    lines
        .iter()
        .map(|line| {
            let found = faults(&line["errors"], "field");
            let refused = line["status"] == "refused";
            assert_eq!(refused, !found.is_empty(), "{line}");
            found
        })
        .collect()
}

/// Sends messages to the worker, each under an id of its own.
async fn send(platform: &Platform, entity: &Entity, bodies: &[Vec<u8>]) -> Vec<Uuid> {
    let connection = platform.broker_connection().await;
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let name = format!("{}.{}", entity.domain, entity.name);
    let mut ids = Vec::new();
    for body in bodies {
        let id = Uuid::now_v7();
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(id.to_string().into())
            .with_type(name.as_str().into());
        let confirm = channel
            .basic_publish(
                EXCHANGE.into(),
                name.as_str().into(),
                BasicPublishOptions::default(),
                body,
                properties,
            )
            .await
            .unwrap();
        confirm.await.unwrap();
        ids.push(id);
    }
    acequia_net::topology::close(&connection).await;
    ids
}

/// Faults that the worker found in each message: none in staged ones.
async fn worked(platform: &Platform, messages: i64) -> HashMap<Uuid, Vec<Fault>> {
    let tables: Vec<_> = catalog()
        .iter()
        .flat_map(|domain| &domain.entities)
        .map(|entity| format!("select message_id, '[]' as found from {}", entity.staging))
        .collect();
    let query = format!(
        "{} union all select message_id, violations::text from raw.quarantine",
        tables.join(" union all ")
    );
    acequia_testkit::wait_for("what the worker makes of every message", async || {
        let found = platform
            .number(&format!("select count(*) from ({query}) all_of_them"))
            .await;
        Ok(found == messages)
    })
    .await
    .unwrap();
    let rows: Vec<(Uuid, String)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(&mut platform.connect().await)
        .await
        .unwrap();
    rows.into_iter()
        .map(|(id, found)| (id, faults(&serde_json::from_str(&found).unwrap(), "path")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_command_dry_run_and_worker_agree_on_every_message() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Publisher, None).await;
    let entities: Vec<_> = catalog()
        .iter()
        .flat_map(|domain| &domain.entities)
        .collect();
    let mut sent = Vec::new();
    for entity in &entities {
        let bodies = mutants(entity, seed(), MESSAGES);
        let ids = send(&platform, entity, &bodies).await;
        sent.push((entity, bodies, ids));
    }
    let worker_says = worked(&platform, (entities.len() * MESSAGES) as i64).await;
    let mut disagreements = BTreeMap::new();
    for (entity, bodies, ids) in sent {
        let lines = bodies.join(&b'\n');
        let command = validated(entity, &lines);
        let dry_run = rehearsed(&platform, &token, entity, &lines).await;
        assert_eq!((command.len(), dry_run.len()), (MESSAGES, MESSAGES));
        let schema = Schema::of(entity);
        let mut valid = 0;
        for (number, (body, id)) in bodies.iter().zip(&ids).enumerate() {
            let shown = &body[..body.len().min(400)];
            let what = format!("{}: {}", entity.name, String::from_utf8_lossy(shown));
            let contract = &command[number];
            assert_eq!(&dry_run[number], contract, "API and command: {what}");
            assert_eq!(&worker_says[id], contract, "worker and command: {what}");
            valid += usize::from(contract.is_empty());
            let by_schema = schema.faults(body);
            let differs: &[Fault] = match (contract.is_empty(), by_schema.is_empty()) {
                (true, false) => &by_schema,
                (false, true) => contract,
                _ => &[],
            };
            for fault in differs {
                assert!(
                    schema.lists(fault),
                    "{fault:?} is in no rule of the schema: {what}"
                );
                let stricter = contract.is_empty();
                *disagreements
                    .entry((stricter, fault.1.clone()))
                    .or_insert(0) += 1;
            }
        }
        // Enough of both, or the test says little.
        assert!(
            (40..=160).contains(&valid),
            "{}: {valid} valid",
            entity.name
        );
    }
    // JSON Schema is rarely the stricter one; cases that it cannot express were tried.
    let codes = |wanted: bool| -> Vec<&str> {
        let of = disagreements
            .keys()
            .filter(|(stricter, _)| *stricter == wanted);
        of.map(|(_, code)| code.as_str()).collect()
    };
    let stricter = codes(true);
    assert!(stricter.contains(&"not_allowed"), "{disagreements:?}");
    assert!(
        (stricter.iter()).all(|code| ["invalid_length", "not_allowed"].contains(code)),
        "{disagreements:?}"
    );
    let looser = codes(false);
    for code in [
        "duplicate_field",
        "future_date",
        "invalid_date",
        "invalid_type",
        "too_deep",
        "too_large",
        "too_precise",
    ] {
        assert!(looser.contains(&code), "{code}: {disagreements:?}");
    }
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_all_contracts_is_that_of_the_scope() {
    let (platform, api) = Platform::new().await;
    let (shown, hidden) = (&catalog()[0], &catalog()[1]);
    let all = platform.token(Role::Viewer, None).await;
    let one = platform.token(Role::Publisher, Some(&[shown.name])).await;
    let path = "/v1/contracts/asyncapi.json";
    let answer = platform.get(&all, path).await;
    assert_eq!(
        answer.header("content-type"),
        "application/vnd.aai.asyncapi+json"
    );
    let document = answer.is(200);
    let broker = acequia_contracts::Topology {
        exchange: EXCHANGE,
        alerts: acequia_net::topology::ALERTS,
        rejected: acequia_net::topology::REJECTED,
        queue_of: acequia_net::topology::queue_of,
    };
    assert_eq!(document, acequia_contracts::asyncapi(catalog(), &broker));
    assert_eq!(document["asyncapi"], json!("3.1.0"));
    let part = platform.get(&one, path).await;
    assert!(part.text.contains(shown.name) && !part.text.contains(hidden.name));
    api.stop().await;
}
