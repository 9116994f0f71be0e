//! `worker trace`: what it says of a message is what became of it.

use std::collections::BTreeSet;

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Code, Entity, Kind, catalog};
use acequia_ops::trace::staged;
use chrono::NaiveDate;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::permutations::{Feed, Sent};
use crate::quarantine::{quarantine, too_young};
use crate::support::program::{Finished, finish, program};
use crate::support::school::{DOMAIN, alumno, alumno_body, grupo, inscripcion, materia, message};
use crate::support::{Message, Platform};

async fn trace_by(database: &str, arguments: &[&str]) -> Finished {
    let mut command = program(&["trace"]);
    command.args(arguments).env("DATABASE_URL", database);
    finish(command).await
}

/// What `worker trace` says to people; it must have found something.
async fn told(platform: &Platform, arguments: &[&str]) -> String {
    let done = trace_by(&platform.database.worker, arguments).await;
    assert_eq!(done.status.code(), Some(0), "{}", done.stderr);
    done.stdout
}

/// What `worker trace --json` says, whether it has found something or not.
async fn traced(platform: &Platform, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let done = trace_by(&platform.database.worker, &arguments).await;
    let trace: Value = serde_json::from_str(&done.stdout).expect(&done.stderr);
    let unknown = trace["outcome"] == "unknown";
    assert!(
        trace["trace"] == "key" || done.status.success() != unknown,
        "{trace:#}"
    );
    trace
}

/// What became of a message that is in staging.
async fn row_of(platform: &Platform, sent: &Sent) -> Value {
    let trace = traced(platform, &[&sent.id]).await;
    assert_eq!(trace["outcome"], trace["rows"][0]["outcome"]);
    assert_eq!(trace["rows"].as_array().unwrap().len(), 1, "{trace:#}");
    trace["rows"][0].clone()
}

fn sent(entity: &'static str, body: &Value) -> Sent {
    Sent::new(Uuid::now_v7().as_u128(), entity, body)
}

fn subject(id: i32, name: &str, ts: &str) -> Sent {
    let ts = format!("2024-01-{ts}T00:00:00Z");
    sent(
        "materia",
        &json!({"id_materia": id, "nombre": name, "creditos": 8, "ts": ts}),
    )
}

/// Whether a mart shows the core's row.
fn shows(row: &Value, mart: &str) -> bool {
    let mut marts = row["core"]["marts"].as_array().unwrap().iter();
    let found = marts.find(|found| found["mart"] == mart);
    found.unwrap_or_else(|| panic!("{mart}: {row:#}"))["shows_it"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_followed_from_staging_to_the_marts() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let first = subject(1, "Álgebra secreta", "01");
    feed.stage(&[&first, &first]).await;

    let row = row_of(&platform, &first).await;
    assert_eq!(row["outcome"], "staged");
    assert_eq!(row["entity"], "academico.materia");
    assert_eq!(row["key"], json!({"id_materia": 1}));
    assert_eq!(row["table"], "stg.materias_upsert");
    assert_eq!(row["event_at"], "2024-01-01T00:00:00Z");
    assert_eq!(row["batch"]["queue"], "acequia.academico");
    assert_eq!(row["batch"]["worker"], "test");
    assert_eq!(row["batch"]["state"], "staged");
    assert_eq!(row["core"], Value::Null);
    let lag = row["lag_s"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&lag), "{lag}");

    feed.promote_all().await;
    let row = row_of(&platform, &first).await;
    assert_eq!(row["outcome"], "current");
    assert_eq!(row["core"]["message_id"], first.id);
    assert_eq!(row["core"]["table"], "academico.materias");
    assert_eq!(row["core"]["in_core_by"], row["batch"]["promoted_at"]);
    assert!(
        !shows(&row, "marts.kpi_materia") && shows(&row, "marts.kpi_grupo"),
        "{row:#}"
    );
    feed.refresh().await;
    assert!(shows(&row_of(&platform, &first).await, "marts.kpi_materia"));

    // A copy leaves no trace of its own: the message is where it was.
    let before = traced(&platform, &[&first.id]).await["rows"][0]["batch"].clone();
    feed.stage(&[&first]).await;
    feed.promote_all().await;
    let row = row_of(&platform, &first).await;
    assert_eq!(
        (&row["outcome"], &row["batch"]),
        (&json!("current"), &before)
    );

    let (newer, older) = (subject(1, "B", "03"), subject(1, "C", "02"));
    feed.stage(&[&newer]).await;
    feed.promote_all().await;
    feed.stage(&[&older]).await;
    feed.promote_all().await;
    for (message, outcome) in [
        (&first, "superseded"),
        (&newer, "current"),
        (&older, "superseded"),
    ] {
        let row = row_of(&platform, message).await;
        assert_eq!(row["outcome"], outcome);
        assert_eq!(row["core"]["message_id"], newer.id);
        assert!(!shows(&row, "marts.kpi_materia"), "{row:#}");
    }

    let text = told(&platform, &[&first.id]).await;
    for part in [
        "published",
        "received",
        "staged",
        "promoted",
        "superseded by message",
    ] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    assert!(text.contains(&newer.id) && text.contains("marts.kpi_materia not refreshed since"));

    // Values may be personal data.
    for arguments in [
        &[first.id.as_str()][..],
        &["academico.materia", "1"],
        &[&first.id, "--json"],
    ] {
        assert!(!told(&platform, arguments).await.contains("secreta"));
        let with_values = [arguments, &["--values"]].concat();
        assert!(
            told(&platform, &with_values)
                .await
                .contains("Álgebra secreta")
        );
    }
}

/// A mart that leaves some keys out is asked whether it has this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_mart_that_leaves_a_key_out_does_not_show_it() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let student = |id: i32| {
        let body = json!({"id_alumno": id, "nombre": format!("A{id}"), "edad": 20, "genero": "F"});
        sent("alumno", &body)
    };
    let mark = |id: i32, mark: f64| {
        let body = json!({"id_alumno": id, "id_grupo": 1, "calificacion": mark});
        sent("calificacion", &body)
    };
    let group = json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1, "periodo": "2024A"});
    let (good, bad) = (student(1), student(2));
    let marks = mark(1, 9.0);
    feed.stage(&[
        &subject(1, "A", "01"),
        &sent("maestro", &json!({"id_maestro": 1, "nombre": "Ana"})),
        &sent("grupo", &group),
        &good,
        &bad,
        &marks,
        &mark(2, 4.0),
    ])
    .await;
    feed.promote_all().await;

    for (message, at_risk) in [(&good, false), (&bad, true)] {
        let row = row_of(&platform, message).await;
        assert_eq!(shows(&row, "marts.alumnos_en_riesgo"), at_risk, "{row:#}");
        assert!(shows(&row, "marts.kpi_alumno"), "{row:#}");
    }
    let text = told(&platform, &["academico.alumno", "1"]).await;
    assert!(
        text.contains("marts.alumnos_en_riesgo has no row of it")
            && text.contains("marts.kpi_alumno reads it live, shows its row"),
        "{text}"
    );
    let text = told(&platform, &["academico.alumno", "2"]).await;
    assert!(
        text.contains("marts.alumnos_en_riesgo reads it live, shows its row"),
        "{text}"
    );
    // Rows of averages are by other keys: what a mark does to them is not claimed.
    let row = row_of(&platform, &marks).await;
    let mart = row["core"]["marts"].as_array().unwrap();
    let mart = mart.iter().find(|mart| mart["mart"] == "marts.kpi_grupo");
    assert_eq!(mart.unwrap()["has_row"], Value::Null);
}

/// The batch of a row that waited is promoted long before the row is.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_waited_is_shown_by_marts_refreshed_after_it_came_in() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let group = sent(
        "grupo",
        &json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1, "periodo": "2024A"}),
    );
    feed.stage(&[&group]).await;
    feed.promote_all().await;
    let row = row_of(&platform, &group).await;
    assert_eq!(
        (&row["outcome"], &row["batch"]["state"]),
        (&json!("pending"), &json!("promoted"))
    );
    assert_eq!(row["pending"]["parent"], "academico.materia");
    assert_eq!(
        (&row["pending"]["parent_key"], &row["pending"]["ready"]),
        (&json!("1"), &json!(false))
    );
    assert!(
        told(&platform, &[&group.id])
            .await
            .contains("waits for academico.materia 1")
    );

    let parent = traced(&platform, &["academico.materia", "1"]).await;
    assert_eq!(
        (&parent["core"], &parent["versions"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(parent["waiting"][0]["message_id"], group.id);
    assert_eq!(parent["waiting"][0]["entity"], "academico.grupo");
    let text = told(&platform, &["academico.materia", "1"]).await;
    assert!(
        text.contains("has no such row") && text.contains(&group.id),
        "{text}"
    );

    feed.stage(&[&subject(1, "A", "01"), &subject(2, "B", "01")])
        .await;
    feed.promote_all().await;
    feed.refresh().await;
    let teacher = sent("maestro", &json!({"id_maestro": 1, "nombre": "Ana"}));
    feed.stage(&[&teacher]).await;
    feed.promote_all().await;
    let row = row_of(&platform, &group).await;
    assert_eq!(row["outcome"], "current");
    assert_eq!(
        row["core"]["in_core_by"],
        row_of(&platform, &teacher).await["batch"]["promoted_at"]
    );
    assert!(!shows(&row, "marts.kpi_materia"), "{row:#}");
    feed.refresh().await;
    assert!(shows(&row_of(&platform, &group).await, "marts.kpi_materia"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_tells_all_its_versions() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let enrolment = |ts: &str, day: &str| {
        sent(
            "inscripcion",
            &json!({"id_alumno": 7, "id_grupo": 1, "ts": format!("2024-01-{ts}T00:00:00Z"), "fecha_inscripcion": day}),
        )
    };
    let versions = [
        enrolment("01", "2024-01-01"),
        enrolment("02", "2024-01-02"),
        enrolment("03", "2024-01-03"),
    ];
    let mut other = enrolment("04", "2024-01-04");
    other.body = other
        .body
        .clone()
        .into_iter()
        .map(|byte| if byte == b'7' { b'8' } else { byte })
        .collect();
    let group = json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1, "periodo": "2024A"});
    let parents = [
        subject(1, "A", "01"),
        sent("maestro", &json!({"id_maestro": 1, "nombre": "Ana"})),
        sent("grupo", &group),
        sent("alumno", &alumno_body(7)),
    ];
    feed.stage(&parents.iter().collect::<Vec<_>>()).await;
    feed.stage(&[&versions[2], &versions[0], &other]).await;
    feed.promote_all().await;
    feed.stage(&[&versions[1]]).await;

    let trace = traced(&platform, &["academico.inscripcion", "7", "1"]).await;
    assert_eq!(trace["key"], json!({"id_alumno": "7", "id_grupo": "1"}));
    assert_eq!(trace["core"]["message_id"], versions[2].id);
    assert_eq!(trace["core"]["key"], json!({"id_alumno": 7, "id_grupo": 1}));
    let told_of: Vec<_> = trace["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| {
            (
                version["message_id"].as_str().unwrap(),
                version["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    let ids: Vec<_> = versions.iter().map(|version| version.id.as_str()).collect();
    assert_eq!(
        told_of,
        [
            (ids[0], "superseded"),
            (ids[1], "staged"),
            (ids[2], "current")
        ]
    );
    // In the other order it is another key, of which nothing is known.
    let arguments = ["academico.inscripcion", "1", "7"];
    let done = trace_by(&platform.database.worker, &arguments).await;
    assert_eq!(done.status.code(), Some(1));
    assert!(
        done.stderr
            .contains("nothing is known of academico.inscripcion 1 7"),
        "{}",
        done.stderr
    );
    // Another student's enrolment waits for the student.
    let waiting = traced(&platform, &["academico.alumno", "8"]).await;
    assert_eq!(waiting["waiting"][0]["message_id"], other.id);
}

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
    let page = include_str!("../../../docs/operations.md");
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
async fn what_operators_did_is_told() {
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

/// The longest look is limited, and says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_takes_too_long_is_given_up() {
    let platform = Platform::new().await;
    platform
        .execute(
            "alter table stg.materias_upsert rename to materias_kept;
        create view stg.materias_upsert as select s.* from stg.materias_kept s, pg_sleep(30);
        grant select on stg.materias_upsert to acequia_worker",
        )
        .await;
    let arguments = ["academico.materia", "1", "--timeout", "200ms"];
    let done = trace_by(&platform.database.worker, &arguments).await;
    assert_eq!(done.status.code(), Some(2));
    assert!(
        done.stderr.contains("longer than 0.2 s") && done.stderr.contains("--timeout"),
        "{}",
        done.stderr
    );
}

/// By id one partition is read, by its primary key; the days before and after are not looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_looked_up_in_one_partition() {
    let platform = Platform::new().await;
    let mut connection = platform.connect().await;
    sqlx::query("select core.ensure_partitions()")
        .execute(&mut connection)
        .await
        .unwrap();
    for entity in catalog().iter().flat_map(|domain| &domain.entities) {
        let today: NaiveDate = sqlx::query_scalar("select current_date")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let explain = format!("explain (format json) {}", staged::by_id(entity));
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain))
            .bind(staged::full_name(entity))
            .bind(Uuid::now_v7())
            .bind(today)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let table = entity.staging.trim_start_matches("stg.");
        let mut found = BTreeSet::new();
        visit(&plan, &mut |node| {
            let relation = node["Relation Name"].as_str().unwrap_or("");
            if relation.starts_with(table) {
                found.insert(relation.to_owned());
            }
            assert_ne!(node["Node Type"], "Seq Scan", "{relation}: {plan:#}");
        });
        let partition = today.format(&format!("{table}_p%Y%m%d")).to_string();
        assert_eq!(found, BTreeSet::from([partition]), "{plan:#}");
    }
}

fn visit(value: &Value, look: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            look(value);
            fields.values().for_each(|field| visit(field, look));
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        _ => {}
    }
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
