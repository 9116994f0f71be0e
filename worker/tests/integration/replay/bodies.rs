//! Bodies as they are sent again: edited, of another message, large.

use acequia_testkit::wait_for;
use serde_json::{Value, json};

use super::LEGACY;
use crate::quarantine::told;
use crate::support::school::calificacion;
use crate::support::school::{DOMAIN, alumno, grupo, maestro, materia, message};
use crate::support::{Message, Platform};

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
