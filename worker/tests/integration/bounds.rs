//! Messages that the worker holds are bounded, in bytes and in time, and a message that is worse than bad
//! costs itself only.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use acequia_contracts::{Code, catalog};
use acequia_net::topology::queue_of;
use acequia_testkit::{wait_for, wait_within};
use sqlx::{Connection, PgConnection};

use crate::support::school::{DOMAIN, alumno, alumnos, break_merge, message};
use crate::support::{Message, Platform, ready};

/// Five times what a contract takes.
const LARGE: usize = 5 * 1024 * 1024;
/// How many of them are sent.
const COUNT: i64 = 20;

fn large() -> Message {
    Message::new(DOMAIN, "alumno", vec![b'x'; LARGE])
}

/// The worst order: small messages widen the window to thousands before the large ones come.
#[tokio::test(flavor = "multi_thread")]
async fn large_messages_do_not_multiply_by_the_prefetch() {
    let platform = Platform::new().await;
    platform.declare().await;
    let many: Vec<Message> = (0..COUNT).map(|_| large()).collect();
    platform.publish_all(&alumnos(1..1501)).await;
    platform.publish_all(&many).await;
    platform.publish_all(&alumnos(1501..2001)).await;

    let budget = (2 * LARGE).to_string();
    let worker = platform.program(&["--in-flight-bytes", &budget, "--batch-bytes", &budget]);
    let total = platform.settled_unique(2000 + COUNT).await;
    assert_eq!((total.inserted, total.quarantined), (2000, COUNT));
    // The budget, as much again before the brake bites, and copies on the way to PostgreSQL.
    let (peak, queued) = (worker.peak_memory(), 20 * LARGE as u64);
    assert!(
        peak < queued / 2 + (56 << 20),
        "{peak} bytes at its peak, {queued} queued"
    );
    ready(&worker.http).await;
    worker.terminate().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decoder_that_panics_costs_its_message_only() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut messages = alumnos(1..1001);
    let body = r#"{"id_alumno":1001,"nombre":"breaks-the-decoder","edad":20,"genero":"F"}"#;
    messages.insert(500, Message::new(DOMAIN, "alumno", body));
    platform.publish_all(&messages).await;
    let worker = platform.program_with(&[], &[("ACEQUIA_FAILPOINT", "panic:breaks-the-decoder")]);
    let total = platform.settled_unique(1001).await;
    assert_eq!((total.inserted, total.quarantined), (1000, 1));
    let row = platform.quarantined(&messages[500]).await;
    assert_eq!(row.reason(), ("decode", Code::DecoderFailed.as_str(), None));
    assert_eq!(row.body, messages[500].body);
    let right = "select count(*) from academico.alumnos where nombre = 'Alumno ' || id";
    assert_eq!(platform.number(right).await, 1000);
    ready(&worker.http).await;

    // The log names a place in the program, and nothing of the message.
    let log = worker.terminate().await.stderr;
    assert!(log.contains("a defect: please report the place"), "{log}");
    assert!(!log.contains("breaks-the-decoder"), "{log}");
    platform.nothing_is_left_in_the_queues().await;
}

/// The reference system's queue is a classic one, which would deliver such a message without end.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_the_worker_dies_alone_whatever_queue_it_came_by() {
    let platform = Platform::new().await;
    platform.declare().await;
    let body = |id: i32, name: &str| {
        format!(
            r#"{{"entity":"alumno","id_alumno":{id},"nombre":"{name}","edad":20,"genero":"F"}}"#
        )
    };
    let queue = catalog()[0].legacy_queue.unwrap();
    let mut messages: Vec<Message> = (1..201)
        .map(|id| Message::straight(queue, body(id, "Alumno")))
        .collect();
    messages.insert(100, Message::straight(queue, body(201, "kills-the-worker")));
    platform.publish_all(&messages).await;
    // The worker's own supervisor, as systemd or the container engine is one.
    let start = || platform.program_with(&[], &[("ACEQUIA_FAILPOINT", "poison:kills-the-worker")]);
    let mut worker = start();
    let mut deaths = 0;
    wait_within(
        Duration::from_secs(240),
        "the end of all messages",
        async || {
            if let Some(status) = worker.ended() {
                assert_eq!(status.signal(), Some(6), "{status}");
                deaths += 1;
                worker = start();
            }
            let total = platform.total().await;
            Ok(total.unique() == 201 && total.staged == 0)
        },
    )
    .await
    .unwrap();
    assert!(deaths > 10, "{deaths} deaths");
    let total = platform.total().await;
    assert_eq!((total.inserted, total.quarantined), (200, 1));
    let rows = platform.quarantine().await;
    assert_eq!(
        rows[0].reason(),
        ("broker", Code::DeliveryLimit.as_str(), None)
    );
    assert_eq!(rows[0].body, messages[100].body);
    assert_eq!(rows[0].properties["headers"]["x-acequia-queue"], queue);
    assert_eq!(
        rows[0].properties["headers"]["x-death"][0]["queue"],
        queue_of(DOMAIN)
    );
    ready(&worker.http).await;
    worker.terminate().await;
    platform.nothing_is_left_in_the_queues().await;
}

/// An outage longer than the broker lets a consumer hold a message.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_held_for_too_long_goes_back_once_and_comes_again() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--hold-max", "1s", "--stall-after", "1s"]);
    worker.ready().await;
    let mut owner = platform.connect().await;
    // Every statement on the table fails, as with a missing right or a half-done migration.
    let hide = |from: &str, to: &str| format!("alter table stg.{from} rename to {to}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(hide("alumnos_upsert", "hidden")))
        .execute(&mut owner)
        .await
        .unwrap();
    platform.publish_all(&alumnos(1..11)).await;
    assert_ne!(worker.not_ready("ingest").await, "");
    wait_for("messages that are back in the queue", async || {
        let queue = platform.queue(&queue_of(DOMAIN)).await;
        Ok(queue.is_some_and(|queue| queue.message_count() == 10 && queue.consumer_count() == 0))
    })
    .await
    .unwrap();
    // Nobody takes them while they could not be written.
    assert_ne!(worker.not_ready("ingest").await, "");
    assert_eq!(platform.total().await.received, 0);

    sqlx::raw_sql(sqlx::AssertSqlSafe(hide("hidden", "alumnos_upsert")))
        .execute(&mut owner)
        .await
        .unwrap();
    let total = platform.settled_unique(10).await;
    assert_eq!((total.inserted, total.duplicates), (10, 0));
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_waits_for_a_lock_makes_readyz_bad_and_its_end_makes_it_good() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--stall-after", "1s"]);
    worker.ready().await;
    let mut owner = PgConnection::connect(&platform.database.owner)
        .await
        .unwrap();
    let mut transaction = owner.begin().await.unwrap();
    sqlx::raw_sql("lock table academico.alumnos in access exclusive mode")
        .execute(&mut *transaction)
        .await
        .unwrap();
    platform.publish_all([&alumno(1)]).await;
    assert_ne!(worker.not_ready("promote").await, "");
    // Ingest has done its work and says so.
    platform.received(1).await;
    let bad = message("alumno", &serde_json::json!({"id_alumno": "one"}));
    platform.publish_all([&bad]).await;
    platform.received(2).await;
    // It says so after the acknowledgement, a moment after the commit.
    wait_for("a lane that is ready", async || {
        let page = crate::support::get(&worker.http, "/readyz").await.1;
        let report: serde_json::Value = serde_json::from_str(&page)?;
        let mut loops = report["loops"].as_array().unwrap().iter();
        let ingest = loops.find(|entry| entry["subject"] == queue_of(DOMAIN).as_str());
        Ok(ingest.unwrap()["ready"] == true)
    })
    .await
    .unwrap();

    transaction.rollback().await.unwrap();
    platform.settled(2).await;
    worker.ready().await;
    worker.stop().await;
}

/// Staging throttles itself: what cannot be promoted soon waits in the queue, where it costs least.
#[tokio::test(flavor = "multi_thread")]
async fn ingest_pauses_while_more_is_staged_than_promotion_should_be_behind() {
    let platform = Platform::new().await;
    let original = break_merge(&platform).await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..1001)).await;
    let worker = platform.worker(&["--staged-max", "100", "--batch-max", "50"]);
    let paused = format!(r#"acequia_ingest_paused{{queue="{}"}} 1"#, queue_of(DOMAIN));
    wait_for("ingest to pause", async || {
        // Its port opens a moment after its start.
        let page = crate::support::get(&worker.http, "/metrics").await.1;
        Ok(page.contains(&paused))
    })
    .await
    .unwrap();
    // One batch may go past the limit. Those in flight are the worker's; the rest are the queue's.
    let staged = platform.total().await.staged;
    assert!((101..=150).contains(&staged), "{staged} staged");
    let waiting = platform.queue(&queue_of(DOMAIN)).await.unwrap();
    assert!(waiting.message_count() >= 700, "{waiting:?}");

    platform.execute(&original).await;
    let total = platform.settled_unique(1000).await;
    assert_eq!((total.inserted, total.duplicates), (1000, 0));
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

/// A process that nobody can ask is of no use: it ends, for its supervisor to see.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_http_task_ends_ends_too() {
    let platform = Platform::new().await;
    let mut program = platform.program_with(&[], &[("ACEQUIA_FAILPOINT", "http")]);
    let mut status = None;
    wait_for("its end", async || {
        status = program.ended();
        Ok(status.is_some())
    })
    .await
    .unwrap();
    assert_eq!(status.unwrap().code(), Some(2));
}

/// Fewer connections than loops: those that get none wait and say so, the start too.
#[tokio::test(flavor = "multi_thread")]
async fn too_few_connections_degrade_to_waiting() {
    let platform = Platform::new().await;
    let limit = |connections: i64| {
        let limit = "do $$ begin execute format('alter database %I connection limit ";
        format!("{limit}{connections}', current_database()); end $$")
    };
    // The limit does not hold for superusers, but they count; the owner of the database is none.
    let mut admin: url::Url = platform.database.admin.parse().unwrap();
    let owner: url::Url = platform.database.owner.parse().unwrap();
    admin.set_path(owner.path());
    let mut admin = PgConnection::connect(admin.as_str()).await.unwrap();
    // Connections that made the database may still be about to close.
    let connected = "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'";
    let ours = 1;
    wait_for("nobody else", async || {
        let connected: i64 = sqlx::query_scalar(connected).fetch_one(&mut admin).await?;
        Ok(connected == ours)
    })
    .await
    .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(limit(ours)))
        .execute(&mut admin)
        .await
        .unwrap();
    let worker = platform.worker(&["--stall-after", "1s"]);
    let refused = async |loops: bool| {
        let answer = crate::support::get(&worker.http, "/readyz").await.1;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        let told = if loops {
            &answer["loops"]
        } else {
            &answer["waiting_for"]
        };
        Ok(told.to_string().contains("too many connections"))
    };
    wait_for("a start that gets no connection", async || {
        refused(false).await
    })
    .await
    .unwrap();
    // Enough for the start, which opens a third connection while the server may still end the first two; not for the loops.
    sqlx::raw_sql(sqlx::AssertSqlSafe(limit(ours + 3)))
        .execute(&mut admin)
        .await
        .unwrap();
    wait_for("loops that get no connection", async || refused(true).await)
        .await
        .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(limit(-1)))
        .execute(&mut admin)
        .await
        .unwrap();
    worker.ready().await;
    platform.publish_all(&alumnos(1..101)).await;
    let total = platform.settled_unique(100).await;
    assert_eq!((total.inserted, total.quarantined), (100, 0));
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}
