//! `worker quarantine`: what operators see, and what they may do without the broker.

mod feed;
mod filters;
mod restore;
mod show;
mod usage;

use serde_json::Value;

use crate::support::program::{Finished, finish, program};
use crate::support::school::{DOMAIN, alumno_body, message};
use crate::support::{Message, Platform};

/// Runs `worker quarantine` with the worker's own rights.
pub async fn quarantine(platform: &Platform, arguments: &[&str]) -> Finished {
    let mut command = program(&["quarantine"]);
    command
        .args(arguments)
        .env("OPERATOR_DATABASE_URL", &platform.database.operator)
        .env("AMQP_URL", &platform.broker.url);
    finish(command).await
}

/// JSON output of a command, after asserting its exit code.
pub async fn told(platform: &Platform, arguments: &[&str], code: i32) -> Value {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
    let done = quarantine(platform, &arguments).await;
    assert_eq!(done.status.code(), Some(code), "{arguments:?}: {done:?}");
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// A student that no contract lets pass.
pub fn too_young(id: i32) -> Message {
    let mut body = alumno_body(id);
    body["edad"] = (-1).into();
    message("alumno", &body)
}

/// Puts messages in quarantine with a worker that is gone afterwards.
async fn fill(platform: &Platform, messages: &[Message]) {
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform.publish_all(messages).await;
    platform
        .settled(i64::try_from(messages.len()).unwrap())
        .await;
    worker.stop().await;
}

/// Everything that a command could change.
async fn state(platform: &Platform) -> Vec<String> {
    platform
        .texts(
            "select to_jsonb(q)::text from raw.quarantine q union all select to_jsonb(v)::text from raw.quarantine_versions v
             union all select to_jsonb(l)::text from core.audit_log l order by 1",
        )
        .await
}

/// Only a replay opens a row again, and a discarded one not even that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_stays_discarded() {
    let platform = Platform::new().await;
    platform.declare().await;
    let message = too_young(1);
    let worker = platform.worker(&[]);
    platform.publish_all([&message]).await;
    platform.settled(1).await;
    told(&platform, &["discard", "--all"], 0).await;
    platform.publish_all([&message]).await;
    platform.settled(2).await;
    // As a replay that was still on its way when its row was discarded.
    let mut headers = lapin::types::FieldTable::default();
    headers.insert(
        "x-acequia-replay".into(),
        lapin::types::AMQPValue::LongInt(1),
    );
    let late = Message {
        properties: message.properties.clone().with_headers(headers),
        ..message.clone()
    };
    platform.publish_all([&late]).await;
    platform.settled(3).await;
    let row = platform.quarantined(&message).await;
    assert_eq!((row.status.as_str(), row.occurrences), ("discarded", 3));
    let total = platform.total().await;
    assert_eq!(
        (total.quarantined, total.duplicates, total.unaccounted),
        (1, 2, 0)
    );
    // Discarding it again finds nothing.
    let done = quarantine(&platform, &["discard", "--all"]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    worker.stop().await;
}

/// Refused messages of two entities under one id.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_under_two_entities_is_two_messages() {
    let platform = Platform::new().await;
    platform.declare().await;
    let message = too_young(1);
    let other = Message::new(DOMAIN, "materia", "{}").with_id(message.id());
    platform
        .publish_all([&message, &other, &other, &message])
        .await;
    // As a rule all four are in one batch; the ledger is the same if they are not.
    let worker = platform.worker(&[]);
    platform.settled(4).await;
    let total = platform.total().await;
    assert_eq!(
        (total.quarantined, total.duplicates, total.unaccounted),
        (2, 2, 0)
    );
    assert_eq!(platform.quarantined(&message).await.occurrences, 2);
    assert_eq!(platform.ledger_entry(DOMAIN, "materia").await.duplicates, 1);
    worker.ready().await;
    worker.stop().await;
    let rows = told(&platform, &["list", "--id", message.id()], 0).await;
    assert_eq!(rows.as_array().unwrap().len(), 2);
    for row in rows.as_array().unwrap() {
        assert_eq!(row["occurrences"], 2);
    }
}
