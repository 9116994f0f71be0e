//! Connections that go silent: no data come, and no error either.

use std::time::Instant;

use acequia_testkit::{Lost, Proxy, wait_for};
use futures_util::{StreamExt, stream};

use crate::support::school::{DOMAIN, alumnos};
use crate::support::{Platform, RunningWorker, get};

/// Publishes students, waits until they are in the core, and asserts that each is there once. A batch whose
/// commit was not answered comes again, and counts as copies. What waits is bounded: by 90 s here, where a
/// half-open connection was waited for 180 s, and some for good.
async fn flows(platform: &Platform, ids: std::ops::Range<i32>) {
    let begun = Instant::now();
    let sent = i64::from(ids.end - 1);
    platform.publish_all(&alumnos(ids)).await;
    platform.settled_unique(sent).await;
    println!(
        "{sent} students after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let students = platform
        .number("select count(*) from academico.alumnos")
        .await;
    assert_eq!(students, sent);
}

async fn ready_again(worker: &RunningWorker) {
    wait_for("a worker that is ready", async || {
        Ok(get(&worker.http, "/readyz").await.0 == 200)
    })
    .await
    .unwrap();
}

/// One question of the worker's to the database gets no answer, and its connection is silent from then on.
async fn goes_on_after(question: &str) {
    let platform = Platform::new().await;
    let way = Proxy::to(&platform.database.worker).await.unwrap();
    way.lose(Lost::Everything, question.as_bytes(), 1);
    let url = way.url(&platform.database.worker).unwrap();
    let options = ["--domains", DOMAIN, "--stall-after", "20s"];
    let worker = platform.worker_by(&url, &platform.broker.url, &options);
    platform.declare().await;
    flows(&platform, 1..11).await;
    assert_eq!(way.faults_left(), 0, "{question} was never asked");
    flows(&platform, 11..21).await;
    ready_again(&worker).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_answer_never_comes_holds_nothing_up() {
    let questions = [
        "core.staged_rows(",
        "nextval('core.batch_id')",
        "insert into stg.alumnos",
        "insert into core.batches",
        "COMMIT",
        "core.promote_domain(",
        "core.ensure_partitions()",
        "core.note_server()",
        "pg_is_in_recovery()",
    ];
    // Three workers at a time: other tests share the server's connections.
    stream::iter(questions)
        .for_each_concurrent(3, goes_on_after)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readyz_names_the_loop_whose_question_has_no_answer() {
    let platform = Platform::new().await;
    let way = Proxy::to(&platform.database.worker).await.unwrap();
    way.lose(Lost::Everything, b"insert into stg.alumnos", 1);
    let url = way.url(&platform.database.worker).unwrap();
    let options = ["--domains", DOMAIN, "--stall-after", "1s"];
    let worker = platform.worker_by(&url, &platform.broker.url, &options);
    worker.ready().await;
    let (reason, ()) = tokio::join!(worker.not_ready("ingest"), flows(&platform, 1..11));
    assert!(reason.starts_with("no answer for"), "{reason}");
    ready_again(&worker).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_are_replaced() {
    let platform = Platform::new().await;
    let database = Proxy::to(&platform.database.worker).await.unwrap();
    let broker = Proxy::to(&platform.broker.url).await.unwrap();
    let worker = platform.worker_by(
        &database.url(&platform.database.worker).unwrap(),
        &broker.url(&platform.broker.url).unwrap(),
        &[],
    );
    worker.ready().await;
    flows(&platform, 1..11).await;
    database.silence();
    flows(&platform, 11..21).await;
    broker.silence();
    flows(&platform, 21..31).await;
    database.silence();
    broker.silence();
    flows(&platform, 31..41).await;
    ready_again(&worker).await;
    worker.stop().await;
}
