//! Migrations, and schemas that are not the program's own.

use acequia_schema::migrate;
use acequia_testkit::{Services, TestDatabase};
use sqlx::Connection;
use sqlx::PgConnection;

use super::postgres;
use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn four_migrations_at_once_migrate_once() {
    let services = Services::shared().await.unwrap();
    let database = TestDatabase::empty(services).await.unwrap();
    let url = postgres(&database.owner);
    let (a, b, c, d) = tokio::join!(
        migrate(&url, &[]),
        migrate(&url, &[]),
        migrate(&url, &[]),
        migrate(&url, &[])
    );
    let reports = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
    let latest = usize::try_from(acequia_schema::latest()).unwrap();
    assert_eq!(
        reports
            .iter()
            .map(|report| report.migrations.len())
            .sum::<usize>(),
        latest
    );
    assert_eq!(
        reports
            .iter()
            .filter(|report| !report.routines.is_empty())
            .count(),
        1
    );

    let mut connection = PgConnection::connect(&database.owner).await.unwrap();
    let history: Vec<i32> =
        sqlx::query_scalar("select version from core.refinery_schema_history order by version")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(history, (1..=acequia_schema::latest()).collect::<Vec<_>>());
    acequia_schema::check(&mut connection).await.unwrap();

    // The worker's role may start on it: the grants are there.
    let mut worker = PgConnection::connect(&database.worker).await.unwrap();
    acequia_schema::check(&mut worker).await.unwrap();

    let again = migrate(&url, &[]).await.unwrap();
    assert!(
        again.migrations.is_empty() && again.routines.is_empty(),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routine_that_was_changed_by_hand_is_applied_again() {
    let platform = Platform::new().await;
    let url = postgres(&platform.database.owner);
    let mut worker = PgConnection::connect(&platform.database.worker)
        .await
        .unwrap();
    platform
        .execute("update core.routines set checksum = 'other' where path like 'routines/%'; delete from core.routine_history")
        .await;
    let error = acequia_schema::check(&mut worker)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("worker migrate"), "{error}");
    assert!(!migrate(&url, &[]).await.unwrap().routines.is_empty());
    acequia_schema::check(&mut worker).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_a_schema_that_is_not_its_own() {
    let platform = Platform::new().await;
    let (latest, history) = (acequia_schema::latest(), "core.refinery_schema_history");
    let copy = format!("create table core.history_copy as table {history}");
    platform.execute(&copy).await;
    let refusal = async || format!("{:#}", platform.worker(&[]).ended().await.unwrap_err());

    platform
        .execute(&format!("delete from {history} where version = {latest}"))
        .await;
    let expected = format!(
        "the schema has version {}, this program needs {latest}: run `worker migrate`",
        latest - 1
    );
    assert_eq!(refusal().await, expected);

    platform
        .execute(&format!(
            "insert into {history} table core.history_copy on conflict do nothing"
        ))
        .await;
    platform.execute(&format!("insert into {history} (version, name, applied_on, checksum) values ({}, 'later', 'later', '0')", latest + 7)).await;
    let serves = async |oldest: i32| {
        let set = format!("update core.served set oldest_program = {oldest}");
        platform.execute(&set).await;
    };
    serves(latest + 1).await;
    let expected = format!(
        "the schema has version {} and serves programs from version {} on, this program has {latest}: use the newer program",
        latest + 7,
        latest + 1
    );
    assert_eq!(refusal().await, expected);
    // A newer schema that says that it serves this program does.
    serves(latest).await;
    platform
        .execute("update core.routines set checksum = 'of a later program'")
        .await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    worker.stop().await;
    // Nobody migrates backwards.
    let error = migrate(&postgres(&platform.database.owner), &[])
        .await
        .unwrap_err();
    let expected = format!(
        "the schema has version {}, this program knows {latest} only: use the newer program",
        latest + 7
    );
    assert_eq!(format!("{error:#}"), expected);

    platform
        .execute(&format!("delete from {history} where version > {latest}"))
        .await;
    // A later program of the same version: what this one has was applied before.
    let worker = platform.worker(&[]);
    worker.ready().await;
    worker.stop().await;

    let empty = TestDatabase::empty(platform.services).await.unwrap();
    let nowhere = platform.worker_by(&empty.worker, &platform.broker.url, &[]);
    let error = nowhere.ended().await.unwrap_err().to_string();
    assert!(error.contains("run `worker migrate`"), "{error}");
}
