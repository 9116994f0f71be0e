//! The program: its end, its mistakes, its help.

use super::secrets;
use crate::support::program::{finish, program};
use crate::support::school::alumnos;
use crate::support::{Platform, ready};

/// The program itself, in a process of its own, with everything in its log.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_stops_on_sigterm_and_the_next_one_finishes() {
    const LOAD: i64 = 5_000;
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..5_001)).await;
    let first = platform.program(&["--batch-max", "20", "--log", "trace"]);
    platform.received(200).await;
    let first = first.terminate().await;
    assert_eq!(
        first.status.code(),
        Some(0),
        "{}",
        last_lines(&first.stderr)
    );
    let between = platform.total().await;
    assert!(
        between.received < LOAD,
        "the load was too small to be stopped in it"
    );
    assert_eq!((between.duplicates, between.unaccounted), (0, 0));

    let second = platform.program(&["--log", "trace", "--log-format", "json"]);
    ready(&second.http).await;
    platform.settled(LOAD).await;
    let second = second.terminate().await;
    assert_eq!(
        second.status.code(),
        Some(0),
        "{}",
        last_lines(&second.stderr)
    );
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.duplicates,
            total.quarantined,
            total.unaccounted
        ),
        (LOAD, 0, 0, 0)
    );
    platform.nothing_is_left_in_the_queues().await;

    for secret in secrets(&platform) {
        for log in [&first.stderr, &second.stderr] {
            let leak = log.lines().find(|line| line.contains(&secret));
            assert_eq!(leak, None, "a password in the log");
        }
    }
    // Names of students must not appear either.
    assert!(!first.stderr.contains("Alumno 1") && !second.stderr.contains("Alumno 1"));
    for line in second.stderr.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "not JSON: {line}"
        );
    }
    // A file gets no colours.
    assert!(
        !first.stderr.contains('\u{1b}'),
        "{}",
        last_lines(&first.stderr)
    );
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_names_its_mistakes_without_passwords() {
    let platform = Platform::new().await;
    let wrong = |url: &str| {
        url.replace(
            "postgresql://acequia_worker:",
            "postgresql://acequia_worker:wrong-secret",
        )
        .replace("amqp://", "amqp://x:wrong-secret-")
    };
    let good = (
        platform.database.worker.as_str(),
        platform.broker.url.as_str(),
    );
    let cases = [
        // Arguments, database, broker, exit code, text.
        (
            vec!["run", "--http-addr", "127.0.0.1:0"],
            wrong(good.0),
            good.1.to_owned(),
            2,
            "password authentication failed",
        ),
        (
            vec!["doctor"],
            wrong(good.0),
            good.1.to_owned(),
            1,
            "correct DATABASE_URL",
        ),
        (
            vec!["doctor"],
            good.0.to_owned(),
            wrong(good.1),
            1,
            "correct AMQP_URL",
        ),
        (
            vec!["check"],
            wrong(good.0),
            good.1.to_owned(),
            2,
            "password authentication failed",
        ),
        (
            vec!["refresh"],
            wrong(good.0),
            good.1.to_owned(),
            2,
            "password authentication failed",
        ),
        (
            vec!["migrate"],
            wrong(good.0),
            good.1.to_owned(),
            2,
            "password authentication failed",
        ),
        (
            vec!["run"],
            "http://app:wrong-secret@nowhere".to_owned(),
            good.1.to_owned(),
            2,
            "DATABASE_URL",
        ),
        (
            vec!["run"],
            good.0.to_owned(),
            "wrong-secret".to_owned(),
            2,
            "AMQP_URL",
        ),
        (
            vec!["run", "--domains", "nobody"],
            good.0.to_owned(),
            good.1.to_owned(),
            2,
            "there is no domain nobody",
        ),
        (
            vec!["run", "--batch-max", "0"],
            good.0.to_owned(),
            good.1.to_owned(),
            2,
            "--batch-max",
        ),
        (
            vec!["run", "--orphan-ttl", "soon"],
            good.0.to_owned(),
            good.1.to_owned(),
            2,
            "--orphan-ttl",
        ),
        // Nobody but the owner migrates.
        (
            vec!["migrate"],
            good.0.to_owned(),
            good.1.to_owned(),
            2,
            "must own the database",
        ),
        (
            vec!["health", "--addr", "127.0.0.1:1"],
            good.0.to_owned(),
            good.1.to_owned(),
            1,
            "not ready",
        ),
    ];
    for (arguments, database, broker, code, said) in cases {
        let mut command = program(&arguments);
        command
            .env("DATABASE_URL", &database)
            .env("AMQP_URL", &broker)
            .env("ACEQUIA_LOG", "trace");
        let finished = finish(command).await;
        assert_eq!(
            finished.status.code(),
            Some(code),
            "{arguments:?}: {finished:?}"
        );
        let output = finished.stdout + &finished.stderr;
        assert!(output.contains(said), "{arguments:?}: {output}");
        for secret in secrets(&platform) {
            let leak = output.lines().find(|line| line.contains(&secret));
            assert_eq!(leak, None, "{arguments:?}: a password in the output");
        }
    }
    let finished = finish(program(&["run"])).await;
    assert_eq!(finished.status.code(), Some(2));
    assert!(
        finished.stderr.contains("DATABASE_URL is not set"),
        "{finished:?}"
    );
}
