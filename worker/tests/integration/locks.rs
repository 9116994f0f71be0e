//! No other role can take the locks of the platform.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::freshness::{all_are, school};
use crate::support::Platform;
use crate::support::program::{finish, program};
use crate::support::school::alumno;

/// The lock of programs before version 11 that migrate, and the names of the others.
const MIGRATE: i64 = 0x0ace_4d1a;
const OTHERS: [&str; 8] = [
    "promote.academico",
    "check.academico",
    "refresh.marts.kpi_materia",
    "reference.academico.alumnos",
    "outbox.consumo",
    "partitions",
    "retain",
    "archive",
];

async fn true_of(connection: &mut PgConnection, query: &str) -> bool {
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(connection)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_stops_nothing() {
    let platform = Platform::new().await;
    let mut analyst = platform.analyst().await;
    let migrate = format!("select pg_try_advisory_lock({MIGRATE})");
    assert!(true_of(&mut analyst, &migrate).await);
    for name in OTHERS {
        let lock = format!("select pg_try_advisory_lock(hashtextextended('acequia.{name}', 0))");
        assert!(true_of(&mut analyst, &lock).await, "{name}");
    }
    // Nor can the locks themselves be taken.
    for attempt in [
        "select * from core.locks for update",
        "lock table core.locks",
        "lock table core.migration in share mode",
        "select core.take_lock('promote.academico')",
        "select core.hold_lock('archive')",
    ] {
        for role in [&platform.database.analyst, &platform.database.worker] {
            let mut other = PgConnection::connect(role).await.unwrap();
            let attempt = format!("begin; {attempt}");
            let refused = sqlx::raw_sql(AssertSqlSafe(attempt.clone()))
                .execute(&mut other)
                .await;
            let code = refused.err().and_then(|error| {
                error
                    .as_database_error()?
                    .code()
                    .map(|code| code.to_string())
            });
            // A worker archives.
            if attempt.contains("archive") && role == &platform.database.worker {
                assert_eq!(code, None, "{attempt}");
            } else {
                assert_eq!(code.as_deref(), Some("42501"), "{attempt}");
            }
        }
    }

    let worker = platform.worker(&["--check-every", "200ms"]);
    worker.ready().await;
    platform.publish_all(&school()).await;
    let rows = platform.freshness("fresh marts", |rows| {
        all_are(rows, "fresh") && rows.values().all(|row| row.checked_at.is_some())
    });
    assert!(rows.await.values().all(|row| row.trusted));
    worker.stop().await;
    for command in [
        vec!["migrate", "--database-url", &platform.database.owner],
        vec![
            "archive",
            "--database-url",
            &platform.database.worker,
            "--archive-url",
            "memory:///",
        ],
    ] {
        let ended = finish(program(&command)).await;
        assert!(!ended.stderr.contains("another process"), "{ended:?}");
        if command[0] == "migrate" {
            assert!(ended.status.success(), "{ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_has_one_holder() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--stall-after", "1s"]);
    worker.ready().await;
    let mut first = platform.connect().await;
    let mut second = platform.connect().await;
    let lock = "select core.try_lock('promote.academico')";
    let mut transaction = first.begin().await.unwrap();
    assert!(true_of(&mut transaction, lock).await);
    assert!(true_of(&mut transaction, lock).await, "it has it already");
    assert!(!true_of(&mut second, lock).await);
    // Also of a promotion by an older program, which calls the same function.
    platform.publish_all([&alumno(1)]).await;
    assert_ne!(worker.not_ready("promote").await, "");
    transaction.commit().await.unwrap();
    platform.settled(1).await;
    worker.stop().await;

    // For the life of a session, of whatever role may take it.
    let hold = "select core.hold_lock('archive')";
    let mut worker = PgConnection::connect(&platform.database.worker)
        .await
        .unwrap();
    assert!(true_of(&mut worker, hold).await);
    assert!(!true_of(&mut second, hold).await);
    worker.close().await.unwrap();
    acequia_testkit::wait_for("the end of the session", async || {
        Ok(true_of(&mut second, hold).await)
    })
    .await
    .unwrap();
    // An older program that archives counts as well.
    second.close().await.unwrap();
    let old = "select pg_try_advisory_lock(hashtextextended('acequia.archive', 0))";
    acequia_testkit::wait_for("the old lock", async || Ok(true_of(&mut first, old).await))
        .await
        .unwrap();
    let mut third = platform.connect().await;
    assert!(!true_of(&mut third, hold).await);
}
