//! Refused messages and what people do about them: bulk actions, their progress, and the events that tell of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use acequia_api::auth::Role;
use serde_json::{Value, json};

use crate::support::Platform;

pub const ROWS: i64 = 1_200;

/// Refused messages: orphans by another name, whose reason somebody can take away.
pub async fn refused(platform: &Platform) {
    many_refused(platform, ROWS).await;
}

/// The same, with the queues that a replay sends to, and nobody who takes from them.
pub async fn refused_and_queued(platform: &Platform, rows: i64) {
    platform.worker().await.stop().await;
    many_refused(platform, rows).await;
}

/// The same, in another number.
async fn many_refused(platform: &Platform, rows: i64) {
    platform
        .execute(&format!(
            "insert into core.batches (batch_id, domain, queue, worker, state) values (900000, 'academico', 'acequia.academico', 'test', 'promoted');
             insert into core.batch_entities (batch_id, domain, entity, received, quarantined) values (900000, 'academico', 'alumno', {rows}, {rows});
             insert into raw.quarantine (message_id, day, batch_id, domain, entity, queue, stage, code, field_path, message, violations, body, properties, fingerprint)
             select ('00000000-0000-8000-8000-' || lpad(i::text, 12, '0'))::uuid, '1970-01-01', 900000, 'academico', 'alumno', 'acequia.academico',
                 'contract', 'invalid_type', 'edad', 'must be a number', '[]',
                 convert_to(format('{{\"id_alumno\":%s,\"nombre\":\"Alumno %s\",\"edad\":20,\"genero\":\"F\"}}', i, i), 'UTF8'),
                 jsonb_build_object('exchange', 'acequia', 'routing_key', 'academico.alumno', 'type', 'academico.alumno'), 'f'
             from generate_series(1, {rows}) i"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_listed_grouped_and_shown_without_payload_to_viewers() {
    let (platform, api) = Platform::new().await;
    refused(&platform).await;
    let viewer = platform.token(Role::Viewer, Some(&["academico"])).await;
    let operator = platform.token(Role::Operator, None).await;
    let mut ids = Vec::new();
    let mut path = "/v1/quarantine?limit=500&status=open".to_owned();
    loop {
        let page = platform.get(&viewer, &path).await.is(200);
        ids.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["quarantine_id"].as_i64().unwrap()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/quarantine?limit=500&status=open&cursor={next}");
    }
    assert_eq!(i64::try_from(ids.len()).unwrap(), ROWS);
    assert!(ids.is_sorted_by(|one, other| one > other));
    let groups = platform
        .get(&viewer, "/v1/quarantine/groups?code=invalid_type")
        .await
        .is(200);
    assert_eq!(
        (
            &groups["items"][0]["open"],
            &groups["items"][0]["field_path"]
        ),
        (&json!(ROWS), &json!("edad"))
    );
    let row = format!("/v1/quarantine/{}", ids[0]);
    let shown = platform.get(&viewer, &row).await.is(200);
    assert!(
        shown["code"] == "invalid_type" && shown["body"].is_null() && shown["properties"].is_null(),
        "{shown}"
    );
    let shown = platform.get(&operator, &row).await.is(200);
    assert!(
        shown["body"].as_str().unwrap().contains("Alumno"),
        "{shown}"
    );
    platform
        .get(&viewer, "/v1/quarantine?contains=Alumno")
        .await
        .is_problem(403, "role_insufficient");
    let found = platform
        .get(&operator, "/v1/quarantine?contains=Alumno%20117%22")
        .await
        .is(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    platform
        .get(&operator, "/v1/quarantine?stage=never")
        .await
        .is_problem(400, "invalid_parameter");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_replay_counts_first_then_sends_every_row_and_tells_of_it() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    refused(&platform).await;
    let operator = platform.token(Role::Operator, Some(&["academico"])).await;
    let events = listen(&platform, &operator, None);
    let filter = json!({"filter": {"code": ["invalid_type"]}});
    let with = |more: Value| {
        let mut body = filter.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let replay = "/v1/quarantine/replay";
    let dry = platform
        .post(&operator, replay, &with(json!({"dry_run": true})))
        .await
        .is(200);
    assert_eq!(
        (&dry["rows"], &dry["by"][0]["code"]),
        (&json!(ROWS), &json!("invalid_type"))
    );
    platform
        .post(&operator, replay, &filter)
        .await
        .is_problem(400, "invalid_parameter");
    platform
        .post(&operator, replay, &json!({"reason": "all of it"}))
        .await
        .is_problem(400, "invalid_parameter");
    let foreign = json!({"filter": {"domain": ["consumo"]}, "reason": "x"});
    platform
        .post(&operator, replay, &foreign)
        .await
        .is_problem(403, "foreign_domain");

    let answer = platform
        .post(
            &operator,
            replay,
            &with(json!({"reason": "the rule was wrong"})),
        )
        .await;
    let asked = answer.is(202);
    assert_eq!(
        answer.header("location"),
        format!("/v1/operations/{}", asked["operation_id"])
    );
    let ended = platform.ended(&operator, &asked["operation_id"]).await;
    assert_eq!(
        (
            &ended["state"],
            &ended["done"],
            &ended["failed"],
            &ended["matched"]
        ),
        (&json!("done"), &json!(ROWS), &json!(0), &json!(ROWS)),
        "{ended}"
    );
    acequia_testkit::wait_for("merged rows", async || {
        Ok(platform
            .number("select count(*) from academico.alumnos")
            .await
            == ROWS)
    })
    .await
    .unwrap();
    // Both logs have person and reason, and the operator's login.
    let who = ended["who"].as_str().unwrap();
    let logged = format!(
        "select sum(row_count)::bigint from core.audit_log where action = 'replay' and who = '{who}' and login = 'acequia_operator' and reason = 'the rule was wrong'"
    );
    assert_eq!(platform.number(&logged).await, ROWS);
    let calls = platform.get(&operator, "/v1/audit/calls").await.is(200);
    let call = calls["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|call| call["status"] == 202)
        .unwrap();
    assert_eq!(
        (&call["domain"], &call["detail"]["matched"]),
        (&json!("academico"), &json!(ROWS))
    );

    let told =
        tokio::task::spawn_blocking(move || events(|event| event["data"]["state"] == "done"))
            .await
            .unwrap();
    let (id, event) = told.expect("an event of the end");
    assert_eq!(
        (&event["topic"], &event["data"]["done"]),
        (&json!("operations"), &json!(ROWS))
    );
    // A listener that reconnects receives the events that it missed, and none twice.
    let resumed = listen(&platform, &operator, Some(id - 1));
    let again = tokio::task::spawn_blocking(move || resumed(|_| true))
        .await
        .unwrap();
    assert_eq!(again.unwrap().0, id);
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_can_be_restored_and_what_runs_can_be_stopped() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    refused(&platform).await;
    let operator = platform.token(Role::Operator, None).await;
    let body = json!({"all": true, "reason": "test data"});
    for (action, status) in [("discard", "discarded"), ("restore", "open")] {
        let asked = platform
            .post(&operator, &format!("/v1/quarantine/{action}"), &body)
            .await
            .is(202);
        let ended = platform.ended(&operator, &asked["operation_id"]).await;
        assert_eq!(
            (&ended["state"], &ended["done"]),
            (&json!("done"), &json!(ROWS)),
            "{ended}"
        );
        let now = format!("select count(*) from raw.quarantine where status = '{status}'");
        assert_eq!(platform.number(&now).await, ROWS, "{action}");
    }
    let slow = json!({"all": true, "reason": "slowly", "rate": 100});
    let asked = platform
        .post(&operator, "/v1/quarantine/replay", &slow)
        .await
        .is(202);
    let id = asked["operation_id"].clone();
    acequia_testkit::wait_for("progress", async || {
        Ok(platform
            .get(&operator, &format!("/v1/operations/{id}"))
            .await
            .is(200)["done"]
            .as_i64()
            > Some(0))
    })
    .await
    .unwrap();
    platform
        .post(
            &operator,
            &format!("/v1/operations/{id}/cancel"),
            &Value::Null,
        )
        .await
        .is(200);
    let ended = platform.ended(&operator, &id).await;
    let done = ended["done"].as_i64().unwrap();
    assert_eq!(ended["state"], "cancelled");
    assert!(done > 0 && done < ROWS, "{ended}");
    assert_eq!(
        platform
            .number("select count(*) from raw.quarantine where replays > 0")
            .await,
        done
    );
    platform
        .post(
            &operator,
            &format!("/v1/operations/{id}/cancel"),
            &Value::Null,
        )
        .await
        .is_problem(409, "conflict");
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_process_left_behind_is_taken_up() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    refused(&platform).await;
    let operator = platform.token(Role::Operator, None).await;
    let slow = json!({"all": true, "reason": "slowly", "rate": 200});
    let asked = platform
        .post(&operator, "/v1/quarantine/replay", &slow)
        .await
        .is(202);
    let id = asked["operation_id"].clone();
    acequia_testkit::wait_for("progress", async || {
        Ok(platform
            .get(&operator, &format!("/v1/operations/{id}"))
            .await
            .is(200)["done"]
            .as_i64()
            > Some(0))
    })
    .await
    .unwrap();
    api.stop().await;
    let done = platform.number("select done from core.operations").await;
    assert!(done < ROWS);
    assert_eq!(
        platform
            .number("select count(*) from core.operations where state = 'running'")
            .await,
        1
    );
    // As if it had been silent for long; and the rest need not be slow.
    platform
        .execute("update core.operations set seen_at = now() - interval '1 hour', rate = null")
        .await;
    let api = platform.serve(&[]).await;
    let ended = platform.ended(&operator, &id).await;
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("done"), &json!(ROWS)),
        "{ended}"
    );
    assert_eq!(
        platform
            .number("select count(*) from raw.quarantine where replays > 1")
            .await,
        0
    );
    worker.stop().await;
    api.stop().await;
}

/// Condition on an event.
type Wanted = fn(&Value) -> bool;

/// Opens the event stream; the function returned reads until an event of a bulk action is as wanted.
fn listen(
    platform: &Platform,
    token: &str,
    last: Option<i64>,
) -> impl FnOnce(Wanted) -> Option<(i64, Value)> + Send + 'static {
    let mut stream = TcpStream::connect(&platform.api).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
    write!(
        stream,
        "GET /v1/events?topics=operations HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n{last}\r\n"
    )
    .unwrap();
    move |wanted| {
        let mut id = 0;
        for line in BufReader::new(stream).lines() {
            let line = line.ok()?;
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim().parse().unwrap();
            }
            if let Some(text) = line.strip_prefix("data: ") {
                let event: Value = serde_json::from_str(text).unwrap();
                // The id comes behind the data.
                if wanted(&event) {
                    return Some((event["event_id"].as_i64().unwrap_or(id), event));
                }
            }
        }
        None
    }
}
