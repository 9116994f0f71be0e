//! Messages whose cause is gone, and messages whose cause is not.

use acequia_testkit::wait_for;
use serde_json::{Value, json};

use super::{ALLOW, FORBID, forbidden, status};
use crate::quarantine::{quarantine, told, too_young};
use crate::support::school::{DOMAIN, alumno, grupo, maestro, materia};
use crate::support::{Message, Platform};

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

    // Replayed again: nothing is open; and when it is forced, the message is a copy.
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
