//! `worker quarantine`: what operators see, and what they may do without the broker.

use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::support::program::{Finished, finish, program};
use crate::support::school::{DOMAIN, alumno, alumno_body, message};
use crate::support::{Message, Platform};

/// Runs `worker quarantine` with the worker's own rights.
pub async fn quarantine(platform: &Platform, arguments: &[&str]) -> Finished {
    let mut command = program(&["quarantine"]);
    command
        .args(arguments)
        .env("OPERATOR_DATABASE_URL", &platform.database.operator)
        .env("AMQP_URL", &platform.broker.url);
    finish(command).await
}

/// What a command says in JSON, after asserting its exit code.
pub async fn told(platform: &Platform, arguments: &[&str], code: i32) -> Value {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
    let done = quarantine(platform, &arguments).await;
    assert_eq!(done.status.code(), Some(code), "{arguments:?}: {done:?}");
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// A student that no contract lets pass.
pub fn too_young(id: i32) -> Message {
    let mut body = alumno_body(id);
    body["edad"] = (-1).into();
    message("alumno", &body)
}

/// Puts messages in quarantine with a worker that is gone afterwards.
async fn fill(platform: &Platform, messages: &[Message]) {
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform.publish_all(messages).await;
    platform
        .settled(i64::try_from(messages.len()).unwrap())
        .await;
    worker.stop().await;
}

/// The numbers of the rows that a filter finds, as positions from 1 on, after asserting that the newest comes first.
async fn found(platform: &Platform, filters: &[&str]) -> Vec<i64> {
    let arguments: Vec<_> = ["list"].iter().chain(filters).copied().collect();
    let empty = [0, 1];
    let arguments: Vec<_> = arguments.into_iter().chain(["--json"]).collect();
    let done = quarantine(platform, &arguments).await;
    let code = done.status.code().unwrap();
    assert!(empty.contains(&code), "{filters:?}: {done:?}");
    let rows: Value = serde_json::from_str(&done.stdout).unwrap();
    let mut ids: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["quarantine_id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.is_empty(), code == 1, "{filters:?}: {done:?}");
    let first = platform
        .number("select min(quarantine_id) from raw.quarantine")
        .await;
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
    ids.reverse();
    ids.into_iter().map(|id| id - first + 1).collect()
}

/// Everything that a command could change.
async fn state(platform: &Platform) -> Vec<String> {
    platform
        .texts(
            "select to_jsonb(q)::text from raw.quarantine q union all select to_jsonb(v)::text from raw.quarantine_versions v
             union all select to_jsonb(l)::text from core.audit_log l order by 1",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_its_rows() {
    let platform = Platform::new().await;
    platform.declare().await;
    let unnamed = Message {
        properties: BasicProperties::default().with_message_id("order 17".into()),
        routing_key: format!("{DOMAIN}.nobody"),
        ..alumno(1)
    };
    let by_registrar = Message {
        properties: too_young(1).properties.with_app_id("registrar".into()),
        ..too_young(1)
    };
    let messages = [
        by_registrar,                                // 1
        message("alumno", &json!({})),               // 2: missing_field
        message("materia", &json!({"creditos": 1})), // 3: missing_field
        unnamed,                                     // 4: unknown_entity
        Message::new(DOMAIN, "alumno", "{"),         // 5: invalid_json
        too_young(6),                                // 6
    ];
    for message in &messages {
        platform.publish_all([message]).await; // in this order
    }
    let worker = platform.worker(&["--batch-max", "1"]);
    platform.settled(6).await;
    worker.stop().await;
    // Row 1 is from the day before yesterday, row 6 is dealt with.
    platform
        .execute("update raw.quarantine set received_at = received_at - interval '2 days' where quarantine_id = (select min(quarantine_id) from raw.quarantine);
                  update raw.quarantine set status = 'discarded' where quarantine_id = (select max(quarantine_id) from raw.quarantine)")
        .await;

    let fingerprint = platform
        .texts("select fingerprint from raw.quarantine order by quarantine_id limit 1")
        .await
        .remove(0);
    let number = platform
        .number("select max(quarantine_id) from raw.quarantine")
        .await
        .to_string();
    let instant = platform
        .texts("select to_char((now() - interval '1 day') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
        .await
        .remove(0);
    let cases: [(&[&str], &[i64]); 26] = [
        (&[], &[1, 2, 3, 4, 5]),
        (&["--domain", DOMAIN], &[1, 2, 3, 4, 5]),
        (&["--domain", "nowhere"], &[]),
        (&["--entity", "alumno"], &[1, 2, 5]),
        (&["--entity", "alumno,materia"], &[1, 2, 3, 5]),
        (&["--entity", "(unknown)"], &[4]),
        (&["--stage", "decode"], &[4, 5]),
        (
            &["--stage", "decode", "--stage", "contract"],
            &[1, 2, 3, 4, 5],
        ),
        (&["--code", "missing_field"], &[2, 3]),
        (&["--code", "missing_field", "--entity", "alumno"], &[2]),
        (&["--field", "edad"], &[1, 2]),
        (&["--since", "1d"], &[2, 3, 4, 5]),
        (&["--until", "1d"], &[1]),
        (&["--since", &instant], &[2, 3, 4, 5]),
        (&["--until", &instant], &[1]),
        (&["--since", "3d", "--until", "1d"], &[1]),
        (&["--fingerprint", &fingerprint], &[1]),
        (
            &["--fingerprint", &fingerprint, "--status", "open,discarded"],
            &[1, 6],
        ),
        (&["--id", messages[1].id(), "--id", "order 17"], &[2, 4]),
        (&["--id", &number], &[]),
        (&["--id", &number, "--status", "discarded"], &[6]),
        (&["--status", "replayed"], &[]),
        (&["--app-id", "registrar"], &[1]),
        (&["--app-id", "nobody"], &[]),
        (&["--limit", "2"], &[4, 5]),
        (&["--code", "'; drop table raw.quarantine; --"], &[]),
    ];
    for (filters, expected) in cases {
        assert_eq!(found(&platform, filters).await, expected, "{filters:?}");
    }
    // The same filters choose the rows: counted first, then changed.
    for command in ["replay", "discard"] {
        let before = state(&platform).await;
        let arguments = [command, "--dry-run", "--code", "missing_field"];
        let report = told(&platform, &arguments, 0).await;
        assert_eq!(report["rows"], 2, "{report}");
        let by = |entity: &str| json!({"domain": DOMAIN, "entity": entity, "code": "missing_field", "rows": 1});
        assert_eq!(report["by"], json!([by("alumno"), by("materia")]));
        let arguments = [command, "--dry-run", "--all", "--limit", "3"];
        assert_eq!(told(&platform, &arguments, 0).await["rows"], 3);
        told(&platform, &[command, "--dry-run", "--code", "orphan"], 1).await;
        assert_eq!(state(&platform).await, before);
    }
    platform.nothing_is_left_in_the_queues().await;
    let stats = told(&platform, &["stats", "--code", "missing_field"], 0).await;
    assert_eq!(stats.as_array().unwrap().len(), 2, "{stats}");
    let shown = told(&platform, &["show", "--stage", "decode"], 0).await;
    assert_eq!(shown.as_array().unwrap().len(), 2, "{shown}");
    let shown = told(&platform, &["show", "--status", "discarded"], 0).await;
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    // A list that is cut says so.
    for command in ["list", "show", "stats"] {
        for (limit, cut) in [("1", true), ("3", false)] {
            let done = quarantine(
                &platform,
                &[command, "--code", "missing_field", "--limit", limit],
            )
            .await;
            assert_eq!(done.stderr.contains("--limit"), cut, "{command}: {done:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_told_and_changes_nothing() {
    let platform = Platform::new().await;
    platform.declare().await;
    fill(&platform, &[too_young(1), too_young(2)]).await;
    let before = state(&platform).await;
    let cases: [(&[&str], &str); 10] = [
        (&["replay"], "--all"),
        (&["discard"], "--all"),
        (&["discard", "--status", "open"], "--all"),
        (&["list", "--since", "yesterday"], "time span"),
        (&["list", "--stage", "nowhere"], "decode"),
        (&["list", "--status", "done"], "discarded"),
        (&["replay", "--all", "--rate", "0"], "--rate"),
        (
            &["replay", "--all", "--edit", "/nowhere/body.json"],
            "/nowhere/body.json",
        ),
        // Two rows match: whose body would it be?
        (&["replay", "--all", "--edit", "/dev/null"], "--id"),
        (
            &["replay", "--all", "--limit", "1", "--edit", "/dev/null"],
            "--id",
        ),
    ];
    for (arguments, hint) in cases {
        let done = quarantine(&platform, arguments).await;
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(hint), "{arguments:?}: {done:?}");
    }
    // Without servers: exit 2 and a hint at which of them it is.
    for (variable, url) in [
        (
            "OPERATOR_DATABASE_URL",
            "postgres://nobody@127.0.0.1:1/none",
        ),
        ("AMQP_URL", "amqp://nobody@127.0.0.1:1/%2f"),
    ] {
        let mut command = program(&["quarantine", "replay", "--all"]);
        command
            .env("OPERATOR_DATABASE_URL", &platform.database.operator)
            .env("AMQP_URL", &platform.broker.url)
            .env(variable, url);
        let done = finish(command).await;
        assert_eq!(done.status.code(), Some(2), "{done:?}");
        let server = if variable == "AMQP_URL" {
            "broker"
        } else {
            "database"
        };
        assert!(done.stderr.contains(server), "{done:?}");
    }
    for command in ["list", "show", "replay", "discard", "stats"] {
        let arguments: &[&str] = &[command, "--id", "999999"];
        let done = quarantine(&platform, arguments).await;
        assert_eq!(done.status.code(), Some(1), "{command}: {done:?}");
    }
    assert_eq!(state(&platform).await, before);
    platform.nothing_is_left_in_the_queues().await;
}

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

/// Only a replay opens a row again, and a discarded one not even that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_stays_discarded() {
    let platform = Platform::new().await;
    platform.declare().await;
    let message = too_young(1);
    let worker = platform.worker(&[]);
    platform.publish_all([&message]).await;
    platform.settled(1).await;
    told(&platform, &["discard", "--all"], 0).await;
    platform.publish_all([&message]).await;
    platform.settled(2).await;
    // As a replay that was still on its way when its row was discarded.
    let mut headers = lapin::types::FieldTable::default();
    headers.insert(
        "x-acequia-replay".into(),
        lapin::types::AMQPValue::LongInt(1),
    );
    let late = Message {
        properties: message.properties.clone().with_headers(headers),
        ..message.clone()
    };
    platform.publish_all([&late]).await;
    platform.settled(3).await;
    let row = platform.quarantined(&message).await;
    assert_eq!((row.status.as_str(), row.occurrences), ("discarded", 3));
    let total = platform.total().await;
    assert_eq!(
        (total.quarantined, total.duplicates, total.unaccounted),
        (1, 2, 0)
    );
    // Discarding it again finds nothing.
    let done = quarantine(&platform, &["discard", "--all"]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    worker.stop().await;
}

/// Refused messages of two entities under one id.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_under_two_entities_is_two_messages() {
    let platform = Platform::new().await;
    platform.declare().await;
    let message = too_young(1);
    let other = Message::new(DOMAIN, "materia", "{}").with_id(message.id());
    platform
        .publish_all([&message, &other, &other, &message])
        .await;
    // All four in one batch.
    let worker = platform.worker(&[]);
    platform.settled(4).await;
    let total = platform.total().await;
    assert_eq!(
        (total.quarantined, total.duplicates, total.unaccounted),
        (2, 2, 0)
    );
    assert_eq!(platform.quarantined(&message).await.occurrences, 2);
    assert_eq!(platform.ledger_entry(DOMAIN, "materia").await.duplicates, 1);
    worker.ready().await;
    worker.stop().await;
    let rows = told(&platform, &["list", "--id", message.id()], 0).await;
    assert_eq!(rows.as_array().unwrap().len(), 2);
    for row in rows.as_array().unwrap() {
        assert_eq!(row["occurrences"], 2);
    }
}

/// `worker quarantine list | head`: whoever reads has seen enough, and that is no defect.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_defect() {
    let platform = Platform::new().await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(&["quarantine", "stats", "--json"]);
    command
        .env("OPERATOR_DATABASE_URL", &platform.database.operator)
        .stdout(writer);
    let done = command.spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(141), "{done:?}");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
}
