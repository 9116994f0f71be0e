//! `worker quarantine replay` while things break, and several at once.

use acequia_testkit::{Lost, Proxy};
use lapin::options::{BasicGetOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::quarantine::{quarantine, told, too_young};
use crate::replay::{ALLOW, FORBID, LEGACY, QUEUE, forbidden, ready, status};
use crate::support::program::{Finished, finish, program};
use crate::support::school::alumno_body;
use crate::support::{Message, Platform};

/// Rows of a status.
async fn rows(platform: &Platform, status: &str) -> i64 {
    let query = format!("select count(*) from raw.quarantine where status = '{status}'");
    platform.number(&query).await
}

/// A replay of everything, ten rows a step, through proxies to the servers.
async fn replay_by(platform: &Platform, database: &Proxy, broker: &Proxy) -> Finished {
    let mut command = program(&["quarantine", "replay", "--all", "--rate", "10"]);
    command
        .env(
            "OPERATOR_DATABASE_URL",
            database.url(&platform.database.operator).unwrap(),
        )
        .env("AMQP_URL", broker.url(&platform.broker.url).unwrap());
    finish(command).await
}

/// The connection to one of the servers breaks in one of three steps; then the replay is run again.
async fn break_in_the_middle(lost: Lost, pattern: &[u8], of_broker: bool) {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.execute(FORBID).await;
    let messages: Vec<_> = (101..=125).map(forbidden).collect();
    let worker = platform.worker(&["--batch-max", "1"]);
    platform.publish_all(&messages).await;
    platform.settled(25).await;
    platform.execute(ALLOW).await;
    let auditor = platform.auditor().await;

    let database = Proxy::to(&platform.database.worker).await.unwrap();
    let broker = Proxy::to(&platform.broker.url).await.unwrap();
    let struck = if of_broker { &broker } else { &database };
    struck.lose(lost, pattern, 1);
    let done = replay_by(&platform, &database, &broker).await;
    assert_eq!(struck.faults_left(), 0);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    let server = if of_broker { "broker" } else { "database" };
    assert!(done.stderr.contains(server), "{done:?}");
    assert!(done.stderr.contains("run it again"), "{done:?}");
    // Each marked row was confirmed; the others are open, or resolved by their own arrival.
    let marked = rows(&platform, "replayed").await;
    assert!((0..25).contains(&marked), "{marked}");
    let written = "select coalesce(sum(row_count), 0)::bigint from core.audit_log";
    assert_eq!(platform.number(written).await, marked);

    told(&platform, &["replay", "--all"], 0).await;
    assert_eq!(rows(&platform, "open").await, 0);
    let total = platform.settled_unique(50).await;
    assert_eq!((total.inserted, total.quarantined), (25, 25));
    auditor.finish().await;
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_lost_before_it_has_the_messages() {
    break_in_the_middle(Lost::Request, b"\"id_alumno\":115", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_lost_before_it_has_confirmed() {
    break_in_the_middle(Lost::Answer, b"\"id_alumno\":115", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_lost_before_the_commit() {
    break_in_the_middle(Lost::Request, b"COMMIT", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_lost_before_it_has_answered_the_commit() {
    break_in_the_middle(Lost::Answer, b"COMMIT", false).await;
}

/// Dies after the broker has the messages and before the rows are marked.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_confirm_and_commit_has_no_second_effect() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.execute(FORBID).await;
    let messages: Vec<_> = (1..=30)
        .map(forbidden)
        .chain((31..=40).map(too_young))
        .collect();
    let worker = platform.worker(&[]);
    platform.publish_all(&messages).await;
    platform.settled(40).await;
    platform.execute(ALLOW).await;

    let mut command = program(&["quarantine", "replay", "--all"]);
    command
        .env("OPERATOR_DATABASE_URL", &platform.database.operator)
        .env("AMQP_URL", &platform.broker.url)
        .env("ACEQUIA_FAILPOINT", "after_confirms:1");
    let died = finish(command).await;
    assert_eq!(
        died.status.code(),
        None,
        "killed by its own abort: {died:?}"
    );
    platform.settled(80).await;
    // All of them arrived, and none is marked. Those that were taken after the locks had gone are resolved.
    let unmarked =
        "select count(*) from raw.quarantine where status in ('open', 'resolved') and replays = 0";
    assert_eq!(platform.number(unmarked).await, 40);
    let open = rows(&platform, "open").await;
    assert_eq!(
        platform.number("select count(*) from core.audit_log").await,
        0
    );
    assert_eq!(platform.total().await.inserted, 30);

    told(&platform, &["replay", "--all"], 0).await;
    platform.settled(80 + open).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.duplicates,
            total.unaccounted
        ),
        (30, 40, 10 + open, 0)
    );
    assert_eq!(rows(&platform, "replayed").await, open - 10);
    assert_eq!(rows(&platform, "open").await, 10);
    worker.ready().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_takes_stays_open() {
    let platform = Platform::new().await;
    platform.declare().await;
    let through = too_young(1);
    let mut body = alumno_body(2);
    body["edad"] = (-1).into();
    body["entity"] = "alumno".into();
    let straight = Message::straight(LEGACY, body.to_string()).with_id("straight");
    let worker = platform.worker(&[]);
    platform.publish_all([&through, &straight]).await;
    platform.settled(2).await;
    worker.stop().await;
    let (connection, channel) = platform.channel().await;
    channel
        .queue_delete(QUEUE.into(), QueueDeleteOptions::default())
        .await
        .unwrap();

    let report = told(&platform, &["replay", "--all"], 1).await;
    assert_eq!(
        (&report["replayed"], &report["failed"]),
        (&json!(1), &json!(1))
    );
    let reason = report["failures"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("academico.alumno"), "{reason}");
    assert_eq!(status(&platform, &through).await, "open");
    assert_eq!(status(&platform, &straight).await, "replayed");
    let marked = "select row_count::bigint from core.audit_log";
    assert_eq!(platform.number(marked).await, 1);

    // The message is back in the queue it came from, under its own identity, and marked as a
    // replay.
    assert_eq!(ready(&platform, LEGACY).await, 1);
    let got = channel
        .basic_get(LEGACY.into(), BasicGetOptions { no_ack: true })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(got.data, body.to_string().into_bytes());
    let properties = &got.properties;
    assert_eq!(
        properties.message_id().as_ref().unwrap().as_str(),
        "straight"
    );
    assert_eq!(properties.delivery_mode(), &Some(2));
    let headers = properties.headers().as_ref().unwrap().inner();
    assert_eq!(
        headers.get("x-acequia-replay"),
        Some(&AMQPValue::LongInt(1))
    );
    let origin = platform
        .number("select quarantine_id from raw.quarantine where queue = 'etl'")
        .await;
    assert_eq!(
        headers.get("x-acequia-origin"),
        Some(&AMQPValue::LongLongInt(origin))
    );
    acequia_net::topology::close(&connection).await;

    // The exchange is gone: the broker closes the channel. Nothing is marked.
    let (connection, channel) = platform.channel().await;
    let options = ExchangeDeleteOptions::default();
    channel
        .exchange_delete("acequia".into(), options)
        .await
        .unwrap();
    acequia_net::topology::close(&connection).await;
    let done = quarantine(&platform, &["replay", "--all"]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert_eq!(status(&platform, &through).await, "open");
    // A worker declares the exchange and the binding again, and the message arrives.
    let worker = platform.worker(&[]);
    worker.ready().await;
    told(&platform, &["replay", "--all"], 0).await;
    platform.settled(3).await;
    assert_eq!(platform.total().await.unaccounted, 0);
    worker.stop().await;
}

/// The broker's answers to a wave come in any order, and a return names no message: each must be matched to its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_returned_message_is_not_confused_with_its_neighbours() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut messages = Vec::new();
    for id in 1..=150 {
        let mut body = alumno_body(1000 + id);
        body["edad"] = (-1).into();
        body["entity"] = "alumno".into();
        let straight = Message::straight(LEGACY, body.to_string());
        messages.push(straight.with_id(&format!("straight-{id}")));
        messages.push(too_young(id));
    }
    let worker = platform.worker(&[]);
    platform.publish_all(&messages).await;
    platform.settled(300).await;
    worker.stop().await;
    let (connection, channel) = platform.channel().await;
    let options = QueueDeleteOptions::default();
    channel.queue_delete(QUEUE.into(), options).await.unwrap();

    let report = told(&platform, &["replay", "--all"], 1).await;
    assert_eq!(
        (&report["replayed"], &report["failed"]),
        (&json!(150), &json!(150))
    );
    let wrong =
        "select count(*) from raw.quarantine where (queue = 'etl') <> (status = 'replayed')";
    assert_eq!(platform.number(wrong).await, 0);
    assert_eq!(ready(&platform, LEGACY).await, 150);
    acequia_net::topology::close(&connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_at_once_send_each_message_once() {
    let platform = Platform::new().await;
    platform.declare().await;
    let messages: Vec<_> = (1..=1700).map(too_young).collect();
    let worker = platform.worker(&[]);
    platform.publish_all(&messages).await;
    platform.settled(1700).await;
    worker.stop().await; // the sent messages stay in the queue, to be counted
    let one = async || told_any(&platform, &["replay", "--all", "--rate", "2000"]).await;
    let (a, b, c) = tokio::join!(one(), one(), one());
    assert_eq!(a + b + c, 1700, "{a} {b} {c}");
    assert_eq!(ready(&platform, QUEUE).await, 1700);
    assert_eq!(
        platform
            .number("select count(*) from raw.quarantine where status = 'replayed' and replays = 1")
            .await,
        1700
    );
    assert_eq!(
        platform
            .number("select sum(row_count)::bigint from core.audit_log")
            .await,
        1700
    );
}

/// How many a replay sent, which may be none when the others were faster.
async fn told_any(platform: &Platform, arguments: &[&str]) -> i64 {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
    let done = quarantine(platform, &arguments).await;
    let report: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    let replayed = report["replayed"].as_i64().unwrap();
    assert_eq!(
        done.status.code(),
        Some(i32::from(replayed == 0)),
        "{done:?}"
    );
    replayed
}
