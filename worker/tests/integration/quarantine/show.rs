//! One row in full, and counts of all.

use serde_json::json;

use super::{fill, quarantine, told, too_young};
use crate::support::school::DOMAIN;
use crate::support::{Message, Platform};

#[tokio::test(flavor = "multi_thread")]
async fn show_tells_everything_about_a_row() {
    let platform = Platform::new().await;
    platform.declare().await;
    let binary = Message::new(DOMAIN, "alumno", vec![0xff, 0x00, 0x1b]);
    let hostile = Message::new(DOMAIN, "alumno", "\u{1b}[2J{}");
    fill(&platform, &[too_young(1), binary.clone(), hostile.clone()]).await;
    let young = platform.quarantine().await.remove(0);

    let shown = told(&platform, &["show", "--field", "edad"], 0).await;
    let shown = &shown[0];
    assert_eq!(shown["violations"], young.violations);
    assert_eq!(shown["properties"], young.properties);
    assert_eq!(shown["code"], "out_of_range");
    assert_eq!(shown["encoding"], "utf-8");
    assert_eq!(shown["body"].as_str().unwrap().as_bytes(), young.body);
    assert_eq!(
        (&shown["versions"], &shown["history"]),
        (&json!([]), &json!([]))
    );
    let shown = told(&platform, &["show", "--id", binary.id()], 0).await;
    assert_eq!(shown[0]["encoding"], "base64");
    assert_eq!(shown[0]["body"], "/wAb");

    let done = quarantine(
        &platform,
        &[
            "discard", "--field", "edad", "--by", "ana", "--reason", "a test",
        ],
    )
    .await;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(done.stdout, "1 discarded\n");
    let shown = told(&platform, &["show", "--field", "edad"], 0).await;
    let shown = &shown[0];
    assert_eq!(shown["status"], "discarded");
    assert_eq!(
        (&shown["resolved_by"], &shown["note"]),
        (&json!("ana"), &json!("a test"))
    );
    let entry = &shown["history"][0];
    assert_eq!(
        (
            &entry["action"],
            &entry["who"],
            &entry["reason"],
            &entry["row_count"]
        ),
        (
            &json!("discard"),
            &json!("ana"),
            &json!("a test"),
            &json!(1)
        )
    );
    assert_eq!(entry["login"], "acequia_operator");

    // For people: the same, without what could steer the terminal.
    let done = quarantine(
        &platform,
        &["show", "--status", "open,discarded", "--domain", DOMAIN],
    )
    .await;
    assert!(done.status.success());
    for part in [
        "discarded",
        "out_of_range edad",
        "discard by ana",
        "a test",
        "\"edad\":-1",
        "/wAb",
        "\\u{1b}[2J{}",
    ] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    assert!(!done.stdout.contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_count_by_cause() {
    let platform = Platform::new().await;
    platform.declare().await;
    let again = too_young(1);
    let messages = [
        again.clone(),
        again,
        too_young(2),
        too_young(3),
        Message::new(DOMAIN, "alumno", "{"),
    ];
    fill(&platform, &messages).await;
    told(&platform, &["discard", "--id", messages[2].id()], 0).await;
    let stats = told(&platform, &["stats"], 0).await;
    let young = &stats[0];
    assert_eq!(
        (
            &young["domain"],
            &young["entity"],
            &young["code"],
            &young["field_path"]
        ),
        (
            &json!(DOMAIN),
            &json!("alumno"),
            &json!("out_of_range"),
            &json!("edad")
        )
    );
    assert_eq!(
        (
            &young["open"],
            &young["replayed"],
            &young["discarded"],
            &young["occurrences"]
        ),
        (&json!(2), &json!(0), &json!(1), &json!(4))
    );
    assert!(young["first_seen_at"].as_str() <= young["last_seen_at"].as_str());
    assert_eq!(stats[1]["code"], "invalid_json");
    assert_eq!(stats.as_array().unwrap().len(), 2);
    let table = quarantine(&platform, &["stats"]).await.stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains(young["fingerprint"].as_str().unwrap()));
}
