//! Which rows a command picks.

use lapin::BasicProperties;
use serde_json::{Value, json};

use super::{quarantine, state, told, too_young};
use crate::support::school::alumno;
use crate::support::school::{DOMAIN, message};
use crate::support::{Message, Platform};

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
