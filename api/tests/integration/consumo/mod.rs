//! The routes of the reference system, beside what plain loops over the sent messages say.

mod autumn;
mod generator;
/// The oracle of the worker's tests: it knows the messages and nothing of the SQL.
#[allow(dead_code)]
#[path = "../../../../worker/tests/integration/consumo/oracle/mod.rs"]
mod oracle;
mod recent;
mod refusals;

use acequia_api::auth::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::Platform;

/// A message.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: Uuid,
    entity: &'static str,
    pub body: Vec<u8>,
}

impl Sent {
    fn new(entity: &'static str, body: &Value) -> Self {
        Self {
            id: Uuid::now_v7(),
            entity,
            body: body.to_string().into_bytes(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends messages by the API and waits until all of them are merged.
async fn send(platform: &Platform, messages: &[Sent]) {
    let token = platform.token(Role::Publisher, Some(&["consumo"])).await;
    for entity in ["cliente", "lectura"] {
        let bodies: Vec<_> = messages
            .iter()
            .filter(|sent| sent.entity == entity)
            .map(|sent| String::from_utf8(sent.body.clone()).unwrap())
            .collect();
        for part in bodies.chunks(2_000) {
            let path = format!("/v1/messages/consumo/{entity}");
            let answer = platform.post_lines(&token, &path, &part.join("\n")).await;
            assert_eq!(answer.is(200)["sent"], part.len());
        }
    }
    let all = i64::try_from(messages.len()).unwrap();
    acequia_testkit::wait_for("merged messages", async || {
        let merged = "select coalesce(sum(promoted), 0)::bigint from core.conservation where domain = 'consumo'";
        Ok(platform.number(merged).await >= all)
    })
    .await
    .unwrap();
}

/// Watt-hours of a number of kilowatt-hours.
fn wh(kwh: &Value) -> i64 {
    (kwh.as_f64().unwrap_or_else(|| panic!("{kwh}")) * 1000.0).round() as i64
}

/// A contract.
fn contract(client: &str, zone: Option<&str>) -> Sent {
    let mut body =
        json!({"propietario_id": client, "nombre": client, "ts": "2024-01-01T00:00:00Z"});
    if let Some(zone) = zone {
        body["zona"] = json!(zone);
    }
    Sent::new("cliente", &body)
}

/// The texts of a list.
fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let items = list.as_array().unwrap_or_else(|| panic!("{list}"));
    items
        .iter()
        .map(|item| item[field].as_str().unwrap())
        .collect()
}
