//! The command as people use it: exit status, reports, signals.

mod broker;
mod contracts;
mod report;
mod validate;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::{Broker, all_keys, domain};

pub fn publisher(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_publisher"));
    for variable in [
        "AMQP_URL",
        "AMQP_URL_FILE",
        "ALLOW_PLAINTEXT",
        "ACEQUIA_LOG",
        "LOG_FORMAT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

pub async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn temporary(name: &str) -> PathBuf {
    let id = uuid::Uuid::now_v7().simple();
    std::env::temp_dir().join(format!("acequia-publisher-{id}-{name}"))
}

#[tokio::test]
async fn wrong_usage_ends_in_2() {
    for arguments in [
        &["generate"][..],
        &["generate", "nowhere"],
        &["generate", domain().name, "--seed", "x"],
        &["send"],
        &["send", "/nowhere/file.ndjson"],
        &["generate", domain().name, "--output", "x", "--rate", "1"],
    ] {
        let output = run(publisher(arguments)).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_signal_ends_it_in_order() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut command = publisher(&["generate", domain().name, "--rate", "200", "--json"]);
        command.env("AMQP_URL", broker.url());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        broker.holds("all", 50).await;
        let killed = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["stopped"], "interrupted");
        assert_eq!(result["failed"], 0);
        let confirmed = result["confirmed"].as_u64().unwrap();
        assert!(confirmed > 10, "{result}");
        assert_eq!(broker.drain("all").await.len() as u64, confirmed);
    }
}

#[tokio::test]
async fn the_schema_of_an_entity_is_printed() {
    let entity = &domain().entities[0];
    let name = format!("{}.{}", entity.domain, entity.name);
    let one = run(publisher(&["schema", &name])).await;
    assert_eq!(one.status.code(), Some(0), "{}", stderr(&one));
    let one: serde_json::Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(one, acequia_contracts::schema(entity));
    let all = run(publisher(&["schema"])).await;
    let all: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    let entities = acequia_contracts::catalog()
        .iter()
        .flat_map(|domain| &domain.entities);
    assert_eq!(all.as_object().unwrap().len(), entities.count());
    assert_eq!(all[&name], one);
    let unknown = run(publisher(&["schema", "nothing.such"])).await;
    assert_eq!(unknown.status.code(), Some(2));
}
