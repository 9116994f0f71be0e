//! `worker quarantine replay`: once, through the front door, and never in a circle.

use acequia_testkit::wait_for;
use lapin::options::{BasicGetOptions, BasicRejectOptions};
use serde_json::{Value, json};

use crate::quarantine::{quarantine, told, too_young};
use crate::support::school::{
    DOMAIN, alumno, alumno_body, alumnos, calificacion, grupo, maestro, materia, message,
};
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
async fn what_the_database_refused_is_promoted_after_the_cause_is_gone() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.execute(FORBID).await;
    let auditor = platform.auditor().await;
    let messages = [alumno(1), forbidden(2), forbidden(3)];
    platform.publish_all(&messages).await;
    let worker = platform.worker(&[]);
    platform.settled(3).await;
    platform.execute(ALLOW).await;

    let report = told(
        &platform,
        &[
            "replay", "--stage", "load", "--by", "ana", "--reason", "mended",
        ],
        0,
    )
    .await;
    assert_eq!(
        (&report["replayed"], &report["failed"]),
        (&json!(2), &json!(0))
    );
    platform.settled(5).await;
    // A replayed message counts twice: once as quarantined, once as promoted.
    let total = platform.total().await;
    assert_eq!(
        (
            total.received,
            total.inserted,
            total.quarantined,
            total.duplicates
        ),
        (5, 3, 2, 0)
    );
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos")
            .await,
        3
    );
    let row = platform.quarantined(&messages[1]).await;
    assert_eq!((row.status.as_str(), row.occurrences), ("replayed", 1));
    let shown = told(&platform, &["show", "--id", messages[1].id()], 0).await;
    let entry = &shown[0]["history"][0];
    assert_eq!(
        (
            &entry["action"],
            &entry["who"],
            &entry["reason"],
            &entry["row_count"]
        ),
        (&json!("replay"), &json!("ana"), &json!("mended"), &json!(2))
    );
    assert_eq!(shown[0]["replays"], 1);
    let filters = platform
        .texts("select filters::text from core.audit_log")
        .await;
    assert!(
        filters[0].contains("load") && filters[0].contains("open"),
        "{filters:?}"
    );

    // Replayed again: nothing is open; and when somebody insists, it is a copy.
    let done = quarantine(&platform, &["replay", "--stage", "load"]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    told(&platform, &["replay", "--status", "replayed", "--all"], 0).await;
    platform.settled(7).await;
    // So is the original, from the publisher.
    platform.publish_all([&messages[1]]).await;
    platform.settled(8).await;
    let total = platform.total().await;
    assert_eq!(
        (total.inserted, total.duplicates, total.unaccounted),
        (3, 3, 0)
    );
    assert_eq!(status(&platform, &messages[1]).await, "replayed");
    auditor.finish().await;
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_merged_when_its_parent_came_and_opens_again_when_not() {
    let platform = Platform::new().await;
    platform.declare().await;
    let auditor = platform.auditor().await;
    let at = |mut message: Message, ts: &str| {
        let mut body: Value = serde_json::from_slice(&message.body).unwrap();
        body["ts"] = ts.into();
        message.body = body.to_string().into_bytes();
        message
    };
    let orphan = at(grupo(1, 1, 1), "2024-06-11T10:30:00.123456-06:00");
    platform.publish_all([&orphan]).await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    let quarantined = async |occurrences: i32| {
        wait_for("the orphan in quarantine", async || {
            let rows = platform.quarantine().await;
            Ok(rows
                .iter()
                .any(|row| row.status == "open" && row.occurrences == occurrences))
        })
        .await
        .unwrap();
    };
    quarantined(1).await;
    assert_eq!(
        platform
            .number("select count(*) from stg.grupos_upsert")
            .await,
        0
    );

    // Its parents are still missing: the replay expires too, and opens the same row again.
    told(&platform, &["replay", "--code", "orphan"], 0).await;
    quarantined(2).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.received,
            total.quarantined,
            total.duplicates,
            total.pending,
            total.unaccounted
        ),
        (2, 1, 1, 0, 0)
    );
    assert_eq!(
        platform
            .number("select count(*) from raw.quarantine_versions")
            .await,
        0
    );

    // They come, and so does a newer version of the group.
    let newer = at(grupo(1, 1, 2), "2024-06-12T00:00:00Z");
    platform
        .publish_all([&maestro(1), &maestro(2), &materia(1), &newer])
        .await;
    platform.settled(6).await;
    told(&platform, &["replay", "--code", "orphan"], 0).await;
    platform.settled(7).await;
    let entry = platform.ledger_entry(DOMAIN, "grupo").await;
    // The event time came along: the replay is the older version.
    assert_eq!(
        (
            entry.inserted,
            entry.updated,
            entry.stale,
            entry.pending,
            entry.quarantined,
            entry.duplicates
        ),
        (1, 0, 1, 0, 1, 1)
    );
    assert_eq!(
        platform
            .number("select id_maestro::bigint from academico.grupos")
            .await,
        2
    );
    assert_eq!(status(&platform, &orphan).await, "replayed");
    let staged = "select count(*) from stg.grupos_upsert where event_at = '2024-06-11T10:30:00.123456-06:00'";
    assert_eq!(platform.number(staged).await, 1);
    assert_eq!(platform.total().await.unaccounted, 0);
    auditor.finish().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_that_expires_under_the_same_id_is_kept_and_sent() {
    let platform = Platform::new().await;
    platform.declare().await;
    let bad = message("calificacion", &json!({"id_alumno": 1}));
    let good = Message {
        properties: bad.properties.clone(),
        ..calificacion(1, 1, 8.0)
    };
    platform.publish_all([&bad]).await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    platform.settled(1).await;
    platform.publish_all([&good]).await;
    wait_for("the mark in quarantine", async || {
        Ok(platform.total().await.duplicates == 1)
    })
    .await
    .unwrap();
    let row = platform.quarantined(&bad).await;
    assert_eq!((row.body, row.occurrences), (bad.body.clone(), 2));
    let versions = platform
        .texts("select convert_from(body, 'UTF8') from raw.quarantine_versions")
        .await;
    let version: Value = serde_json::from_str(&versions[0]).unwrap();
    assert_eq!((versions.len(), &version["calificacion"]), (1, &json!(8.0)));

    let parents = [maestro(1), materia(1), grupo(1, 1, 1), alumno(1)];
    platform.publish_all(&parents).await;
    platform.settled(6).await;
    told(&platform, &["replay", "--id", bad.id()], 0).await;
    platform.settled(7).await;
    assert_eq!(
        platform
            .number("select count(*) from academico.calificaciones")
            .await,
        1
    );
    assert_eq!(platform.total().await.unaccounted, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_body_takes_the_place_of_the_original_which_stays() {
    let platform = Platform::new().await;
    platform.declare().await;
    let auditor = platform.auditor().await;
    // No id: its identity was made of its queue and bytes.
    let original = br#"{"entity":"alumno","id_alumno":1,"nombre":"Ana","edad":-1,"genero":"F"}"#;
    let message = Message::straight(LEGACY, original);
    platform.publish_all([&message]).await;
    let worker = platform.worker(&[]);
    platform.settled(1).await;
    let id = platform
        .number("select quarantine_id from raw.quarantine")
        .await
        .to_string();
    let file = std::env::temp_dir().join(format!("acequia-edit-{}-{id}", std::process::id()));
    let path = file.to_str().unwrap();

    // Edited, and still wrong: the same row is open again, for its new reason.
    std::fs::write(
        &file,
        r#"{"entity":"alumno","id_alumno":1,"nombre":"Ana","edad":20,"genero":"X"}"#,
    )
    .unwrap();
    told(
        &platform,
        &[
            "replay", "--id", &id, "--edit", path, "--by", "ana", "--reason", "age",
        ],
        0,
    )
    .await;
    platform.settled(2).await;
    let rows = platform.quarantine().await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].status.as_str(), rows[0].occurrences), ("open", 2));
    assert_eq!(
        rows[0].reason(),
        ("contract", "not_allowed", Some("genero"))
    );
    assert_eq!(
        (&rows[0].body[..], rows[0].queue.as_str()),
        (&original[..], LEGACY)
    );

    // Edited again, and refused for a reason that passes; the next replay sends the newest version.
    platform
        .execute("alter table stg.alumnos_upsert add constraint no_ana check (nombre <> 'Ana')")
        .await;
    let mended = r#"{"entity":"alumno","id_alumno":1,"nombre":"Ana","edad":20,"genero":"F"}"#;
    std::fs::write(&file, mended).unwrap();
    told(
        &platform,
        &[
            "replay", "--id", &id, "--edit", path, "--by", "eva", "--reason", "gender",
        ],
        0,
    )
    .await;
    platform.settled(3).await;
    assert_eq!(
        platform.quarantine().await[0].reason().1,
        "refused_by_database"
    );
    platform
        .execute("alter table stg.alumnos_upsert drop constraint no_ana")
        .await;
    told(&platform, &["replay", "--id", &id], 0).await;
    platform.settled(4).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        platform.texts("select nombre from academico.alumnos").await,
        ["Ana"]
    );

    let shown = told(&platform, &["show", "--id", &id], 0).await;
    let shown = &shown[0];
    assert_eq!(
        (&shown["status"], &shown["replays"], &shown["occurrences"]),
        (&json!("replayed"), &json!(3), &json!(3))
    );
    assert_eq!(shown["body"].as_str().unwrap().as_bytes(), original);
    let versions = shown["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(
        (
            &versions[0]["version"],
            &versions[0]["by"],
            &versions[0]["note"]
        ),
        (&json!(1), &json!("ana"), &json!("age"))
    );
    assert_eq!(
        (&versions[1]["by"], &versions[1]["body"]),
        (&json!("eva"), &json!(mended))
    );
    let actions: Vec<_> = shown["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["edit", "replay", "edit", "replay", "replay"]);
    // One identity all along.
    let total = platform.total().await;
    assert_eq!(
        (
            total.received,
            total.quarantined,
            total.duplicates,
            total.inserted,
            total.unaccounted
        ),
        (4, 1, 2, 1, 0)
    );
    let linked =
        "select count(*) from stg.alumnos_upsert s join raw.quarantine q using (message_id, day)";
    assert_eq!(platform.number(linked).await, 1);
    // The original comes once more: a copy, which changes nothing.
    platform.publish_all([&message]).await;
    platform.settled(5).await;
    let row = &platform.quarantine().await[0];
    assert_eq!((row.status.as_str(), row.occurrences), ("replayed", 4));
    assert_eq!(platform.total().await.duplicates, 3);
    auditor.finish().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_bad_opens_again_and_is_not_sent_by_itself() {
    let platform = Platform::new().await;
    platform.declare().await;
    let messages: Vec<_> = (1..=20).map(too_young).collect();
    let worker = platform.worker(&[]);
    platform.publish_all(&messages).await;
    platform.settled(20).await;
    for round in 1..=3 {
        // The rows open again while it runs; none of them is sent twice.
        let report = told(&platform, &["replay", "--all"], 0).await;
        assert_eq!(report["replayed"], 20);
        platform.settled(20 + round * 20).await;
        let rows = platform.quarantine().await;
        assert_eq!(rows.len(), 20);
        for row in rows {
            assert_eq!(
                (row.status.as_str(), i64::from(row.occurrences)),
                ("open", round + 1)
            );
        }
        let unresolved = "select count(*) from raw.quarantine where resolved_at is null and resolved_by is null and replays = ";
        assert_eq!(platform.number(&format!("{unresolved}{round}")).await, 20);
    }
    let total = platform.total().await;
    assert_eq!(
        (total.quarantined, total.duplicates, total.unaccounted),
        (20, 60, 0)
    );
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
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

/// What the broker gave up goes where its publisher sent it, without the marks of its death; given
/// up again it opens its row again.
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

/// A body that the broker's frame does not hold at once, and one that is no text.
#[tokio::test(flavor = "multi_thread")]
async fn large_and_binary_bodies_are_sent_as_they_came() {
    let platform = Platform::new().await;
    platform.declare().await;
    let large = vec![b'x'; 9 * 1024 * 1024];
    let messages = [large.clone(), large, vec![0, 0xff, 0x80]]
        .map(|body| Message::new(DOMAIN, "alumno", body));
    let worker = platform.worker(&[]);
    platform.publish_all(&messages).await;
    platform.settled(3).await;
    let report = told(&platform, &["replay", "--all"], 0).await;
    assert_eq!(report["replayed"], 3);
    platform.settled(6).await;
    // Two transactions: both large bodies are more than one holds.
    let steps = platform
        .texts("select row_count::text from core.audit_log order by audit_id")
        .await;
    assert_eq!(steps, ["1", "2"]);
    for (row, message) in platform.quarantine().await.iter().zip(&messages) {
        assert!(row.body == message.body && row.occurrences == 2);
    }
    worker.stop().await;
}
