//! `worker quarantine restore`: opens discarded rows again, and no others.

use serde_json::json;

use super::{fill, quarantine, state, told, too_young};
use crate::support::Platform;
use crate::support::program::{finish, program};

/// Statuses in the order of the rows, with the reason of the last decision.
async fn rows(platform: &Platform) -> Vec<String> {
    platform
        .texts("select concat_ws(' ', q.status, q.note, q.resolved_by) from raw.quarantine q order by q.quarantine_id")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn discarded_rows_are_opened_again_and_the_audit_log_says_why() {
    let platform = Platform::new().await;
    platform.declare().await;
    let messages: Vec<_> = (1..=5).map(too_young).collect();
    fill(&platform, &messages).await;
    let numbers = "select quarantine_id::text from raw.quarantine order by quarantine_id";
    let ids = platform.texts(numbers).await;
    // The last one stays open.
    let mut discard = vec!["discard", "--reason", "test data", "--by", "eva"];
    for id in &ids[..4] {
        discard.extend(["--id", id.as_str()]);
    }
    assert_eq!(told(&platform, &discard, 0).await, json!({"discarded": 4}));

    // Neither wrong use nor a dry run changes anything.
    let before = state(&platform).await;
    for (arguments, hint) in [
        (&["restore"][..], "--all"),
        (&["restore", "--status", "discarded"], "--all"),
        (&["restore", "--all", "--status", "open"], "discarded"),
        (
            &["restore", "--all", "--status", "discarded,replayed"],
            "discarded",
        ),
    ] {
        let done = quarantine(&platform, arguments).await;
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(hint), "{arguments:?}: {done:?}");
    }
    let dry = told(&platform, &["restore", "--all", "--dry-run"], 0).await;
    assert_eq!(
        (&dry["dry_run"], &dry["rows"], &dry["by"][0]["rows"]),
        (&json!(true), &json!(4), &json!(4))
    );
    // An open row is no discarded one.
    told(&platform, &["restore", "--id", &ids[4]], 1).await;
    told(&platform, &["restore", "--code", "orphan"], 1).await;
    assert_eq!(state(&platform).await, before);

    // One by its number, the oldest of the others, then the rest.
    let third = ids[2].as_str();
    let one = [
        "restore",
        "--id",
        third,
        "--reason",
        "a mistake",
        "--by",
        "ana",
    ];
    assert_eq!(told(&platform, &one, 0).await, json!({"restored": 1}));
    assert_eq!(
        rows(&platform).await,
        [
            "discarded test data eva",
            "discarded test data eva",
            "open a mistake",
            "discarded test data eva",
            "open"
        ]
    );
    let oldest = ["restore", "--all", "--limit", "1", "--status", "discarded"];
    assert_eq!(told(&platform, &oldest, 0).await, json!({"restored": 1}));
    let done = quarantine(&platform, &["restore", "--domain", "academico"]).await;
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(done.stdout.contains("2 restored"), "{done:?}");
    assert!(
        rows(&platform)
            .await
            .iter()
            .all(|row| row.starts_with("open"))
    );
    let done = quarantine(&platform, &["restore", "--all"]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(done.stderr.contains("nothing matches"), "{done:?}");

    let logged = platform
        .texts(
            "select concat_ws(' ', who, login, row_count, reason, operation_id) from core.audit_log where action = 'restore' order by audit_id limit 1",
        )
        .await;
    assert_eq!(logged, ["ana acequia_operator 1 a mistake"]);
    let restored = "select sum(row_count)::bigint from core.audit_log where action = 'restore'";
    assert_eq!(platform.number(restored).await, 4);
}

/// The worker's login cannot decide.
#[tokio::test(flavor = "multi_thread")]
async fn another_login_opens_nothing() {
    let platform = Platform::new().await;
    platform.declare().await;
    fill(&platform, &[too_young(1)]).await;
    told(&platform, &["discard", "--all"], 0).await;
    let before = state(&platform).await;
    for login in [&platform.database.worker, &platform.database.api] {
        let mut command = program(&["quarantine", "restore", "--all"]);
        command.env("OPERATOR_DATABASE_URL", login);
        let done = finish(command).await;
        assert_eq!(done.status.code(), Some(2), "{done:?}");
    }
    assert_eq!(state(&platform).await, before);
}
