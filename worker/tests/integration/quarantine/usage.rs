//! Wrong use, and readers that go away.

use super::{fill, quarantine, state, too_young};
use crate::support::Platform;
use crate::support::program::{finish, program};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_an_error_and_changes_nothing() {
    let platform = Platform::new().await;
    platform.declare().await;
    fill(&platform, &[too_young(1), too_young(2)]).await;
    let before = state(&platform).await;
    let cases: [(&[&str], &str); 10] = [
        (&["replay"], "--all"),
        (&["discard"], "--all"),
        (&["discard", "--status", "open"], "--all"),
        (&["list", "--since", "yesterday"], "time span"),
        (&["list", "--stage", "nowhere"], "decode"),
        (&["list", "--status", "done"], "discarded"),
        (&["replay", "--all", "--rate", "0"], "--rate"),
        (
            &["replay", "--all", "--edit", "/nowhere/body.json"],
            "/nowhere/body.json",
        ),
        // Two rows match: whose body would it be?
        (&["replay", "--all", "--edit", "/dev/null"], "--id"),
        (
            &["replay", "--all", "--limit", "1", "--edit", "/dev/null"],
            "--id",
        ),
    ];
    for (arguments, hint) in cases {
        let done = quarantine(&platform, arguments).await;
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(hint), "{arguments:?}: {done:?}");
    }
    // Without servers: exit 2 and a hint at which of them it is.
    for (variable, url) in [
        (
            "OPERATOR_DATABASE_URL",
            "postgres://nobody@127.0.0.1:1/none",
        ),
        ("AMQP_URL", "amqp://nobody@127.0.0.1:1/%2f"),
    ] {
        let mut command = program(&["quarantine", "replay", "--all"]);
        command
            .env("OPERATOR_DATABASE_URL", &platform.database.operator)
            .env("AMQP_URL", &platform.broker.url)
            .env(variable, url);
        let done = finish(command).await;
        assert_eq!(done.status.code(), Some(2), "{done:?}");
        let server = if variable == "AMQP_URL" {
            "broker"
        } else {
            "database"
        };
        assert!(done.stderr.contains(server), "{done:?}");
    }
    for command in ["list", "show", "replay", "discard", "restore", "stats"] {
        let arguments: &[&str] = &[command, "--id", "999999"];
        let done = quarantine(&platform, arguments).await;
        assert_eq!(done.status.code(), Some(1), "{command}: {done:?}");
    }
    assert_eq!(state(&platform).await, before);
    platform.nothing_is_left_in_the_queues().await;
}

/// `worker quarantine list | head`: whoever reads has seen enough, and that is no defect.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_defect() {
    let platform = Platform::new().await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(&["quarantine", "stats", "--json"]);
    command
        .env("OPERATOR_DATABASE_URL", &platform.database.operator)
        .stdout(writer);
    let done = command.spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(141), "{done:?}");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
}
