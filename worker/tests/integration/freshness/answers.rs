//! As of when a mart is, and until when it is complete.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Fresh, all_are, instant, published, school, types};
use crate::support::Platform;
use crate::support::program::{finish, program};
use crate::support::school::{alumno, break_merge, calificacion, inscripcion, materia, message};

#[tokio::test(flavor = "multi_thread")]
async fn as_of_when() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--check-every", "200ms"]);
    worker.ready().await;
    let types = types(&platform).await;
    let rows = platform.freshness("empty marts", |rows| all_are(rows, "empty"));
    assert_eq!(
        rows.await.keys().collect::<Vec<_>>(),
        types.keys().collect::<Vec<_>>()
    );

    let messages = school();
    platform.publish_all(&messages).await;
    // Of each mart the newest message among those of the tables it reads.
    let mut newest: BTreeMap<String, DateTime<Utc>> = (1..)
        .zip(&messages)
        .map(|(second, message)| (message.routing_key.clone(), instant(second)))
        .collect();
    let as_of = |newest: &BTreeMap<String, DateTime<Utc>>| -> BTreeMap<String, DateTime<Utc>> {
        let of = |types: &BTreeSet<String>| types.iter().map(|kind| newest[kind]).max();
        let marts = types.iter();
        marts
            .map(|(mart, types)| (mart.clone(), of(types).unwrap()))
            .collect()
    };
    let shows = |rows: &BTreeMap<String, Fresh>, wanted: &BTreeMap<String, DateTime<Utc>>| {
        let found = rows.values().map(|row| row.data_as_of);
        all_are(rows, "fresh") && found.eq(wanted.values().copied().map(Some))
    };
    let wanted = as_of(&newest);
    let rows = platform.freshness("the school", |rows| shows(rows, &wanted));
    assert!(rows.await.values().all(|row| row.trusted));

    // A student moves the marts that show students, and refreshes no other.
    let refreshes = "select count(*) from core.mart_refresh_log";
    let before = platform.number(refreshes).await;
    let student = published(7, alumno(2));
    platform.publish_all([&student]).await;
    newest.insert(student.routing_key.clone(), instant(7));
    let moved = as_of(&newest);
    assert_ne!(moved, wanted);
    platform
        .freshness("the student", |rows| shows(rows, &moved))
        .await;
    let concerned = "select count(*) from core.lineage where message_type = 'academico.alumno' and mart_kind = 'materialized'";
    assert_eq!(
        platform.number(refreshes).await - before,
        platform.number(concerned).await
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_until_when() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--check-every", "200ms"]);
    worker.ready().await;
    let types = types(&platform).await;
    let reads = |mart: &str, kind: &str| types[mart].contains(&format!("academico.{kind}"));
    let before = |second| instant(second) - TimeDelta::microseconds(1);
    // Whether each mart is complete through its own instant and lacks its own number of messages.
    let complete = |rows: &BTreeMap<String, Fresh>, of: &dyn Fn(&str) -> (DateTime<Utc>, i64)| {
        rows.values().all(|row| {
            (row.complete_through, row.missing) == (Some(of(&row.mart).0), of(&row.mart).1)
                && row.missing_since.is_some() == (row.missing > 0)
        })
    };
    platform.publish_all(&school()).await;
    platform
        .freshness("the school", |rows| {
            all_are(rows, "fresh") && complete(rows, &|_| (instant(6), 0))
        })
        .await;

    // Received, not promoted: each mart is complete up to the oldest message for it that waits.
    let mend = break_merge(&platform).await;
    let messages = [
        published(10, alumno(2)),
        published(12, calificacion(1, 1, 8.0)),
    ];
    platform.publish_all(&messages).await;
    let rows = platform
        .freshness("staged messages", |rows| {
            complete(rows, &|mart| {
                let second = if reads(mart, "alumno") { 10 } else { 12 };
                (before(second), 0)
            })
        })
        .await;
    assert!(rows.values().all(|row| row.behind_since.is_some()));
    platform.execute(&mend).await;
    platform
        .freshness("promoted messages", |rows| {
            all_are(rows, "fresh") && complete(rows, &|_| (instant(12), 0))
        })
        .await;

    // Waiting for the row it refers to: only those who read enrolments lack it.
    let messages = [published(14, inscripcion(9, 1)), published(16, materia(2))];
    platform.publish_all(&messages).await;
    platform
        .freshness("an orphan", |rows| {
            complete(rows, &|mart| {
                let lacks = reads(mart, "inscripcion");
                let second = if lacks { before(14) } else { instant(16) };
                (second, i64::from(lacks))
            })
        })
        .await;
    platform.publish_all([&published(18, alumno(9))]).await;
    platform
        .freshness("a parent", |rows| {
            all_are(rows, "fresh") && complete(rows, &|_| (instant(18), 0))
        })
        .await;

    // In quarantine: named as missing, but the marts go on.
    let bad = message("inscripcion", &json!({"id_alumno": 1}));
    platform.publish_all([&published(20, bad)]).await;
    platform
        .publish_all([&published(22, inscripcion(2, 1))])
        .await;
    platform
        .freshness("a refused message", |rows| {
            complete(rows, &|mart| {
                (instant(22), i64::from(reads(mart, "inscripcion")))
            })
        })
        .await;
    // One that could be anything may be missing anywhere.
    let mut unknown = message("inscripcion", &Value::Null);
    unknown.properties = unknown.properties.with_type("academico.nothing".into());
    unknown.routing_key = "academico.nothing".to_owned();
    platform.publish_all([&unknown]).await;
    platform
        .freshness("an unknown message", |rows| {
            complete(rows, &|mart| {
                (instant(22), 1 + i64::from(reads(mart, "inscripcion")))
            })
        })
        .await;
    let discard = [
        "quarantine",
        "discard",
        "--all",
        "--database-url",
        &platform.database.operator,
    ];
    assert!(finish(program(&discard)).await.status.success());
    platform
        .freshness("nothing missing", |rows| {
            complete(rows, &|_| (instant(22), 0))
        })
        .await;
    worker.stop().await;
}

/// A mart that shows an old core says so also about the messages that came after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mart_is_complete_through_what_was_there_when_it_was_refreshed() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--refresh-every", "1h", "--check-every", "200ms"]);
    worker.ready().await;
    platform.publish_all(&school()).await;
    let live = platform
        .freshness("the live marts", |rows| {
            rows.values()
                .all(|row| row.kind == "materialized" || row.complete_through == Some(instant(6)))
        })
        .await;
    for row in live.values().filter(|row| row.kind == "materialized") {
        assert_eq!(
            (row.status.as_str(), row.complete_through, row.data_as_of),
            ("empty", None, None)
        );
        assert!(row.behind_since.is_some(), "{row:?}");
    }
    worker.stop().await;
    let refresh = ["refresh", "--database-url", &platform.database.worker];
    assert!(finish(program(&refresh)).await.status.success());
    platform
        .freshness("refreshed marts", |rows| all_are(rows, "fresh"))
        .await;

    let worker = platform.worker(&["--refresh-every", "1h", "--check-every", "200ms"]);
    worker.ready().await;
    platform
        .publish_all([&published(30, calificacion(1, 1, 9.0))])
        .await;
    let rows = platform.freshness("a newer mark", |rows| {
        rows.values().all(|row| {
            let second = if row.kind == "view" { 30 } else { 6 };
            row.complete_through == Some(instant(second)) && row.data_as_of == Some(instant(second))
        })
    });
    assert!(rows.await.values().all(|row| row.trusted));
    // Its objective ends before anybody refreshes it.
    platform
        .execute("update core.marts set objective = '1 millisecond' where kind = 'materialized'")
        .await;
    platform
        .freshness("late marts", |rows| {
            rows.values()
                .all(|row| row.status == if row.kind == "view" { "fresh" } else { "late" })
        })
        .await;
    worker.stop().await;
}

/// It is read at every scrape and by every dashboard: it must not look at the rows of a domain.
#[tokio::test(flavor = "multi_thread")]
async fn freshness_reads_no_table_of_a_domain() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let plan: Value =
        sqlx::query_scalar("explain (verbose, format json) select * from marts.freshness")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    let mut read = BTreeSet::new();
    relations(&plan, &mut read);
    assert!(read.contains("core.entity_state"), "{read:?}");
    let allowed =
        |relation: &String| relation.starts_with("core.") || relation.starts_with("raw.quarantine");
    assert!(read.iter().all(allowed), "{read:?}");
}

fn relations(node: &Value, found: &mut BTreeSet<String>) {
    match node {
        Value::Object(fields) => {
            if let Some(name) = fields.get("Relation Name").and_then(Value::as_str) {
                let schema = fields.get("Schema").and_then(Value::as_str);
                found.insert(format!("{}.{name}", schema.unwrap_or("?")));
            }
            fields.values().for_each(|value| relations(value, found));
        }
        Value::Array(nodes) => nodes.iter().for_each(|value| relations(value, found)),
        _ => {}
    }
}
