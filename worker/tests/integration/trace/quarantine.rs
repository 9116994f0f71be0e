//! Messages in quarantine, and what operators did with them.

use acequia_contracts::Code;
use acequia_contracts::envelope::Identity;
use serde_json::json;
use uuid::Uuid;

use super::{told, traced};
use crate::quarantine::{quarantine, too_young};
use crate::support::school::{DOMAIN, alumno, alumno_body, grupo, inscripcion, materia, message};
use crate::support::{Message, Platform};

/// Through a running worker: every stage of quarantine, ids of all sorts.
#[tokio::test(flavor = "multi_thread")]
async fn messages_in_quarantine_and_messages_of_a_reference_system() {
    let platform = Platform::new().await;
    platform
        .execute("alter table stg.alumnos_upsert add constraint nobody check (nombre <> 'Nobody')")
        .await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    worker.ready().await;
    let nobody = json!({"id_alumno": 1, "nombre": "Nobody", "edad": 20, "genero": "F"});
    let mut dead = alumno(2);
    dead.exchange = "";
    dead.routing_key = acequia_net::topology::DEAD_QUEUE.to_owned();
    let refused = [
        (Message::new(DOMAIN, "alumno", "{"), Code::InvalidJson),
        (
            message("alumno", &json!({"id_alumno": 0})),
            Code::MissingField,
        ),
        (message("alumno", &nobody), Code::RefusedByDatabase),
        (inscripcion(5, 5), Code::Orphan),
        (dead, Code::DeadLettered),
    ];
    let plain = alumno(3).with_id("order-17");
    let mut body = alumno_body(4);
    body["entity"] = "ALUMNO".into();
    let legacy = Message::straight("etl", body.to_string());
    body["event_id"] = "event-17".into();
    body["id_alumno"] = 6.into();
    let named = Message::straight("etl", body.to_string());
    let good = [&plain, &legacy, &named];
    platform
        .publish_all(refused.iter().map(|(message, _)| message).chain(good))
        .await;
    platform.publish_all([&refused[0].0, &refused[0].0]).await;
    acequia_testkit::wait_for("all of them", async || {
        let total = platform.total().await;
        Ok(total.received == 10 && (total.quarantined, total.inserted) == (5, 3))
    })
    .await
    .unwrap();

    for (message, code) in &refused {
        let trace = traced(&platform, &[message.id()]).await;
        assert_eq!(trace["outcome"], "quarantined", "{trace:#}");
        let row = &trace["quarantine"];
        assert_eq!(
            (&row["code"], &row["stage"]),
            (&json!(code), &json!(code.stage().as_str()))
        );
        assert_eq!(
            (&row["status"], &row["versions"], &row["history"]),
            (&json!("open"), &json!([]), &json!([]))
        );
        let text = told(&platform, &[message.id()]).await;
        assert!(
            text.contains(code.as_str()) && text.contains("in quarantine, row"),
            "{text}"
        );
        assert!(!text.contains("Nobody"), "{text}");
        let text = told(&platform, &[message.id(), "--values"]).await;
        let body = String::from_utf8_lossy(&message.body);
        assert!(*code == Code::Orphan || text.contains(&*body), "{text}");
    }
    let trace = traced(&platform, &[refused[0].0.id()]).await;
    assert_eq!(trace["quarantine"]["occurrences"], 3);
    assert!(
        told(&platform, &[refused[0].0.id()])
            .await
            .contains("3 times in all")
    );
    let trace = traced(&platform, &[refused[2].0.id()]).await;
    assert_eq!(
        (
            &trace["quarantine"]["sqlstate"],
            &trace["quarantine"]["worker"].is_string()
        ),
        (&json!("23514"), &true)
    );

    // By a text of the publisher's, and by the identity that was made of queue and bytes.
    for (asked, key) in [("order-17", 3), ("event-17", 6)] {
        let trace = traced(&platform, &[asked]).await;
        assert_eq!(
            (&trace["outcome"], &trace["rows"][0]["key"]),
            (&json!("current"), &json!({"id_alumno": key}))
        );
        assert_eq!(trace["message_id"], Identity::of_text(asked).id.to_string());
    }
    let trace = traced(&platform, &["academico.alumno", "4"]).await;
    let id = Identity::of_bytes("etl", &legacy.body).id.to_string();
    assert_eq!(
        (
            &trace["versions"][0]["message_id"],
            &trace["core"]["message_id"]
        ),
        (&json!(id), &json!(id))
    );
    assert_eq!(traced(&platform, &[&id]).await["outcome"], "current");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_of_operators_are_in_the_trace() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    worker.ready().await;
    let (edited, discarded, orphan) = (too_young(1), too_young(2), inscripcion(3, 1));
    let parents = [
        materia(1),
        message("maestro", &json!({"id_maestro": 1, "nombre": "Ana"})),
        grupo(1, 1, 1),
    ];
    platform
        .publish_all([&edited, &discarded, &orphan].into_iter().chain(&parents))
        .await;
    acequia_testkit::wait_for("quarantine", async || {
        Ok(platform.total().await.quarantined == 3)
    })
    .await
    .unwrap();
    platform.publish_all([&alumno(3)]).await;
    platform.settled(7).await;

    let file = std::env::temp_dir().join(format!("{}.json", Uuid::now_v7()));
    std::fs::write(&file, alumno_body(1).to_string()).unwrap();
    let path = file.to_str().unwrap();
    let by = ["--by", "ana", "--reason", "a test"];
    for arguments in [
        &["replay", "--id", edited.id(), "--edit", path][..],
        &["discard", "--id", discarded.id()],
        &["replay", "--id", orphan.id()],
    ] {
        let done = quarantine(&platform, &[arguments, &by].concat()).await;
        assert!(done.status.success(), "{done:?}");
    }
    std::fs::remove_file(&file).unwrap();
    platform.settled(9).await;

    for (message, outcome, status, actions) in [
        (&edited, "current", "replayed", &["edit", "replay"][..]),
        (&discarded, "discarded", "discarded", &["discard"]),
        (&orphan, "current", "replayed", &["replay"]),
    ] {
        let trace = traced(&platform, &[message.id()]).await;
        assert_eq!(trace["outcome"], outcome, "{trace:#}");
        let row = &trace["quarantine"];
        assert_eq!(
            (&row["status"], &row["note"]),
            (&json!(status), &json!("a test"))
        );
        let history = row["history"].as_array().unwrap();
        let told_of: Vec<_> = history
            .iter()
            .map(|entry| entry["action"].as_str().unwrap())
            .collect();
        assert_eq!(told_of, actions);
        assert!(
            history
                .iter()
                .all(|entry| entry["who"] == "ana" && entry["reason"] == "a test")
        );
        let edits = actions.iter().filter(|action| **action == "edit").count();
        assert_eq!(row["versions"].as_array().unwrap().len(), edits);
        let text = told(&platform, &[message.id()]).await;
        for action in actions {
            let word = match *action {
                "edit" => "edited",
                "replay" => "replayed",
                _ => "discarded",
            };
            assert!(
                text.lines()
                    .any(|line| line.contains(word) && line.contains("ana: a test")),
                "{text}"
            );
        }
    }
    worker.stop().await;
}

/// The same id for messages of several entities: each has its own row.
#[tokio::test(flavor = "multi_thread")]
async fn ids_used_twice_are_told_twice() {
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let id = Uuid::now_v7().to_string();
    let messages = [
        materia(1).with_id(&id),
        alumno(1).with_id(&id),
        grupo(1, 1, 1).with_id(&id),
    ];
    platform.publish_all(&messages).await;
    platform.settled(3).await;
    let trace = traced(&platform, &[&id]).await;
    let rows: Vec<_> = trace["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["entity"].as_str().unwrap(),
                row["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("academico.materia", "current"),
            ("academico.grupo", "pending"),
            ("academico.alumno", "current")
        ]
    );
    worker.stop().await;
}
