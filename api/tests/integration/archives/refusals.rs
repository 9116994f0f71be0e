//! Who may not archive, and calls that cannot be meant.

use acequia_api::auth::Role;
use acequia_api::run::Servers;
use serde_json::json;

use super::{ARCHIVE, RESTORE, Scene, TABLE, archive_all, restore_all};
use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn other_roles_and_other_domains_are_refused() {
    let (scene, api) = Scene::new().await;
    let platform = &scene.platform;
    let before = scene.checksum().await;
    for role in [Role::Viewer, Role::Analyst, Role::Publisher] {
        let token = platform.token(role, None).await;
        for (path, body) in [(ARCHIVE, archive_all()), (RESTORE, restore_all())] {
            platform
                .post(&token, path, &body)
                .await
                .is_problem(403, "role_insufficient");
        }
    }
    let foreign = platform.token(Role::Operator, Some(&["academico"])).await;
    for (path, body) in [(ARCHIVE, archive_all()), (RESTORE, restore_all())] {
        platform
            .post(&foreign, path, &body)
            .await
            .is_problem(403, "foreign_domain");
    }
    // Without a table it means the tables of its scope, which has none with a policy.
    let mine = json!({"reason": "mine", "older_than": "1d"});
    let asked = platform.post(&foreign, ARCHIVE, &mine).await.is(202);
    assert_eq!(
        (&asked["matched"], &asked["domains"]),
        (&json!(0), &json!(["academico"]))
    );
    let ended = platform.ended(&foreign, &asked["operation_id"]).await;
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("done"), &json!(0))
    );
    assert_eq!(scene.checksum().await, before);

    // An operation of another domain is none of its business, nor is stopping it.
    let own = platform.token(Role::Operator, Some(&["consumo"])).await;
    let all = json!({"reason": "mine"});
    let asked = platform.post(&own, ARCHIVE, &all).await.is(202);
    assert_eq!(asked["matched"], 2);
    let path = format!("/v1/operations/{}", asked["operation_id"]);
    platform
        .get(&foreign, &path)
        .await
        .is_problem(404, "not_found");
    platform
        .post(&foreign, &format!("{path}/cancel"), &json!(null))
        .await
        .is_problem(404, "not_found");
    let ended = platform.ended(&own, &asked["operation_id"]).await;
    assert_eq!(ended["done"], 2, "{ended}");
    platform
        .post(&own, &format!("{path}/undo"), &json!({"reason": "x"}))
        .await
        .is_problem(409, "conflict");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_with_its_field() {
    let (platform, api) = Platform::new().await;
    let token = platform.token(Role::Operator, None).await;
    let range =
        |from: &str, to: &str| json!({"table": TABLE, "from": from, "to": to, "reason": "x"});
    for (path, field, body) in [
        (ARCHIVE, "reason", json!({"table": TABLE})),
        (ARCHIVE, "reason", json!({"reason": " "})),
        (
            ARCHIVE,
            "older_than",
            json!({"older_than": "30", "reason": "x"}),
        ),
        (
            ARCHIVE,
            "older_than",
            json!({"older_than": "36501d", "reason": "x"}),
        ),
        (
            ARCHIVE,
            "table",
            json!({"table": "academico.alumnos", "dry_run": true}),
        ),
        (ARCHIVE, "table", json!({"table": "nowhere", "reason": "x"})),
        (RESTORE, "from", range("yesterday", "2024-09")),
        (RESTORE, "to", range("2024-09", "2024-13")),
        (RESTORE, "from", range("2024-09", "2024-08")),
        (
            RESTORE,
            "hold",
            json!({"table": TABLE, "from": "2024-09", "to": "2024-09", "hold": "long", "reason": "x"}),
        ),
        (
            RESTORE,
            "table",
            json!({"table": "academico.alumnos", "from": "2024-09", "to": "2024-09", "dry_run": true}),
        ),
    ] {
        let answer = platform.post(&token, path, &body).await;
        let problem = answer.is_problem(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
    }
    platform
        .post(&token, ARCHIVE, &json!({"tables": [TABLE], "reason": "x"}))
        .await
        .is_problem(400, "invalid_body");
    assert_eq!(
        platform
            .number("select count(*) from core.operations")
            .await,
        0
    );
    api.stop().await;

    let servers = Servers {
        archives: None,
        ..platform.servers()
    };
    let api = platform.serve_on(servers, &[]).await;
    for (path, body) in [(ARCHIVE, archive_all()), (RESTORE, restore_all())] {
        platform
            .post(&token, path, &body)
            .await
            .is_problem(503, "not_configured");
    }
    let ready = platform.call("GET", "/readyz", &[], "").await.is(200);
    let part = json!("archive");
    let mut parts = ready["parts"].as_array().unwrap().iter();
    assert!(parts.any(|one| one["name"] == part), "{ready}");
    api.stop().await;
}
