//! Messages that come by HTTP.

use acequia_api::auth::Role;
use lapin::options::{BasicGetOptions, QueueDeleteOptions};
use serde_json::{Value, json};

use crate::support::Platform;

const ALUMNO: &str = "/v1/messages/academico/alumno";

fn cliente(id: i32) -> Value {
    json!({"propietario_id": format!("CLI_{id:05}"), "nombre": format!("Cliente {id}")})
}

fn alumno(id: i32) -> Value {
    json!({"id_alumno": id, "nombre": format!("Alumno {id}"), "edad": 20, "genero": "F"})
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_answered_one_by_one_and_the_good_ones_arrive() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Publisher, Some(&["academico"])).await;
    let mut lines: Vec<String> = (1..=500).map(|id| alumno(id).to_string()).collect();
    lines[9] = r#"{"id_alumno": 10, "nombre": "", "edad": 0, "genero": "F"}"#.to_owned();
    lines[19] = "no json".to_owned();
    let body = lines.join("\n") + "\n\n";
    let answer = platform
        .post_lines(&token, &format!("{ALUMNO}?dry_run=true"), &body)
        .await
        .is(200);
    assert_eq!(
        (&answer["valid"], &answer["sent"], &answer["refused"]),
        (&json!(498), &json!(0), &json!(2))
    );
    let answer = platform.post_lines(&token, ALUMNO, &body).await.is(200);
    assert_eq!(
        (&answer["sent"], &answer["refused"]),
        (&json!(498), &json!(2))
    );
    let line = |number: usize| answer["lines"][number - 1].clone();
    assert_eq!(line(10)["line"], 10);
    let fields: Vec<_> = line(10)["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].clone())
        .collect();
    assert_eq!(fields, ["edad", "nombre"]);
    assert_eq!(line(20)["errors"][0]["code"], "invalid_json");
    acequia_testkit::wait_for("merged rows", async || {
        Ok(platform
            .number("select count(*) from academico.alumnos")
            .await
            == 498)
    })
    .await
    .unwrap();
    platform
        .post_lines(&token, ALUMNO, "")
        .await
        .is_problem(400, "invalid_body");
    platform
        .post(&token, "/v1/messages/consumo/cliente", &json!({}))
        .await
        .is_problem(403, "foreign_domain");
    platform
        .post(&token, "/v1/messages/academico/nobody", &json!({}))
        .await
        .is_problem(404, "not_found");
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_tells_the_outcome_or_that_nothing_is_known_yet() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Publisher, None).await;
    let answer = platform
        .post(&token, &format!("{ALUMNO}?wait=20s"), &alumno(1))
        .await
        .is(200);
    assert_eq!(answer["outcome"], "current");
    assert!(
        answer["row"].is_null(),
        "a publisher sees no rows: {answer}"
    );
    let waits = platform
        .post(
            &token,
            "/v1/messages/academico/inscripcion?wait=20s",
            &json!({"id_alumno": 1, "id_grupo": 99}),
        )
        .await
        .is(200);
    assert_eq!(waits["outcome"], "pending");
    worker.stop().await;
    let answer = platform
        .post(&token, &format!("{ALUMNO}?wait=300ms"), &alumno(2))
        .await;
    assert!(answer.is(202)["outcome"].is_null());
    let problem = platform
        .post(&token, &format!("{ALUMNO}?wait=1h"), &alumno(2))
        .await
        .is_problem(400, "invalid_parameter");
    assert_eq!(problem["errors"][0]["field"], "wait");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_with_the_same_key_has_one_effect_and_one_answer() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Publisher, None).await;
    let bearer = format!("Bearer {token}");
    let call = async |key: &str, body: &Value| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        platform
            .call("POST", ALUMNO, &headers, &body.to_string())
            .await
    };
    let first = call("k1", &alumno(1)).await;
    let again = call("k1", &alumno(1)).await;
    assert_eq!(
        (first.is(202), again.header("idempotency-replayed")),
        (again.is(202), "true")
    );
    call("k1", &alumno(2))
        .await
        .is_problem(422, "idempotency_mismatch");
    assert_ne!(
        call("k2", &alumno(1)).await.is(202)["message_id"],
        first.json()["message_id"]
    );
    // A refusal is not kept: the message is corrected and sent under the same key.
    call("k3", &json!({"id_alumno": 3}))
        .await
        .is_problem(422, "invalid_message");
    call("k3", &alumno(3)).await.is(202);
    platform
        .execute("update core.api_idempotency set status = null, body = null, content_type = null")
        .await;
    call("k1", &alumno(1))
        .await
        .is_problem(409, "idempotency_in_flight");
    // A process that died in the middle leaves the key behind: a minute later the call is taken up.
    platform
        .execute("update core.api_idempotency set created_at = now() - interval '2 minutes'")
        .await;
    assert_eq!(
        call("k1", &alumno(1)).await.is(202)["message_id"],
        first.json()["message_id"]
    );
    acequia_testkit::wait_for("three messages and a copy", async || {
        let unique = platform
            .number("select coalesce(sum(received - duplicates), 0)::bigint from core.conservation")
            .await;
        let all = platform
            .number("select coalesce(sum(received), 0)::bigint from core.conservation")
            .await;
        Ok((unique, all) == (3, 4))
    })
    .await
    .unwrap();
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_queue_or_a_broker_nothing_is_accepted() {
    let (platform, api) = Platform::new().await;
    let token = platform.token(Role::Publisher, None).await;
    // No worker has declared the exchange: the broker closes the channel.
    platform
        .post(&token, ALUMNO, &alumno(1))
        .await
        .is_problem(503, "broker_unavailable");
    let bearer = format!("Bearer {token}");
    let text = [
        ("authorization", bearer.as_str()),
        ("content-type", "text/plain"),
    ];
    platform
        .call("POST", ALUMNO, &text, "x")
        .await
        .is_problem(415, "unsupported_media_type");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_side_by_side_are_answered_each_for_its_own_message() {
    let (platform, api) = Platform::new().await;
    // Queues of both domains; then one is away.
    platform.worker().await.stop().await;
    let queue = platform.broker_connection().await;
    let channel = queue.create_channel().await.unwrap();
    channel
        .queue_delete("acequia.consumo".into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    let token = platform.token(Role::Publisher, None).await;
    let calls = (1..=60).map(|id| {
        let (platform, token) = (&platform, &token);
        async move {
            let (path, body) = if id % 2 == 0 {
                (ALUMNO, alumno(id))
            } else {
                ("/v1/messages/consumo/cliente", cliente(id))
            };
            (id, platform.post(token, path, &body).await)
        }
    });
    for (id, answer) in futures_util::future::join_all(calls).await {
        if id % 2 == 0 {
            answer.is(202);
        } else {
            let problem = answer.is_problem(503, "broker_unavailable");
            let detail = problem["detail"].as_str().unwrap();
            assert!(
                detail.contains("no queue takes consumo.cliente"),
                "{detail}"
            );
        }
    }
    let name = platform.text("select name from core.api_tokens").await;
    for _ in 0..30 {
        let options = BasicGetOptions { no_ack: true };
        let got = channel
            .basic_get("acequia.academico".into(), options)
            .await
            .unwrap()
            .expect("a message of a call that was answered with 202");
        // The sender's name stays with a message that is refused later.
        assert_eq!(got.properties.app_id().as_ref().unwrap().as_str(), name);
    }
    acequia_net::topology::close(&queue).await;
    api.stop().await;
}
