//! Calls that are generated from the OpenAPI document, with what callers get wrong and worse. No answer is a fault of the
//! platform, and each is as the document says: status, media type, schema.
//!
//! `GENERATED_CALLS` is the number of calls for each route and role (12), `GENERATED_SEED` where they begin (1).

mod answers;
mod bodies;
mod schema;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use acequia_api::auth::Role;
use acequia_api::routes;
use futures_util::StreamExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use self::answers::{Answered, Document, send};
use crate::quarantine::refused;
use crate::support::Platform;

/// Calls under way at the same time.
const AT_ONCE: usize = 8;
/// Routes whose success needs a session, a login that was made, a person whom no call has removed yet, or work that is under way;
/// other tests have these.
const SELDOM: [&str; 6] = [
    "POST /v1/session",
    "DELETE /v1/session",
    "POST /v1/session/password",
    "POST /v1/operations/{id}/cancel",
    "POST /v1/operations/{id}/undo",
    "GET /v1/people/{name}",
];

/// A call that is to be made.
#[derive(Clone)]
pub struct Call {
    /// Method and path of the document.
    pub route: String,
    pub method: String,
    /// Path and query, as they are sent.
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Role of the token; none without one.
    pub role: Option<Role>,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            method,
            target,
            role,
            ..
        } = self;
        write!(f, "{method} {target} as {role:?}")?;
        for (name, value) in &self.headers {
            if name != "authorization" {
                write!(f, ", {name}: {}", value.escape_ascii())?;
            }
        }
        let body = self.body[..self.body.len().min(500)].escape_ascii();
        write!(f, "\n  {body}")
    }
}

/// A number of the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_whatever_call_is_as_documented() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    refused(&platform).await;
    platform
        .execute(
            "insert into core.api_people (name, password_hash, role, created_by) values ('somebody', '', 'viewer', 'test'), ('else', '', 'viewer', 'test');
             insert into core.operations (kind, state, who, filters, matched, through_id, finished_at) values ('discard', 'done', 'test', '{}', 0, 0, now())",
        )
        .await;
    // Numbers of tokens that a generated call may revoke.
    for _ in 0..20 {
        platform.token(Role::Viewer, None).await;
    }
    let mut tokens = vec![(None, None)];
    for role in Role::ALL {
        tokens.push((Some(role), Some(platform.token(role, None).await)));
    }
    let admin = tokens[Role::ALL.len()].1.as_ref().unwrap();
    let path = "/v1/messages/academico/alumno?wait=20s";
    let alumno = bodies::example("/v1/messages/{domain}/{entity}");
    assert_eq!(
        platform.post(admin, path, &alumno).await.is(200)["outcome"],
        "current"
    );
    let path = "/v1/messages/consumo/cliente?wait=20s";
    let cliente = json!({"propietario_id": "CLI_00001", "nombre": "Ana"});
    assert_eq!(
        platform.post(admin, path, &cliente).await.is(200)["outcome"],
        "current"
    );
    let hour = chrono::Utc::now().format("%Y-%m-%dT%H:00:00Z").to_string();
    let path = "/v1/messages/consumo/lectura?wait=20s";
    let lectura =
        json!({"propietario_id": "CLI_00001", "timestamp": hour, "hora": 1, "consumo_kwh": 0.5});
    assert_eq!(
        platform.post(admin, path, &lectura).await.is(200)["outcome"],
        "current"
    );
    let row = platform
        .number("select max(quarantine_id) from raw.quarantine")
        .await;
    let message = platform
        .text("select max(message_id::text) from raw.quarantine")
        .await;
    let document = Document::new(serde_json::to_value(routes::document()).unwrap());
    let known = values::Known { row, message };
    let mut rng = StdRng::seed_from_u64(setting("GENERATED_SEED", 1));
    let mut calls = Vec::new();
    for operation in document.operations() {
        for (role, token) in &tokens {
            let times = setting("GENERATED_CALLS", 12);
            // A hash of a password takes its time on purpose.
            let times = if operation.hashes() { times / 4 } else { times };
            for number in 0..times.max(1) {
                let mut call = operation.call(&document, &known, number == 0, &mut rng);
                call.role = *role;
                if let Some(token) = token {
                    let bearer = format!("Bearer {token}").into_bytes();
                    call.headers.push(("authorization".to_owned(), bearer));
                }
                calls.push(call);
            }
        }
    }
    let agent = answers::agent();
    let made = calls.len();
    let answers: Vec<(Call, Answered)> = futures_util::stream::iter(calls)
        .map(|call| {
            let agent = agent.clone();
            let http = platform.api.clone();
            async move {
                let sent = call.clone();
                let answer = tokio::task::spawn_blocking(move || send(&agent, &http, &sent));
                (call, answer.await.unwrap())
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut faults = BTreeMap::new();
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    let mut served = BTreeSet::new();
    for (call, answer) in &answers {
        *seen.entry(answer.status).or_default() += 1;
        if answer.status < 300 && call.role == Some(Role::Admin) {
            served.insert(call.route.clone());
        }
        if let Some(fault) = document.fault(call, answer) {
            let of = format!("{} {}", call.route, answer.status);
            faults
                .entry(of)
                .or_insert_with(Vec::new)
                .push((fault, call, answer));
        }
    }
    println!("{made} calls: {seen:?}");
    for (of, faults) in &faults {
        let (fault, call, answer) = &faults[0];
        println!(
            "{of}, {} times: {fault}\n  {call}\n  {answer:?}\n",
            faults.len()
        );
    }
    assert!(
        faults.is_empty(),
        "faults of {} kinds, see above",
        faults.len()
    );
    // A test that is always refused would prove nothing.
    let never: Vec<_> = document
        .operations()
        .into_iter()
        .map(|operation| operation.route)
        .filter(|route| !served.contains(route) && !SELDOM.contains(&route.as_str()))
        .collect();
    assert!(never.is_empty(), "no call of an admin succeeded: {never:?}");
    worker.stop().await;
    api.stop().await;
}

/// The judge finds what it is there for.
#[test]
fn what_is_not_as_documented_is_found() {
    let document = Document::new(serde_json::to_value(routes::document()).unwrap());
    let mut rng = StdRng::seed_from_u64(1);
    let known = values::Known {
        row: 1,
        message: "00000000-0000-8000-8000-000000000001".to_owned(),
    };
    let operations = document.operations();
    let freshness = operations
        .iter()
        .find(|operation| operation.route == "GET /v1/freshness")
        .unwrap();
    let json = "application/json";
    let answer = |status: u16, media: &str, body: &str| Answered {
        status,
        media: media.to_owned(),
        request_id: "r".to_owned(),
        body: body.to_owned(),
    };
    let mut call = freshness.call(&document, &known, true, &mut rng);
    assert!(
        document
            .fault(&call, &answer(200, json, "{}"))
            .unwrap()
            .contains("without a token")
    );
    call.role = Some(Role::Admin);
    let fault = |answer: Answered| document.fault(&call, &answer).unwrap_or_default();
    assert_eq!(fault(answer(200, json, r#"{"items":[],"next":null}"#)), "");
    assert!(fault(answer(500, "application/problem+json", "{}")).contains("500"));
    assert!(fault(answer(201, json, "{}")).contains("not documented"));
    assert!(fault(answer(200, "text/html", "")).contains("text/html"));
    assert!(fault(answer(200, json, r#"{"next":null}"#)).contains("items"));
    assert!(fault(answer(200, json, r#"{"items":[],"next":null,"odd":1}"#)).contains("odd"));
    assert!(fault(answer(200, json, "not JSON")).contains("not JSON"));
    let problem = r#"{"type":"t","title":"t","status":404,"code":"not_found","detail":"d","instance":"other","errors":[]}"#;
    assert!(fault(answer(404, "application/problem+json", problem)).contains("instance"));
    assert!(fault(answer(0, "", "")).contains("no answer"));
}

/// Whether a chance of `share` in a hundred comes true.
fn chance(rng: &mut StdRng, share: u32) -> bool {
    rng.random_range(0..100) < share
}

/// One of some.
fn pick<'a, T: ?Sized>(rng: &mut StdRng, some: &[&'a T]) -> &'a T {
    some[rng.random_range(0..some.len())]
}

/// A property of a schema, by its path.
fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, key| &value[*key])
}
