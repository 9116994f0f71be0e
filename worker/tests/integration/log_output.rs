//! A log that cannot be written neither ends nor delays a worker.

use std::fs::OpenOptions;
use std::io::pipe;
use std::process::Stdio;

use acequia_testkit::free_port;
use tokio::process::Command;

use crate::support::program::program;
use crate::support::school::alumnos;
use crate::support::{Platform, get, ready};

/// Messages in batches of five: each batch writes a line of more than 200 bytes, together several times
/// as much as a pipe holds.
const MESSAGES: i32 = 4_000;

/// Runs a worker with the given standard error until all messages are promoted; returns its page of metrics.
async fn works_with(stderr: Stdio) -> String {
    let platform = Platform::new().await;
    platform.declare().await;
    let http = format!("127.0.0.1:{}", free_port().unwrap());
    let mut worker = program(&["run", "--batch-max", "5"])
        .env("DATABASE_URL", &platform.database.worker)
        .env("AMQP_URL", &platform.broker.url)
        .env("HTTP_ADDR", &http)
        .env("LOG_FORMAT", "json")
        .stderr(stderr)
        .spawn()
        .unwrap();
    ready(&http).await;
    platform.publish_all(&alumnos(1..MESSAGES + 1)).await;
    platform.settled(MESSAGES.into()).await;

    let (status, page) = get(&http, "/metrics").await;
    assert_eq!(status, 200);
    assert_eq!(worker.try_wait().unwrap(), None, "it runs on");
    let pid = worker.id().unwrap();
    let kill = Command::new("sh")
        .args(["-c", &format!("kill -TERM {pid}")])
        .status();
    assert!(kill.await.unwrap().success());
    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    page
}

fn dropped(page: &str) -> f64 {
    let line = page
        .lines()
        .find(|line| line.starts_with("acequia_log_lines_dropped_total "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_the_worker_goes_on() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(dropped(&works_with(full.into()).await) > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reader_the_worker_goes_on() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    assert!(dropped(&works_with(writer.into()).await) > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_reader_that_stops_reading_the_worker_goes_on() {
    let (reader, writer) = pipe().unwrap();
    works_with(writer.into()).await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_nobody_can_read_keeps_its_exit_status() {
    for command in [&["quarantine", "show"][..], &["doctor"], &["run"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let status = program(command).stderr(full).status().await.unwrap();
        assert_eq!(status.code(), Some(2), "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_cannot_be_written_is_an_error() {
    let platform = Platform::new().await;
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = program(&["gate", "list", "--json"])
        .env("DATABASE_URL", &platform.database.worker)
        .stdout(full)
        .spawn()
        .unwrap();
    let output = output.wait_with_output().await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("No space left on device"), "{error}");
}
