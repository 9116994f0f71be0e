//! Output: the JSON objects, and the answers to wrong usage.

use acequia_contracts::Entity;
use acequia_contracts::Kind;
use acequia_contracts::catalog;
use acequia_ops::trace::staged;
use serde_json::{Value, json};
use uuid::Uuid;

use super::trace_by;
use super::{sent, subject, traced};
use crate::permutations::Feed;
use crate::support::Platform;

/// Keys of the JSON objects are documented in docs/operations.md and do not change.
#[tokio::test(flavor = "multi_thread")]
async fn the_json_objects_have_the_documented_keys() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let good = subject(1, "A", "01");
    let bad = sent("materia", &json!({"id_materia": 0}));
    feed.stage(&[&good, &bad]).await;
    feed.promote_all().await;
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };

    let trace = traced(&platform, &[&good.id]).await;
    assert_eq!(
        keys(&trace),
        "asked day message_id outcome quarantine rows trace"
    );
    let row = &trace["rows"][0];
    assert_eq!(
        keys(row),
        "batch core entity event_at key lag_s message_id outcome pending published_at table"
    );
    assert_eq!(
        keys(&row["batch"]),
        "batch_id promoted_at queue received_at state worker"
    );
    assert_eq!(
        keys(&row["core"]),
        "batch_id event_at in_core_by key marts message_id table"
    );
    assert_eq!(
        keys(&row["core"]["marts"][0]),
        "has_row kind mart refreshed_at shows_it"
    );
    let trace = traced(&platform, &[&bad.id]).await;
    assert_eq!(
        keys(&trace["quarantine"]),
        "batch_id code entity field_path history last_seen_at message message_id note occurrences quarantine_id queue \
         received_at resolved_at resolved_by sqlstate stage status versions violations worker"
    );
    let trace = traced(&platform, &["academico.materia", "1"]).await;
    assert_eq!(keys(&trace), "core entity key trace versions waiting");
    let page = include_str!("../../../../docs/operations.md");
    for name in
        "asked outcome rows quarantine core versions waiting in_core_by shows_it has_row lag_s"
            .split(' ')
    {
        assert!(
            page.contains(&format!("`{name}`")),
            "{name} is not in docs/operations.md"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_known_and_wrong_usage_and_wrong_role() {
    let platform = Platform::new().await;
    let worker = &platform.database.worker;
    let unknown = Uuid::now_v7().to_string();
    for asked in [unknown.as_str(), "order-18"] {
        let done = trace_by(worker, &[asked]).await;
        assert_eq!((done.status.code(), done.stdout.as_str()), (Some(1), ""));
        for part in [asked, "has not arrived", "STAGING_KEEP", "another id"] {
            assert!(done.stderr.contains(part), "no {part}: {}", done.stderr);
        }
        let trace = traced(&platform, &[asked]).await;
        assert_eq!(
            (&trace["outcome"], &trace["rows"], &trace["quarantine"]),
            (&json!("unknown"), &json!([]), &Value::Null)
        );
    }
    // Every entity can be asked for; an error names all that would be right.
    for entity in catalog().iter().flat_map(|domain| &domain.entities) {
        let name = staged::full_name(entity);
        let arguments: Vec<_> = [name.as_str()]
            .into_iter()
            .chain(entity.key.iter().map(|key| a_value_of(entity, key)))
            .collect();
        let done = trace_by(worker, &arguments).await;
        assert_eq!(done.status.code(), Some(1), "{name}: {}", done.stderr);
        for wrong in [&["no.entity", "1"][..], &[&name], &[&name, "1", "2", "3"]] {
            let done = trace_by(worker, wrong).await;
            assert_eq!(done.status.code(), Some(2), "{wrong:?}");
            assert!(
                done.stderr.contains(&format!("\n  {name} ")),
                "{}",
                done.stderr
            );
        }
    }
    let done = trace_by(
        worker,
        &["academico.alumno", "x'; drop table core.batches; --"],
    )
    .await;
    assert_eq!(done.status.code(), Some(2));
    assert!(
        done.stderr.contains("id_alumno must be of type integer"),
        "{}",
        done.stderr
    );
    let done = trace_by(worker, &[]).await;
    assert_eq!(done.status.code(), Some(2));

    let done = trace_by(&platform.database.analyst, &[&unknown]).await;
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(2), ""));
    let clear = "role acequia_analyst may not look at single messages";
    assert!(done.stderr.contains(clear), "{}", done.stderr);
    let done = trace_by(&platform.database.owner, &[&unknown]).await;
    assert_eq!(done.status.code(), Some(1), "{}", done.stderr);
}

/// A text that a key column takes.
fn a_value_of(entity: &Entity, key: &str) -> &'static str {
    let column = entity.columns.iter().find(|column| column.name == key);
    match column.unwrap().kind {
        Kind::Date => "2024-01-01",
        Kind::Timestamp => "2024-01-01T00:00:00Z",
        Kind::Bool => "true",
        _ => "1",
    }
}
