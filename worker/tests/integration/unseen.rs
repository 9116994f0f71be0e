//! Claims about a mart must hold for messages, too, that are in no table yet: those that wait in a
//! queue or in the hands of a worker, and those that say no time.

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_net::topology::{close, queue_of};
use acequia_testkit::{Proxy, wait_for};
use chrono::{DateTime, Utc};
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;

use crate::freshness::{Fresh, all_are, school};
use crate::support::school::{DOMAIN, alumno, alumno_body, materia, message};
use crate::support::{Message, Platform};

/// The queue of publishers that name neither id nor time.
const LEGACY: &str = "etl";

/// The same message as such a publisher sends it.
fn straight(entity: &str, body: &serde_json::Value) -> Message {
    let mut body = body.clone();
    body["entity"] = entity.into();
    Message::straight(LEGACY, body.to_string())
}

fn subject(id: i32) -> serde_json::Value {
    serde_json::json!({"id_materia": id, "nombre": "Materia", "creditos": 8})
}

impl Platform {
    /// The time of the database.
    async fn now(&self) -> DateTime<Utc> {
        sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&mut self.connect().await)
            .await
            .unwrap()
    }

    /// Makes everything that was seen of the queues older.
    async fn time_passes(&self) {
        self.execute("update core.queue_looks set looked_at = looked_at - interval '31 seconds'")
            .await;
    }
}

/// Whether every mart knows that it lacks something that was sent after an instant, and none claims to be
/// complete up to that instant.
fn all_lack_what_came_after(rows: &BTreeMap<String, Fresh>, instant: DateTime<Utc>) -> bool {
    rows.values()
        .all(|row| row.behind_since.is_some() && row.complete_through < Some(instant))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_a_time_are_not_promised_before_they_are_there() {
    type Way = (&'static str, fn(i32) -> Message, fn() -> Message);
    let ways: [Way; 2] = [
        (
            "the legacy queue is behind",
            |id| straight("alumno", &alumno_body(id)),
            || materia(7),
        ),
        ("the domain's queue is behind", alumno, || {
            straight("materia", &subject(7))
        }),
    ];
    for (what, behind, ahead) in ways {
        let platform = Platform::new().await;
        let worker = platform.worker(&["--check-every", "200ms"]);
        worker.ready().await;
        platform.publish_all(&school()).await;
        platform
            .freshness("the school", |rows| all_are(rows, "fresh"))
            .await;

        // Students cannot be staged; messages of the other queue can.
        let mut owner = platform.connect().await;
        sqlx::raw_sql("begin; lock table stg.alumnos_upsert in share mode")
            .execute(&mut owner)
            .await
            .unwrap();
        let sent = platform.now().await;
        let students: Vec<_> = (100..160).map(behind).collect();
        platform.publish_all(&students).await;
        platform.publish_all([&ahead()]).await;
        let rows = platform
            .freshness(what, |rows| {
                all_lack_what_came_after(rows, sent)
                    && rows.values().any(|row| row.data_as_of > Some(sent))
            })
            .await;
        assert!(all_lack_what_came_after(&rows, sent), "{what}: {rows:#?}");

        sqlx::raw_sql("rollback").execute(&mut owner).await.unwrap();
        platform
            .freshness(what, |rows| {
                all_are(rows, "fresh") && rows.values().all(|row| row.complete_through > Some(sent))
            })
            .await;
        worker.stop().await;
    }
}

/// Messages held by a frozen process are unknown to everybody, even to another worker.
#[tokio::test(flavor = "multi_thread")]
async fn messages_in_the_hands_of_a_frozen_worker_are_lacking() {
    let platform = Platform::new().await;
    let frozen = platform.program(&[]);
    let worker = platform.worker(&["--check-every", "200ms"]);
    worker.ready().await;
    crate::support::ready(&frozen.http).await;
    platform.publish_all(&school()).await;
    platform
        .freshness("the school", |rows| all_are(rows, "fresh"))
        .await;

    frozen.signal("STOP").await;
    let sent = platform.now().await;
    let students: Vec<_> = (100..200).map(alumno).collect();
    platform.publish_all(&students).await;
    // Until the others come the broker has given it some of these.
    platform.received(10).await;
    let it = format!("%:{}", frozen.pid());
    platform
        .execute(&format!(
            "update core.queue_consumers set looked_at = looked_at - interval '1 minute' where worker like '{it}'"
        ))
        .await;
    wait_for("a look that misses it", async || {
        let unknown =
            "select count(*) from core.queue_looks where mark_at is null and domain = 'academico'";
        Ok(platform.number(unknown).await == 2)
    })
    .await
    .unwrap();
    let rows = platform.freshness("marts of half a class", |_| true).await;
    assert!(
        rows.values().all(|row| row.complete_through < Some(sent)),
        "{rows:#?}"
    );
    platform.time_passes().await;
    platform
        .freshness("marts of which nobody knows", |rows| {
            rows.values()
                .all(|row| row.status == "unknown" && row.complete_through < Some(sent))
        })
        .await;

    frozen.signal("CONT").await;
    platform.settled_unique(106).await;
    platform
        .freshness("all students", |rows| {
            all_are(rows, "fresh") && rows.values().all(|row| row.complete_through > Some(sent))
        })
        .await;
    assert!(frozen.terminate().await.status.success());
    worker.stop().await;
}

/// Without observations, for whatever reason, no mart is called fresh for long.
#[tokio::test(flavor = "multi_thread")]
async fn marts_whose_queues_nobody_sees_are_unknown() {
    let platform = Platform::new().await;
    let proxy = Proxy::to(&platform.broker.url).await.unwrap();
    let broker = proxy.url(&platform.broker.url).unwrap();
    let start = || platform.worker_by(&platform.database.worker, &broker, &["--check-every", "1h"]);
    let fresh = async |what: &str| {
        platform
            .freshness(what, |rows| all_are(rows, "fresh"))
            .await
    };
    let unknown = async |what: &str| {
        platform.time_passes().await;
        let rows = platform.freshness(what, |rows| all_are(rows, "unknown"));
        // Rules judge the rows, not their age.
        assert!(rows.await.values().all(|row| row.trusted), "{what}");
    };
    let worker = start();
    worker.ready().await;
    platform.publish_all(&school()).await;
    let rows = fresh("the school").await;
    let through = rows.values().map(|row| row.complete_through).max();

    worker.stop().await;
    unknown("no worker").await;
    let worker = start();
    fresh("a worker again").await;

    proxy.cut(true);
    wait_for("the lanes to notice", async || {
        let lanes = "select count(*) from core.queue_consumers where looked_at > clock_timestamp() - interval '15 seconds'";
        Ok(platform.number(lanes).await == 0)
    })
    .await
    .unwrap();
    unknown("no broker").await;
    proxy.cut(false);
    fresh("the broker again").await;

    // Somebody takes messages and does not say what becomes of them.
    let (connection, channel) = platform.channel().await;
    let consume = channel.basic_consume(
        queue_of(DOMAIN).into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let stranger = consume.await.unwrap();
    wait_for("a look that sees the stranger", async || {
        let unknown = "select count(*) from core.queue_looks where queue = 'acequia.academico' and mark_at is null";
        Ok(platform.number(unknown).await == 1)
    })
    .await
    .unwrap();
    unknown("a stranger").await;
    drop(stranger);
    close(&connection).await;
    let rows = fresh("without the stranger").await;
    assert_eq!(rows.values().map(|row| row.complete_through).max(), through);
    worker.stop().await;
}

/// One message that waits for the row it refers to keeps *complete through* back, and is named.
#[tokio::test(flavor = "multi_thread")]
async fn the_message_that_keeps_a_mart_back_is_named() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--check-every", "200ms"]);
    worker.ready().await;
    platform.publish_all(&school()).await;
    let orphan = message(
        "inscripcion",
        &serde_json::json!({"id_alumno": 99, "id_grupo": 1, "fecha_inscripcion": "2024-02-01"}),
    );
    platform.publish_all([&orphan]).await;
    let named = format!(
        "select count(*) from marts.freshness where held_by = '{}' and missing = 1",
        orphan.id()
    );
    let readers = "select count(distinct mart) from core.lineage where message_type = 'academico.inscripcion' and mart is not null";
    let readers = platform.number(readers).await;
    assert!(readers > 0);
    wait_for("the orphan's name", async || {
        Ok(platform.number(&named).await == readers)
    })
    .await
    .unwrap();
    platform.publish_all([&alumno(99)]).await;
    wait_for("its parent", async || {
        Ok(platform
            .number("select count(*) from marts.freshness where held_by is not null")
            .await
            == 0)
    })
    .await
    .unwrap();
    worker.stop().await;
}

/// Many tools know no intervals.
#[tokio::test(flavor = "multi_thread")]
async fn an_interval_is_given_in_seconds_too() {
    let platform = Platform::new().await;
    let mut analyst = platform.analyst().await;
    let seconds: Vec<(String, f64, f64)> = sqlx::query_as(
        "select mart, objective_s, extract(epoch from objective)::float8 from marts.freshness",
    )
    .fetch_all(&mut analyst)
    .await
    .unwrap();
    assert!(!seconds.is_empty());
    assert!(seconds.iter().all(|(_, given, interval)| {
        Duration::from_secs_f64(*given) == Duration::from_secs_f64(*interval)
    }));
}
