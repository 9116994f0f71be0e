//! `publisher validate`.

use std::io::Write as _;
use std::process::{Output, Stdio};

use acequia_contracts::{catalog, fixtures};
use serde_json::{Value, json};

use super::{publisher, run, stderr, temporary};
use crate::support::domain;

/// Checks lines that come by stdin.
async fn checked(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = publisher(&["validate", "-"]);
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = input.to_vec();
    tokio::task::spawn_blocking(move || {
        // It may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(&input);
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn what_the_generator_makes_is_valid() {
    for domain in catalog().iter().filter(|domain| domain.generator.is_some()) {
        let file = temporary("generated.ndjson");
        let path = file.to_str().unwrap();
        let made = run(publisher(&["generate", domain.name, "--output", path])).await;
        assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
        let count = std::fs::read(&file).unwrap();
        let count = count.iter().filter(|byte| **byte == b'\n').count();
        let output = run(publisher(&["validate", path, "--domain", domain.name])).await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(output.stdout, b"");
        let summary = format!("{count} lines: {count} valid, 0 invalid");
        assert!(stderr(&output).contains(&summary), "{}", stderr(&output));
        std::fs::remove_file(file).unwrap();
    }
}

#[tokio::test]
async fn every_fault_is_reported_and_no_line_stops_the_others() {
    let entity = &domain().entities[0];
    let name = format!("{}.{}", entity.domain, entity.name);
    let valid = fixtures::valid(entity.domain, entity.name)[0].body;
    let mut input = Vec::new();
    let mut expected = Vec::new();
    for (line, fixture) in (1_u64..).zip(fixtures::invalid(entity.domain, entity.name)) {
        input.extend([fixture.body, b"\n", valid, b"\n"].concat());
        let faults = entity.check_body(fixture.body, &acequia_contracts::Context::now());
        for fault in faults.unwrap_err() {
            expected.push(json!([2 * line - 1, fault.code, fault.path]));
        }
    }
    let output = checked(&["--entity", &name, "--json"], &input).await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let mut told = lines(&output);
    let summary = told.pop().unwrap()["summary"].clone();
    let faults: Vec<_> = told
        .iter()
        .map(|fault| json!([fault["line"], fault["code"], fault["field"]]))
        .collect();
    assert_eq!(faults, expected);
    assert!(
        told.iter()
            .all(|fault| fault["entity"] == name && fault["message"] != "")
    );
    let invalid = fixtures::invalid(entity.domain, entity.name).len();
    let counts = json!([summary["lines"], summary["valid"], summary["invalid"]]);
    assert_eq!(counts, json!([2 * invalid, invalid, invalid]));
}

#[tokio::test]
async fn faults_are_told_to_people_without_values() {
    let entity = domain().entities[0].name;
    let input = format!(
        "{{\"entity\":\"{entity}\",\"secret\":1,\"secret\":2}}\n\n{{\"entity\":\"secret\"}}\nsecret\nNone\n"
    );
    let output = checked(&[], input.as_bytes()).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.contains("line 1: missing_field at "), "{text}");
    assert!(
        text.contains("line 3: unknown_entity at entity: no domain has this entity"),
        "{text}"
    );
    assert!(
        text.contains("line 4: invalid_json: no JSON: stops at column 1"),
        "{text}"
    );
    assert!(
        text.contains("line 5: invalid_json: None is no JSON: write null"),
        "{text}"
    );
    let summary = stderr(&output);
    assert!(summary.contains("4 lines: 0 valid, 4 invalid"), "{summary}");
    let quiet = checked(&["--quiet"], input.as_bytes()).await;
    assert_eq!((quiet.stdout, quiet.stderr), (output.stdout, Vec::new()));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_ends_in_2() {
    for (arguments, input, reason) in [
        (
            &["--quiet"][..],
            &b"\x1f\x8b\x08\0"[..],
            "compressed with gzip",
        ),
        (&[], b"[\n{}\n]\n", "the file is a JSON list"),
        (&["--entity", "nothing.such"], b"", "must be one of"),
        (&["--domain", "nothing"], b"", "invalid value"),
    ] {
        let output = checked(arguments, input).await;
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    let missing = run(publisher(&["validate", "/nowhere/file.ndjson"])).await;
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("cannot read /nowhere/file.ndjson"));
    let empty = checked(&[], b"").await;
    assert_eq!(empty.status.code(), Some(0), "{}", stderr(&empty));
}

/// A line beside the terminal every two seconds: whoever waits sees that it goes on.
#[tokio::test]
async fn a_long_check_shows_its_progress() {
    let entity = &domain().entities[0];
    let name = format!("{}.{}", entity.domain, entity.name);
    let valid = [fixtures::valid(entity.domain, entity.name)[0].body, b"\n"].concat();
    let mut command = publisher(&["validate", "-", "--entity", &name]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = 1024;
    let output = tokio::task::spawn_blocking(move || {
        stdin.write_all(&valid.repeat(lines)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2_200));
        stdin.write_all(&valid.repeat(lines)).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = stderr(&output);
    assert!(told.contains("checked 2048 lines, 0 invalid"), "{told}");
}
