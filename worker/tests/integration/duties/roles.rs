//! Limits of the roles of programs and of people.

use std::path::Path;

use acequia_net::SecretUrl;
use acequia_schema::{Options, migrate, migrate_with};
use acequia_testkit::{Services, TestDatabase};
use sqlx::{Connection as _, PgConnection};

use super::{code, denied};
use crate::support::{Message, Platform};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_cannot_give_messages_up_nor_change_what_they_were() {
    let platform = Platform::new().await;
    let running = platform.worker(&[]);
    running.ready().await;
    platform
        .publish_all([&Message::new("academico", "alumno", "[]")])
        .await;
    platform.settled(1).await;
    running.stop().await;
    let discard = "update raw.quarantine set status = 'discarded'";
    let (worker, operator) = (&platform.database.worker, &platform.database.operator);
    for statement in [
        discard,
        // It may switch the ordinary triggers of its session off.
        "set session_replication_role = replica; update raw.quarantine set status = 'discarded'",
        "update raw.quarantine set body = ''",
        "update raw.quarantine set received_at = '2000-01-01'",
        "update raw.quarantine set properties = '{}', day = '2000-01-01'",
        "delete from raw.quarantine",
        "begin; lock table raw.quarantine in access exclusive mode",
        "insert into core.audit_log (who, action, quarantine_ids) values ('ana', 'discard', '{1}')",
        "insert into raw.quarantine_versions (quarantine_id, version, body, by) values (1, 1, '', 'ana')",
        "select core.open_gate(null, null, 'mallory', 'why not')",
        "select core.marts_rebuilt('{marts.kpi_materia}')",
    ] {
        assert_eq!(code(worker, statement).await, denied(), "{statement}");
    }
    // Its duty: updating the reason of a message that came again.
    let again = "update raw.quarantine set occurrences = occurrences + 1, code = 'invalid_json', status = 'open'";
    assert_eq!(code(worker, again).await, None);
    // Partitions for years ahead would be as many tables.
    let ahead = "select core.ensure_partitions(1000000)";
    assert_eq!(code(worker, ahead).await, None);
    let most = "select max(n) from (select count(*) as n from pg_inherits group by inhparent) x";
    assert!(platform.number(most).await < 40);
    assert_eq!(
        code(operator, "update raw.quarantine set body = ''").await,
        denied()
    );
    assert_eq!(code(operator, discard).await, None);
}

/// Roles belong to the server: a second installation must not lock the first one out.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_database_does_not_take_the_roles_of_the_first() {
    let services = Services::start().await.unwrap();
    let (first, second) = (
        TestDatabase::empty(&services).await.unwrap(),
        TestDatabase::empty(&services).await.unwrap(),
    );
    let url = |database: &TestDatabase| SecretUrl::parse(&database.owner, &["postgres"]).unwrap();
    let with = |password: &str, take_over_roles| Options {
        passwords: vec![("acequia_worker", password.to_owned())],
        take_over_roles,
        ..Options::default()
    };
    let login = async |database: &TestDatabase, password: &str| {
        let mut worker: url::Url = database.worker.parse().unwrap();
        worker.set_password(Some(password)).unwrap();
        PgConnection::connect(worker.as_str()).await.is_ok()
    };
    migrate_with(&url(&first), &with("one", false))
        .await
        .unwrap();
    assert!(login(&first, "one").await);
    let refused = migrate_with(&url(&second), &with("two", false)).await;
    let refused = format!("{:#}", refused.unwrap_err());
    let name = first.name().unwrap();
    for word in [name.as_str(), "acequia_worker", "--take-over-roles"] {
        assert!(refused.contains(word), "{refused}");
    }
    assert!(!refused.contains("two"), "{refused}");
    assert!(login(&first, "one").await && !login(&first, "two").await);
    // The same password serves both; without one nothing is asked.
    migrate_with(&url(&second), &with("one", false))
        .await
        .unwrap();
    migrate(&url(&second), &[]).await.unwrap();
    assert!(login(&first, "one").await && login(&second, "one").await);
    // A new one locks the other out as well, whichever came first.
    assert!(
        migrate_with(&url(&first), &with("two", false))
            .await
            .is_err()
    );
    migrate_with(&url(&first), &with("two", true))
        .await
        .unwrap();
    assert!(login(&first, "two").await && !login(&second, "one").await);
    // Alone again, it may change what it likes.
    second.drop().await.unwrap();
    migrate_with(&url(&first), &with("three", false))
        .await
        .unwrap();
    assert!(login(&first, "three").await);
}

/// Limits on the load that a role can put on the server.
#[tokio::test(flavor = "multi_thread")]
async fn people_have_limits() {
    // On servers of its own, since roles are of the server.
    let platform = Platform::own().await;
    platform
        .execute("alter role acequia_api connection limit -1; alter role acequia_operator connection limit -1")
        .await;
    let owner = SecretUrl::parse(&platform.database.owner, &["postgres"]).unwrap();
    migrate(&owner, &[]).await.unwrap();
    let limits = "select rolname || ' ' || rolconnlimit from pg_roles where rolname in ('acequia_analyst', 'acequia_operator', 'acequia_api') order by 1";
    assert_eq!(
        platform.texts(limits).await,
        [
            "acequia_analyst 20",
            "acequia_api 20",
            "acequia_operator 20"
        ]
    );
    let mut analyst = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    for (setting, value) in [
        ("statement_timeout", "1min"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("temp_file_limit", "20GB"),
    ] {
        let found: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut analyst)
            .await
            .unwrap();
        assert_eq!(found, value, "{setting}");
    }
    for statement in [
        "select lo_create(0)",
        "select lo_creat(0)",
        "select lo_from_bytea(0, '')",
        "select pg_logical_emit_message(true, 'x', repeat('x', 100))",
        "set temp_file_limit = -1",
        "create table public.mine (id integer)",
    ] {
        for role in [
            &platform.database.analyst,
            &platform.database.worker,
            &platform.database.archive,
            &platform.database.operator,
        ] {
            assert_eq!(code(role, statement).await, denied(), "{statement}");
        }
    }
    // The role of the worker sees a transaction that is held open.
    let mut idle = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    let open = idle.begin().await.unwrap();
    let long =
        "select count(*) from core.long_transactions('0 seconds') where login = 'acequia_analyst'";
    let mut worker = PgConnection::connect(&platform.database.worker)
        .await
        .unwrap();
    let seen: i64 = sqlx::query_scalar(long)
        .fetch_one(&mut worker)
        .await
        .unwrap();
    assert!(seen >= 1, "{seen}");
    open.rollback().await.unwrap();
}

/// Rows that a constraint refuses are personal data.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_the_server_has_no_values() {
    const NAME: &str = "Leocadia Zubizarreta";
    let platform = Platform::new().await;
    for (statement, refused) in [
        (
            "insert into academico.alumnos (id, nombre, event_at, message_id, batch_id) values ($1, $2, now(), gen_random_uuid(), 1)",
            -7,
        ),
        (
            "insert into academico.alumnos (id, nombre, event_at, message_id, batch_id) select 5, $2, now(), gen_random_uuid(), 1 from generate_series(1, 2 + 0 * $1)",
            1,
        ),
        ("select $2 || (1 / ($1 - 1))::text", 1),
    ] {
        let failed = sqlx::query(statement)
            .bind(refused)
            .bind(NAME)
            .execute(&mut platform.connect().await)
            .await;
        assert!(failed.is_err(), "{statement}");
    }
    let data = platform.services.var("POSTGRES_DATA_DIR").unwrap();
    let log = Path::new(data).with_file_name("server.log");
    let log = || std::fs::read_to_string(&log).unwrap();
    acequia_testkit::wait_for("the errors in the log", async || {
        Ok(log().contains("alumnos_id_check") && log().contains("division by zero"))
    })
    .await
    .unwrap();
    assert!(!log().contains(NAME));
    assert!(!log().contains("DETAIL"));
}
