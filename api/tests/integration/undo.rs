//! What an operation has discarded is taken back: those rows, and no others.

use acequia_api::auth::Role;
use acequia_ops::quarantine::{Actor, Filters, Job, Report, Sender, Status, replay};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::quarantine::{ROWS, refused, refused_and_queued};
use crate::support::{Answer, Platform, url};

/// Asks for a bulk action, and waits for its end.
async fn done(platform: &Platform, token: &str, action: &str, filter: Value) -> Value {
    let body = json!({"filter": filter, "reason": "test"});
    let path = format!("/v1/quarantine/{action}");
    let asked = platform.post(token, &path, &body).await.is(202);
    platform.ended(token, &asked["operation_id"]).await
}

async fn undo(platform: &Platform, token: &str, id: &Value) -> Answer {
    let path = format!("/v1/operations/{id}/undo");
    platform
        .post(token, &path, &json!({"reason": "a mistake"}))
        .await
}

async fn of_status(platform: &Platform, status: &str) -> i64 {
    platform
        .number(&format!(
            "select count(*) from raw.quarantine where status = '{status}'"
        ))
        .await
}

/// Numbers of the rows from `first` on, as a filter.
fn rows(first: i64, count: i64) -> Value {
    let ids: Vec<_> = (first..first + count).map(|id| id.to_string()).collect();
    json!({"id": ids})
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_untouched_rows_of_a_discard_are_opened_again() {
    let (platform, api) = Platform::new().await;
    refused(&platform).await;
    let operator = platform.token(Role::Operator, None).await;
    let first = platform
        .number("select min(quarantine_id) from raw.quarantine")
        .await;
    // Discarded before: not the work of the operation that is undone.
    done(&platform, &operator, "discard", rows(first, 7)).await;
    let discard = done(
        &platform,
        &operator,
        "discard",
        json!({"code": ["invalid_type"]}),
    )
    .await;
    assert_eq!(
        (
            &discard["done"],
            &discard["can_undo"],
            &discard["undone_by"]
        ),
        (&json!(ROWS - 7), &json!(true), &Value::Null),
        "{discard}"
    );
    // Touched since: restored; restored and discarded again.
    done(&platform, &operator, "restore", rows(first + 100, 20)).await;
    done(&platform, &operator, "discard", rows(first + 100, 5)).await;
    // And one is not kept any more. A copy that comes meanwhile touches nothing.
    platform
        .execute(&format!(
            "delete from raw.quarantine where quarantine_id = {first} + 200;
             update raw.quarantine set occurrences = 2, last_seen_at = now() where quarantine_id = {first} + 300"
        ))
        .await;

    let id = &discard["operation_id"];
    let viewer = platform.token(Role::Viewer, None).await;
    undo(&platform, &viewer, id)
        .await
        .is_problem(403, "role_insufficient");
    let narrow = platform.token(Role::Operator, Some(&["academico"])).await;
    undo(&platform, &narrow, id)
        .await
        .is_problem(404, "not_found");
    let path = format!("/v1/operations/{id}/undo");
    platform
        .post(&operator, &path, &json!({"reason": " "}))
        .await
        .is_problem(400, "invalid_parameter");

    let asked = undo(&platform, &operator, id).await.is(202);
    assert_eq!(
        (&asked["kind"], &asked["undoes"], &asked["matched"]),
        (&json!("restore"), id, &discard["done"])
    );
    let ended = platform.ended(&operator, &asked["operation_id"]).await;
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("done"), &json!(ROWS - 7 - 20 - 1)),
        "{ended}"
    );
    // Seven of before, five of after.
    assert_eq!(of_status(&platform, "discarded").await, 12);
    assert_eq!(of_status(&platform, "open").await, ROWS - 12 - 1);
    let logged = format!(
        "select sum(row_count)::bigint from core.audit_log
         where action = 'restore' and operation_id = {} and reason = 'a mistake' and login = 'acequia_operator'",
        asked["operation_id"]
    );
    assert_eq!(platform.number(&logged).await, ROWS - 28);

    let shown = platform
        .get(&operator, &format!("/v1/operations/{id}"))
        .await
        .is(200);
    assert_eq!(
        (&shown["can_undo"], &shown["undone_by"]),
        (&json!(false), &asked["operation_id"])
    );
    let refused = undo(&platform, &operator, id)
        .await
        .is_problem(409, "conflict");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains(&asked["operation_id"].to_string()),
        "{detail}"
    );
    // An undo is no discard.
    undo(&platform, &operator, &asked["operation_id"])
        .await
        .is_problem(409, "conflict");
    assert_eq!(of_status(&platform, "discarded").await, 12);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_is_undone_once_and_after_its_end() {
    let (platform, api) = Platform::new().await;
    refused(&platform).await;
    let operator = platform.token(Role::Operator, None).await;
    let discard = done(
        &platform,
        &operator,
        "discard",
        json!({"code": ["invalid_type"]}),
    )
    .await;
    let id = &discard["operation_id"];
    let (one, two) = tokio::join!(
        undo(&platform, &operator, id),
        undo(&platform, &operator, id)
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409], "{one:?} {two:?}");
    let begun = if one.status == 202 { &one } else { &two };
    let ended = platform
        .ended(&operator, &begun.json()["operation_id"])
        .await;
    assert_eq!(ended["done"], ROWS);
    assert_eq!(of_status(&platform, "open").await, ROWS);
    // One that failed opened what it opened; the rest may be asked for again.
    platform
        .execute("update core.operations set state = 'failed' where undoes is not null")
        .await;
    let again = undo(&platform, &operator, id).await.is(202);
    let ended = platform.ended(&operator, &again["operation_id"]).await;
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("done"), &json!(0))
    );

    // Nobody carries this one out: it has not ended. Of that one nothing is known.
    platform
        .execute(
            "insert into core.operations (kind, state, who, filters, matched, through_id, seen_at) values ('discard', 'running', 'x', '{}', 0, 0, now());
             insert into core.operations (kind, state, who, filters, matched, done, through_id, finished_at) values ('discard', 'done', 'x', '{}', 9, 9, 0, now())",
        )
        .await;
    for state in ["running", "done"] {
        let query = format!(
            "select max(operation_id) from core.operations where who = 'x' and state = '{state}'"
        );
        let id = json!(platform.number(&query).await);
        let shown = platform
            .get(&operator, &format!("/v1/operations/{id}"))
            .await
            .is(200);
        assert_eq!(shown["can_undo"], false);
        undo(&platform, &operator, &id)
            .await
            .is_problem(409, "conflict");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_beside_a_replay_opens_what_the_replay_has_not_sent() {
    const MANY: i64 = 12_000;
    let (platform, api) = Platform::new().await;
    refused_and_queued(&platform, MANY).await;
    let operator = platform.token(Role::Operator, None).await;
    let discard = done(
        &platform,
        &operator,
        "discard",
        json!({"code": ["invalid_type"]}),
    )
    .await;
    assert_eq!(of_status(&platform, "discarded").await, MANY);

    // Somebody sends discarded rows from the command line, while the API opens them again.
    let mut connection = PgConnection::connect(&platform.database.operator)
        .await
        .unwrap();
    let sender = Sender::connect(&url(&platform.broker.url), "test")
        .await
        .unwrap();
    let filters = Filters {
        status: vec![Status::Discarded],
        ..Filters::default()
    };
    let job = Job {
        actor: Actor::new(None, Some("test".to_owned()), &filters).unwrap(),
        filters,
        edit: None,
        rate: None,
    };
    let mut report = Report::default();
    let send = replay(&mut connection, &sender, &job, &mut report);
    let open = async {
        acequia_testkit::wait_for("rows that were sent", async || {
            Ok(of_status(&platform, "replayed").await > 0)
        })
        .await
        .unwrap();
        let asked = undo(&platform, &operator, &discard["operation_id"])
            .await
            .is(202);
        platform.ended(&operator, &asked["operation_id"]).await
    };
    let (sent, undone) = tokio::join!(send, open);
    sent.unwrap();
    sender.close().await;
    let (replayed, opened) = (
        i64::try_from(report.replayed).unwrap(),
        undone["done"].as_i64().unwrap(),
    );
    assert_eq!(undone["state"], "done", "{undone}");
    assert!(replayed > 0);
    // Each row went one way: none was sent and is open, none is left.
    assert_eq!(replayed + opened, MANY);
    assert_eq!(of_status(&platform, "replayed").await, replayed);
    assert_eq!(of_status(&platform, "open").await, opened);
    let both = "select count(*) from raw.quarantine where status = 'open' and replays > 0";
    assert_eq!(platform.number(both).await, 0);
    api.stop().await;
}
