//! Streams that people pause and resume.

use acequia_api::auth::Role;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::Platform;

const PAUSE: &str = "/v1/streams/academico/pause";
const RESUME: &str = "/v1/streams/academico/resume";

fn of<'a>(streams: &'a Value, domain: &str) -> &'a Value {
    let items = streams["items"].as_array().unwrap();
    items.iter().find(|item| item["domain"] == domain).unwrap()
}

/// A time; none where there is none.
fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_pauses_and_resumes_a_stream() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Operator, Some(&["academico"])).await;
    let viewer = platform.token(Role::Viewer, None).await;
    let why = json!({"reason": "new publishers"});
    let paused = platform.post(&token, PAUSE, &why).await.is(200);
    assert_eq!(
        (&paused["paused"], &paused["changed"]),
        (&json!(true), &json!(true))
    );
    let again = platform
        .post(&token, PAUSE, &json!({"reason": "once more"}))
        .await
        .is(200);
    assert_eq!(
        (&again["changed"], &again["since"], &again["reason"]),
        (&json!(false), &paused["since"], &json!("new publishers"))
    );
    let streams = platform.get(&viewer, "/v1/streams").await.is(200);
    let stream = of(&streams, "academico");
    assert_eq!(
        (&stream["paused_at"], &stream["pause_reason"]),
        (&paused["since"], &json!("new publishers"))
    );
    assert!(
        stream["paused_by"].as_str().unwrap().starts_with("token:"),
        "{stream}"
    );
    assert_eq!(of(&streams, "consumo")["paused_at"], Value::Null);

    // A message is sent and waits.
    let alumno = json!({"id_alumno": 1, "nombre": "Ana", "edad": 20, "genero": "F"});
    let admin = platform.token(Role::Admin, None).await;
    // Nobody has looked at a queue at the start: that is no consumer, too.
    let since = time(&paused["since"]);
    acequia_testkit::wait_for("queues without consumers", async || {
        let streams = platform.get(&viewer, "/v1/streams").await.is(200);
        let stream = of(&streams, "academico");
        let queues = stream["queues"].as_array().unwrap();
        let looked = queues.iter().all(|queue| time(&queue["looked_at"]) > since);
        Ok(!queues.is_empty() && looked && stream["consumers"] == 0)
    })
    .await
    .unwrap();
    platform
        .post(&admin, "/v1/messages/academico/alumno?wait=1s", &alumno)
        .await
        .is(202);
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos")
            .await,
        0
    );
    let resumed = platform
        .post(&token, RESUME, &json!({"reason": "done"}))
        .await
        .is(200);
    assert_eq!(
        (&resumed["paused"], &resumed["changed"]),
        (&json!(false), &json!(true))
    );
    acequia_testkit::wait_for("the message", async || {
        Ok(platform
            .number("select count(*) from academico.alumnos")
            .await
            == 1)
    })
    .await
    .unwrap();
    let again = platform.post(&token, RESUME, &why).await.is(200);
    assert_eq!(
        (&again["changed"], &again["since"]),
        (&json!(false), &Value::Null)
    );
    acequia_testkit::wait_for("both calls in the record", async || {
        let path = "/v1/audit/calls?domain=academico";
        let calls = platform.get(&admin, path).await.is(200);
        let reasons = calls["items"].as_array().unwrap().iter();
        let reasons: Vec<_> = reasons.map(|call| call["reason"].clone()).collect();
        Ok(reasons.contains(&json!("done")) && reasons.contains(&json!("once more")))
    })
    .await
    .unwrap();
    let decisions = platform
        .get(&admin, "/v1/audit?action=pause_stream")
        .await
        .is(200);
    assert_eq!(
        decisions["items"].as_array().unwrap().len(),
        1,
        "{decisions}"
    );
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_needs_a_reason_a_domain_and_the_right() {
    let (platform, api) = Platform::new().await;
    let token = platform.token(Role::Operator, None).await;
    let why = json!({"reason": "test"});
    let problem = platform
        .post(&token, PAUSE, &json!({"reason": "  "}))
        .await
        .is_problem(400, "invalid_parameter");
    assert_eq!(problem["errors"][0]["field"], "reason");
    platform
        .post(&token, PAUSE, &json!({}))
        .await
        .is_problem(400, "invalid_body");
    platform
        .post(&token, "/v1/streams/nobody/pause", &why)
        .await
        .is_problem(404, "not_found");
    let foreign = platform.token(Role::Operator, Some(&["consumo"])).await;
    platform
        .post(&foreign, PAUSE, &why)
        .await
        .is_problem(403, "foreign_domain");
    let publisher = platform.token(Role::Publisher, None).await;
    platform
        .post(&publisher, RESUME, &why)
        .await
        .is_problem(403, "role_insufficient");
    assert_eq!(
        platform
            .number("select count(*) from core.stream_pauses")
            .await,
        0
    );
    api.stop().await;
}
