//! The command as people use it: exit status, reports, signals.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

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
async fn a_file_is_written_and_sent_and_counted() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let file = temporary("sample.ndjson");
    let path = file.to_str().unwrap();

    let written = run(publisher(&["generate", domain().name, "--output", path])).await;
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let body = std::fs::read(&file).unwrap();
    let lines = body.iter().filter(|byte| **byte == b'\n').count();
    assert!(stderr(&written).contains(&format!("wrote {lines} messages")));
    let piped = run(publisher(&["generate", domain().name, "--output", "-"])).await;
    assert!(piped.stdout == body, "stdout gets what a file gets");

    let mut sending = publisher(&["send", path, "--json"]);
    sending.env("AMQP_URL", broker.url());
    let sent = run(sending).await;
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    assert!(stderr(&sent).contains(&format!(
        "confirmed {lines} messages (returned 0, nacked 0, retried 0) in "
    )));
    let result: serde_json::Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(result["confirmed"], lines);
    assert_eq!(result["failed"], 0);
    let entities = result["entities"].as_object().unwrap();
    assert_eq!(entities.len(), domain().entities.len());
    assert_eq!(broker.drain("all").await.len(), lines);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn lines_that_cannot_be_sent_are_reported_and_end_in_1() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let entity = domain().entities[0].name;
    let input = format!("{{\"entity\":\"{entity}\"}}\n\nsecret\n{{\"entity\":\"{entity}\"}}\n");
    let send = |extra: &[&str]| {
        let mut command = publisher(&["send", "-"]);
        command.args(extra).env("AMQP_URL", broker.url());
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
    };
    let sent = send(&[]).await.unwrap();
    let report = stderr(&sent);
    assert_eq!(sent.status.code(), Some(1), "{report}");
    assert!(
        report.contains("line 3: no JSON object with an entity"),
        "{report}"
    );
    assert!(report.contains("1 lines could not be sent"), "{report}");
    assert!(report.contains("confirmed 2 messages"), "{report}");
    assert!(!report.contains("secret"));
    assert_eq!(broker.drain("all").await.len(), 2);

    let quiet = send(&["--quiet", "--domain", domain().name]).await.unwrap();
    assert_eq!(
        (quiet.status.code(), stderr(&quiet).as_str()),
        (Some(0), "")
    );
    assert_eq!(broker.drain("all").await.len(), 3);
}

/// Whoever collects logs reads every line of a program, its last words included.
#[tokio::test]
async fn as_json_every_line_is_an_object_that_names_its_event() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let file = temporary("lines.ndjson");
    let path = file.to_str().unwrap();
    let mut writing = publisher(&["generate", domain().name, "--output", path]);
    writing.env("LOG_FORMAT", "json");
    let written = run(writing).await;
    assert_eq!(events(&written), ["publisher.wrote"]);

    let mut bad = std::fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap();
    writeln!(bad, "no JSON").unwrap();
    let mut sending = publisher(&["send", path, "--log-format", "json"]);
    sending.env("AMQP_URL", broker.url());
    let sent = run(sending).await;
    assert_eq!(sent.status.code(), Some(1), "{}", stderr(&sent));
    let told = events(&sent);
    for event in ["publisher.bad_line", "publisher.done"] {
        assert!(told.contains(&event.to_owned()), "{told:?}");
    }
    let last: serde_json::Value =
        serde_json::from_str(stderr(&sent).lines().last().unwrap()).unwrap();
    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    assert_eq!(last["confirmed"], lines - 1, "{last}");
    assert_eq!(last["bad_lines"], 1, "{last}");

    let nobody = acequia_testkit::free_port().unwrap();
    let mut command = publisher(&["send", path, "--retry-for", "1"]);
    command.env("LOG_FORMAT", "json").env(
        "AMQP_URL",
        format!("amqp://app:s3cret@127.0.0.1:{nobody}/%2f"),
    );
    let refused = run(command).await;
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(events(&refused), ["program.failed"]);
    assert!(!stderr(&refused).contains("s3cret"));
}

/// The events of a log whose lines are JSON objects.
fn events(output: &Output) -> Vec<String> {
    let event = |line: &str| {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "{field} of {line}");
        }
        line["event"].as_str().unwrap().to_owned()
    };
    stderr(output).lines().map(event).collect()
}

#[tokio::test]
async fn without_a_queue_it_says_what_to_do_and_ends_in_1() {
    let broker = Broker::start().await;
    let mut command = publisher(&["generate", domain().name]);
    command.env("AMQP_URL", broker.url());
    let output = run(command).await;
    let report = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("came back: no queue takes it"), "{report}");
    assert!(report.contains("start `worker run`"), "{report}");
    assert!(
        report.contains("not confirmed: no queue takes it"),
        "{report}"
    );
}

#[tokio::test]
async fn without_a_broker_it_ends_in_2_and_keeps_the_password() {
    let nobody = acequia_testkit::free_port().unwrap();
    let url = format!("amqp://someone:s3cret@127.0.0.1:{nobody}/%2f");
    let file = temporary("url");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let mut by_file = publisher(&["generate", domain().name]);
    by_file
        .env("AMQP_URL_FILE", &file)
        .env("AMQP_URL", "amqp://elsewhere");
    let mut by_option = publisher(&["generate", domain().name, "--amqp-url", &url]);
    by_option.env("AMQP_URL_FILE", "/nowhere");
    for command in [by_file, by_option] {
        let output = run(command).await;
        let report = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{report}");
        assert!(
            report.contains(&format!("amqp://someone:***@127.0.0.1:{nobody}")),
            "{report}"
        );
        assert!(!report.contains("s3cret"), "{report}");
    }
    std::fs::remove_file(file).unwrap();

    let wrong = run(publisher(&[
        "generate",
        domain().name,
        "--amqp-url",
        "s3cret",
    ]))
    .await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!stderr(&wrong).contains("s3cret"));
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
        tokio::time::sleep(Duration::from_millis(1500)).await;
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
async fn messages_are_sent_though_nobody_can_read_the_report() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    for format in ["text", "json"] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = publisher(&["generate", domain().name, "--json"]);
        command
            .env("AMQP_URL", broker.url())
            .env("LOG_FORMAT", format);
        command.stdout(Stdio::piped()).stderr(full);
        let child = command.spawn().unwrap();
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(0));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let confirmed = usize::try_from(result["confirmed"].as_u64().unwrap()).unwrap();
        assert!(confirmed > 0);
        assert_eq!(broker.drain("all").await.len(), confirmed);
    }
}
