//! `worker quarantine replay`: each message is published again once, and never in a loop.

mod bodies;
mod causes;

use acequia_testkit::wait_for;
use lapin::options::{BasicGetOptions, BasicRejectOptions};

use crate::quarantine::{told, too_young};
use crate::support::school::{alumno, alumno_body, alumnos, message};
use crate::support::{Message, Platform};

pub const QUEUE: &str = "acequia.academico";
pub const LEGACY: &str = "etl";
pub const FORBID: &str =
    "alter table stg.alumnos_upsert add constraint no_such_name check (nombre <> 'forbidden')";

pub const ALLOW: &str = "alter table stg.alumnos_upsert drop constraint no_such_name";

pub fn forbidden(id: i32) -> Message {
    let mut body = alumno_body(id);
    body["nombre"] = "forbidden".into();
    message("alumno", &body)
}

pub async fn status(platform: &Platform, message: &Message) -> String {
    platform.quarantined(message).await.status
}

/// Messages that are ready in a queue.
pub async fn ready(platform: &Platform, queue: &str) -> u32 {
    platform.queue(queue).await.unwrap().message_count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_makes_small_steps_and_a_limit_ends_them() {
    let platform = Platform::new().await;
    platform.declare().await;
    let messages: Vec<_> = (1..=25).map(too_young).collect();
    let worker = platform.worker(&[]);
    platform.publish_all(&messages).await;
    platform.settled(25).await;
    worker.stop().await;
    let report = told(
        &platform,
        &["replay", "--all", "--rate", "10", "--limit", "23"],
        0,
    )
    .await;
    assert_eq!(report["replayed"], 23);
    // One transaction a second, each with what a second may have.
    let steps = "select row_count::text from core.audit_log order by audit_id";
    assert_eq!(platform.texts(steps).await, ["10", "10", "3"]);
    assert_eq!(ready(&platform, QUEUE).await, 23);
    let open = "select count(*) from raw.quarantine where status = 'open'";
    assert_eq!(platform.number(open).await, 2);
}

/// A dead letter is replayed to where its publisher sent it, without its death headers; given up
/// again, it reopens its row.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_comes_in_by_the_front_door_again() {
    let platform = Platform::new().await;
    platform.declare().await;
    let message = alumno(1);
    platform.publish_all([&message]).await;
    for round in 1..=2 {
        let (connection, channel) = platform.channel().await;
        let got = channel
            .basic_get(QUEUE.into(), BasicGetOptions::default())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (got.exchange.as_str(), got.routing_key.as_str()),
            ("acequia", "academico.alumno")
        );
        let headers = got.properties.headers().clone().unwrap_or_default();
        let marks = headers.inner().keys();
        assert!(
            marks
                .into_iter()
                .all(|name| !name.as_str().contains("death")),
            "{headers:?}"
        );
        let reject = BasicRejectOptions { requeue: false };
        got.acker.reject(reject).await.unwrap();
        wait_for("the dead letter", async || {
            Ok(ready(&platform, "acequia.dead").await == 1)
        })
        .await
        .unwrap();
        acequia_net::topology::close(&connection).await;
        let worker = platform.worker(&[]);
        platform.settled(round).await;
        worker.stop().await;
        let row = platform.quarantined(&message).await;
        assert_eq!(
            (row.stage.as_str(), row.queue.as_str(), row.status.as_str()),
            ("broker", "acequia.dead", "open")
        );
        assert_eq!(i64::from(row.occurrences), round);
        assert!(row.properties["headers"]["x-death"].is_array());
        told(&platform, &["replay", "--stage", "broker"], 0).await;
    }
    let worker = platform.worker(&[]);
    platform.settled(3).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.duplicates,
            total.unaccounted
        ),
        (1, 1, 1, 0)
    );
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

/// A message without any time happened when it arrived, however late it is replayed.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_does_not_win_over_what_came_after_the_original() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.execute(FORBID).await;
    let old = forbidden(1);
    let worker = platform.worker(&[]);
    platform.publish_all([&old]).await;
    platform.settled(1).await;
    platform.publish_all(&alumnos(1..2)).await;
    platform.settled(2).await;
    platform.execute(ALLOW).await;
    told(&platform, &["replay", "--all"], 0).await;
    platform.settled(3).await;
    assert_eq!(
        platform.texts("select nombre from academico.alumnos").await,
        ["Alumno 1"]
    );
    assert_eq!(platform.total().await.stale, 1);
    worker.stop().await;
}
