//! The log: who reads it learns what happened, and nothing of what the messages say.

use std::collections::{BTreeMap, BTreeSet};

use acequia_testkit::wait_for;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::support::school::{alumno, alumno_body, alumnos, break_merge, message};
use crate::support::{Message, Platform, ready, text};

/// In every text that comes from outside.
const PLANTED: &str = "PLANTED";

/// Messages that are wrong in many ways, each with a text that must not be logged.
fn hostile() -> Vec<Message> {
    let with = |field: &str, value: Value| {
        let mut body = alumno_body(7);
        body[field] = value;
        message("alumno", &body)
    };
    let mut named = alumno(8);
    let mut headers = FieldTable::default();
    headers.insert("PLANTED-HEADER".into(), text("PLANTED-VALUE"));
    headers.insert("traceparent".into(), text("PLANTED-TRACE"));
    named.properties = named
        .properties
        .with_message_id("PLANTED-ID".into())
        .with_correlation_id("PLANTED-CORRELATION".into())
        .with_app_id("PLANTED-APP".into())
        .with_headers(headers);
    let mut typed = alumno(9);
    typed.properties = typed.properties.with_type("academico.PLANTED-TYPE".into());
    typed.routing_key = "academico.PLANTED-KEY".to_owned();
    let mut refused = alumno_body(10);
    refused["nombre"] = json!("PLANTED-REFUSED");
    vec![
        with("edad", json!("PLANTED-AGE")),
        with("genero", json!("PLANTED-SEX")),
        with("nombre", json!({"PLANTED-KEY": "PLANTED-VALUE"})),
        with("PLANTED-FIELD", json!("19.4326077,-99.1332080")),
        with("id_alumno", json!("PLANTED-DOCUMENT")),
        Message::new("academico", "alumno", r#"{"nombre": "PLANTED-BROKEN"#),
        Message::new("academico", "alumno", b"PLANTED \xff\xfe".to_vec()),
        Message::new("academico", "alumno", "PLANTED".repeat(200_000)),
        message("alumno", &refused),
        named,
        typed,
    ]
}

/// Lets a worker meet hostile messages at the most detailed level, a merge that fails on a value
/// among them; returns its log and how many batches it staged.
async fn log_of(format: &str) -> (String, i64) {
    let platform = Platform::new().await;
    platform
        .execute("alter table stg.alumnos_upsert add check (nombre <> 'PLANTED-REFUSED')")
        .await;
    let variables = [("LOG_FORMAT", format), ("ACEQUIA_LOG", "debug")];
    let worker = platform.program_with(&["--check-every", "200ms"], &variables);
    ready(&worker.http).await;
    let hostile = hostile();
    platform.publish_all(&hostile).await;
    platform.publish_all(&alumnos(100..600)).await;
    platform
        .settled(i64::try_from(hostile.len()).unwrap() + 500)
        .await;

    platform
        .execute(
            "create or replace function academico.merge_alumnos(p_batches bigint[]) returns setof core.merge_outcome
             language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
             begin perform max(s.nombre::int) from stg.alumnos_upsert s where s.batch_id = any (p_batches); end $$",
        )
        .await;
    let mut last = alumno_body(11);
    last["nombre"] = json!("PLANTED-CAST");
    platform.publish_all([&message("alumno", &last)]).await;
    wait_for("a row that the merge refuses", async || {
        let refused = "select count(*) from raw.quarantine where code = 'merge_refused'";
        Ok(platform.number(refused).await == 1)
    })
    .await
    .unwrap();
    break_merge(&platform).await;
    platform.publish_all(&alumnos(12..13)).await;
    wait_for("a failed promotion", async || {
        let (_, page) = crate::support::get(&worker.http, "/metrics").await;
        let series = r#"acequia_loop_failures_total{failure="broken",loop="promote"} "#;
        let mut values = page.lines().filter_map(|line| line.strip_prefix(series));
        Ok(values.any(|value| value != "0"))
    })
    .await
    .unwrap();
    let (_, readiness) = crate::support::get(&worker.http, "/readyz").await;
    assert!(!readiness.contains(PLANTED), "{readiness}");
    let batches = platform.number("select count(*) from core.batches").await;
    let log = worker.terminate().await.stderr;
    let password = |url: &str| {
        let url: url::Url = url.parse().unwrap();
        format!(":{}@", url.password().unwrap())
    };
    for secret in [
        PLANTED.to_owned(),
        "19.4326077".to_owned(),
        password(&platform.database.worker),
        password(&platform.broker.url),
    ] {
        let line = log.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret}");
    }
    (log, batches)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_happened_and_nothing_of_the_messages() {
    let (log, batches) = log_of("json").await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let mut events = BTreeMap::<&str, Vec<&Value>>::new();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field} of {line}");
        }
        if line["target"].as_str().unwrap().starts_with("acequia") && line["level"] != "DEBUG" {
            let event = line["event"].as_str();
            events
                .entry(event.unwrap_or_else(|| panic!("no event: {line}")))
                .or_default()
                .push(line);
        }
    }
    // One line for each batch, and none for a message.
    let staged = &events["batch.staged"];
    assert_eq!(i64::try_from(staged.len()).unwrap(), batches);
    let told: i64 = staged
        .iter()
        .map(|line| line["messages"].as_i64().unwrap())
        .sum();
    assert_eq!(told, 513);
    // Each run of the rules has lines, too: how many depends on how long the test takes.
    let others = events.iter().filter(|(event, _)| !event.starts_with("dq."));
    let ours: usize = others.map(|(_, lines)| lines.len()).sum();
    assert!(ours < 200, "{ours} lines for {told} messages: {events:?}");
    // Every reason is in the log.
    let codes: BTreeSet<_> = events["messages.quarantined"]
        .iter()
        .map(|line| line["code"].as_str().unwrap())
        .collect();
    for code in ["invalid_type", "invalid_json", "not_utf8", "unknown_entity"] {
        assert!(codes.contains(code), "{code}: {codes:?}");
    }
    assert!(codes.contains("refused_by_database"), "{codes:?}");
    assert_eq!(events["rows.refused"].len(), 1, "{events:?}");
    let failed = &events["loop.failed"];
    let reason = "no merge today (SQLSTATE P0001)";
    assert!(
        failed.iter().any(|line| line["error"] == reason),
        "{failed:?}"
    );
    // Counts and measurements are numbers.
    for line in &lines {
        for (field, value) in line.as_object().unwrap() {
            let measures = [
                "_s",
                "_ms",
                "batch_id",
                "messages",
                "staged",
                "duplicates",
                "quarantined",
            ];
            let measures = measures.iter().any(|end| field.ends_with(end));
            assert!(!measures || value.is_number(), "{field} of {line}");
        }
    }
    // Every event and field is described.
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/observability.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (event, lines) in &events {
        assert!(page.contains(&format!("`{event}`")), "{event}");
        let fields = lines
            .iter()
            .flat_map(|line| line.as_object().unwrap().keys());
        for field in fields.collect::<BTreeSet<_>>() {
            assert!(page.contains(&format!("`{field}`")), "{field} of {event}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_text_it_says_no_more() {
    let (log, _) = log_of("text").await;
    for event in ["batch.staged", "messages.quarantined", "loop.failed"] {
        assert!(log.contains(event), "{event}: {log}");
    }
}

/// Every event of the source is in the documentation, whether a test meets it or not.
#[test]
fn every_event_is_described() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../docs/observability.md")).unwrap();
    let mut folders = vec![root.join("src"), root.join("../crates")];
    let mut events = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let named = source.split("event = \"").skip(1);
            events.extend(named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    assert!(events.len() > 20, "{events:?}");
    for event in events {
        assert!(page.contains(&format!("`{event}`")), "{event}");
    }
}

/// JSON has no number for the 128 bits of a duration's milliseconds: the log would show a text.
#[test]
fn no_field_of_the_log_is_of_128_bits() {
    for sources in ["src", "../publisher/src", "../crates"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(sources);
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let wide = text.lines().find(|line| {
                    let line = line.trim_end_matches([' ', ',']);
                    ["as_millis()", "as_micros()", "as_nanos()"]
                        .iter()
                        .any(|call| line.ends_with(call) && !line.contains("let "))
                });
                assert_eq!(wide, None, "{}", path.display());
            }
        }
    }
}
