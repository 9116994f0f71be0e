//! `ETag` and `If-Match`: an edit is made from a state of the row, and from no other.

use acequia_api::auth::Role;
use serde_json::{Value, json};

use crate::quarantine::{refused, refused_and_queued};
use crate::support::{Answer, Platform};

const REPLAY: &str = "/v1/quarantine/replay";

fn edit(id: i64, name: &str) -> Value {
    let body = format!(r#"{{"id_alumno": 7777, "nombre": "{name}", "edad": 21, "genero": "M"}}"#);
    json!({"filter": {"id": [id.to_string()]}, "reason": "a typing error", "edit": body})
}

/// What an edit must leave alone when it is refused: versions, replays, entries of the audit log.
async fn left(platform: &Platform) -> String {
    platform
        .text(
            "select format('%s %s %s', (select count(*) from raw.quarantine_versions), (select sum(replays) from raw.quarantine),
                 (select count(*) from core.audit_log))",
        )
        .await
}

async fn tag(platform: &Platform, token: &str, path: &str) -> String {
    let answer = platform.get(token, path).await;
    answer.is(200);
    let tag = answer.header("etag").to_owned();
    assert!(
        tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'),
        "{tag}"
    );
    tag
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_is_edited_and_sent() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    refused(&platform).await;
    let operator = platform.token(Role::Operator, None).await;
    let all = json!({"all": true, "reason": "x", "edit": "{}"});
    platform
        .post_if(&operator, REPLAY, "*", &all)
        .await
        .is_problem(400, "invalid_parameter");
    let id = platform
        .number("select min(quarantine_id) from raw.quarantine")
        .await;
    let row = format!("/v1/quarantine/{id}");
    let read = tag(&platform, &operator, &row).await;
    let answer = platform
        .post_if(&operator, REPLAY, &read, &edit(id, "Mended"))
        .await
        .is(200);
    assert_eq!(
        (&answer["replayed"], &answer["failed"]),
        (&json!(1), &json!(0))
    );
    acequia_testkit::wait_for("the mended row", async || {
        Ok(platform
            .number("select count(*) from academico.alumnos where id = 7777")
            .await
            == 1)
    })
    .await
    .unwrap();
    let shown = platform.get(&operator, &row).await.is(200);
    assert_eq!(shown["versions"].as_array().unwrap().len(), 1);
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_names_the_state_that_it_was_made_from() {
    let (platform, api) = Platform::new().await;
    refused_and_queued(&platform, 40).await;
    let operator = platform.token(Role::Operator, None).await;
    let id = platform
        .number("select min(quarantine_id) from raw.quarantine")
        .await;
    let row = format!("/v1/quarantine/{id}");
    let read = tag(&platform, &operator, &row).await;
    let before = left(&platform).await;

    platform
        .post(&operator, REPLAY, &edit(id, "Ana"))
        .await
        .is_problem(428, "precondition_required");
    let with = async |tag: &str| {
        platform
            .post_if(&operator, REPLAY, tag, &edit(id, "Ana"))
            .await
    };
    with(read.trim_matches('"'))
        .await
        .is_problem(400, "invalid_parameter");
    for stale in ["\"0\"".to_owned(), format!("W/{read}")] {
        with(&stale).await.is_problem(412, "precondition_failed");
    }
    assert_eq!(left(&platform).await, before);
    // A dry run changes nothing, and needs no state.
    let mut dry = edit(id, "Ana");
    dry["dry_run"] = json!(true);
    assert_eq!(
        platform.post(&operator, REPLAY, &dry).await.is(200)["rows"],
        1
    );

    // Another copy of the message is no reason to look again; a decision is one.
    let copy = format!(
        "update raw.quarantine set occurrences = occurrences + 1, last_seen_at = now() where quarantine_id = {id}"
    );
    platform.execute(&copy).await;
    assert_eq!(tag(&platform, &operator, &row).await, read);
    let discard = json!({"filter": {"id": [id.to_string()]}, "reason": "no use"});
    let asked = platform
        .post(&operator, "/v1/quarantine/discard", &discard)
        .await
        .is(202);
    platform.ended(&operator, &asked["operation_id"]).await;
    let before = left(&platform).await;
    with(&read).await.is_problem(412, "precondition_failed");
    // Whoever knows that it is discarded, or asks for whatever is there, hears that an edit is for open ones.
    let discarded = tag(&platform, &operator, &row).await;
    assert_ne!(discarded, read);
    with(&discarded).await.is_problem(409, "conflict");
    with("*").await.is_problem(409, "conflict");
    assert_eq!(left(&platform).await, before);

    let asked = platform
        .post(&operator, "/v1/quarantine/restore", &discard)
        .await
        .is(202);
    platform.ended(&operator, &asked["operation_id"]).await;
    // One of several states is enough.
    let several = format!("{discarded}, {}", tag(&platform, &operator, &row).await);
    assert_eq!(with(&several).await.is(200)["replayed"], 1);
    with(&read).await.is_problem(412, "precondition_failed");
    let other = edit(id + 1, "Eva");
    assert_eq!(
        platform
            .post_if(&operator, REPLAY, "*", &other)
            .await
            .is(200)["replayed"],
        1
    );
    api.stop().await;
}

/// Of two answers to the same edit, one is `status` and the other the refusal of a state that is gone.
fn exactly_one(answers: [&Answer; 2], status: u16) {
    let mut statuses = answers.map(|answer| answer.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [status, 412], "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_correct_the_same_message_exactly_one_wins() {
    let (platform, api) = Platform::new().await;
    refused_and_queued(&platform, 40).await;
    let one = platform.token(Role::Operator, None).await;
    let two = platform.token(Role::Operator, Some(&["academico"])).await;
    let first = platform
        .number("select min(quarantine_id) from raw.quarantine")
        .await;
    let rounds = 20;
    for id in first..first + rounds {
        let read = tag(&platform, &one, &format!("/v1/quarantine/{id}")).await;
        let (ana, eva) = (edit(id, "Ana"), edit(id, "Eva"));
        let (left, right) = tokio::join!(
            platform.post_if(&one, REPLAY, &read, &ana),
            platform.post_if(&two, REPLAY, &read, &eva),
        );
        exactly_one([&left, &right], 200);
    }
    let once = format!(
        "select count(*) from raw.quarantine q join raw.quarantine_versions v using (quarantine_id)
         where q.status = 'replayed' and q.replays = 1 and v.version = 1 and q.quarantine_id < {first} + {rounds}"
    );
    assert_eq!(platform.number(&once).await, rounds);
    let sent = "select count(*) from core.audit_log where action in ('edit', 'replay')";
    assert_eq!(platform.number(sent).await, 2 * rounds);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_set_from_a_state_of_the_person() {
    let (platform, api) = Platform::new().await;
    let admin = platform.token(Role::Admin, None).await;
    let person = json!({"name": "ana", "role": "viewer", "password": "the first of many"});
    platform.post(&admin, "/v1/people", &person).await.is(201);
    let (path, set) = ("/v1/people/ana", "/v1/people/ana/password");
    let hash = "select password_hash from core.api_people where name = 'ana'";
    let new = json!({"password": "the second of many"});
    let (read, before) = (
        tag(&platform, &admin, path).await,
        platform.text(hash).await,
    );
    platform
        .post(&admin, set, &new)
        .await
        .is_problem(428, "precondition_required");
    platform
        .post_if(&admin, set, "\"0\"", &new)
        .await
        .is_problem(412, "precondition_failed");
    platform
        .post_if(&admin, "/v1/people/nobody/password", "*", &new)
        .await
        .is_problem(404, "not_found");
    assert_eq!(platform.text(hash).await, before);
    // A login is no change of the person.
    platform
        .execute("update core.api_people set last_login_at = now()")
        .await;
    platform.post_if(&admin, set, &read, &new).await.is(204);
    assert_ne!(platform.text(hash).await, before);
    platform
        .post_if(&admin, set, &read, &new)
        .await
        .is_problem(412, "precondition_failed");
    platform.post_if(&admin, set, "*", &new).await.is(204);
    let read = tag(&platform, &admin, path).await;
    let (left, right) = tokio::join!(
        platform.post_if(&admin, set, &read, &new),
        platform.post_if(&admin, set, &read, &new),
    );
    exactly_one([&left, &right], 204);
    api.stop().await;
}
