//! Connections to broker and database that break, and answers that are lost.

use std::sync::atomic::Ordering;

use acequia_contracts::{catalog, fixtures};
use acequia_net::topology::queue_of;
use acequia_testkit::{Lost, Proxy, wait_for};
use sqlx::Connection;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{LOAD, assert_core_gets_the_load, publish_load};
use crate::support::school::{alumno, alumnos};
use crate::support::{LedgerEntry, Message, Platform};

/// Three times the connection breaks around a commit; what the worker then knows is not enough.
async fn lose_commits(lost: Lost) -> LedgerEntry {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..101)).await;
    let proxy = Proxy::to(&platform.database.worker).await.unwrap();
    proxy.lose_of(b"acequia ingest academico", lost, b"COMMIT", 3);
    let database = proxy.url(&platform.database.worker).unwrap();
    let worker = platform.worker_by(&database, &platform.broker.url, &[]);
    let done = wait_for("the lost commits", async || Ok(proxy.faults_left() == 0));
    done.await.unwrap();
    // The batch that was hit is through before the next message is taken.
    platform.publish_all([&alumno(101)]).await;
    let total = platform.settled_unique(101).await;
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (101, 0, 0)
    );
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
    total
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_made_up_for() {
    assert_eq!(lose_commits(Lost::Request).await.duplicates, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_has_no_second_effect() {
    // Each lost answer left at least one message that is then seen again.
    assert!(lose_commits(Lost::Answer).await.duplicates >= 3);
}

/// The crash between commit and acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn messages_whose_acknowledgement_is_lost_have_no_second_effect() {
    const BASIC_ACK: [u8; 8] = [0, 0, 0, 13, 0, 60, 0, 80]; // length of the frame, class, method
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..101)).await;
    let proxy = Proxy::to(&platform.broker.url).await.unwrap();
    proxy.lose(Lost::Request, &BASIC_ACK, 3);
    let broker = proxy.url(&platform.broker.url).unwrap();
    let worker = platform.worker_by(&platform.database.worker, &broker, &[]);
    let done = wait_for("the lost acknowledgements", async || {
        Ok(proxy.faults_left() == 0)
    });
    done.await.unwrap();
    // After the last lost one the messages come once more, and are acknowledged.
    platform.publish_all([&alumno(101)]).await;
    let total = platform.settled_unique(101).await;
    assert!(total.duplicates >= 3, "{total:?}");
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (101, 0, 0)
    );
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_lose_nothing_and_double_nothing() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--batch-max", "50"]);
    worker.ready().await;
    let (load, _) = publish_load(&platform);
    let auditor = platform.auditor().await;
    // Publisher and worker lose their connections again and again, each time further on.
    let mut closed = 0;
    for round in 0..8 {
        platform.received(i64::from(LOAD) * round / 10).await;
        closed += platform.broker.close_connections().await.unwrap();
    }
    load.await.unwrap();
    assert_core_gets_the_load(&platform).await;
    assert!(closed > 0, "no connection was closed");
    auditor.finish().await;
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
    assert_eq!(
        platform.settled_unique(i64::from(LOAD)).await.unaccounted,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again() {
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    for (id, domain) in std::iter::zip(1.., catalog()) {
        let queues = [
            Some(queue_of(domain.name)),
            domain.legacy_queue.map(ToOwned::to_owned),
        ];
        for queue in queues.into_iter().flatten() {
            platform.broker.delete_queue(&queue).await.unwrap();
            wait_for("the queue with its consumer", async || {
                Ok(platform
                    .queue(&queue)
                    .await
                    .is_some_and(|queue| queue.consumer_count() > 0))
            })
            .await
            .unwrap();
        }
        let sample = fixtures::valid(domain.name, domain.entities[0].name)[0];
        let message = Message::new(domain.name, domain.entities[0].name, sample.body);
        platform.publish_all([&message]).await;
        platform.settled(id).await;
    }
    worker.ready().await;
    worker.stop().await;
}

fn database_name(platform: &Platform) -> String {
    let url: url::Url = platform.database.owner.parse().unwrap();
    url.path().trim_start_matches('/').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn database_connections_that_break_lose_nothing_and_double_nothing() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..LOAD + 1)).await;
    let worker = platform.worker(&["--batch-max", "50", "--promote-max", "200"]);
    let auditor = platform.auditor().await;
    let mut terminated = 0;
    for round in 0..10 {
        platform.received(i64::from(LOAD) * round / 12).await;
        terminated += platform.terminate_backends().await;
    }
    assert!(terminated > 0, "no connection was terminated");
    assert_core_gets_the_load(&platform).await;
    auditor.finish().await;
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_for_a_while_costs_nothing_but_time() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--stall-after", "500ms", "--batch-max", "50"]);
    worker.ready().await;
    let (load, sent) = publish_load(&platform);
    platform.received(100).await;

    // From another database: no role, not even a superuser, may connect to this one.
    let name = database_name(&platform);
    let mut url: url::Url = platform.database.admin.parse().unwrap();
    url.set_path("postgres");
    let mut elsewhere = PgConnection::connect(url.as_str()).await.unwrap();
    let allow = |allowed: bool| {
        AssertSqlSafe(format!(
            "alter database {name} with allow_connections {allowed}"
        ))
    };
    sqlx::query(allow(false))
        .execute(&mut elsewhere)
        .await
        .unwrap();
    let all = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{name}'"
    );
    let terminated: i64 = sqlx::query_scalar(AssertSqlSafe(all))
        .fetch_one(&mut elsewhere)
        .await
        .unwrap();
    assert!(terminated > 0);

    // The worker names the fault, and lives; the publisher is not held up.
    assert_ne!(worker.not_ready("ingest").await, "");
    assert_ne!(worker.not_ready("promote").await, "");
    assert_eq!(crate::support::get(&worker.http, "/livez").await.0, 200);
    wait_for("the publisher", async || Ok(sent.load(Ordering::Relaxed)))
        .await
        .unwrap();
    load.await.unwrap();

    sqlx::query(allow(true))
        .execute(&mut elsewhere)
        .await
        .unwrap();
    assert_core_gets_the_load(&platform).await;
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}
