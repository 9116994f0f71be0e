//! Ticks of the tests' domain, called as the worker does, by its login.

use std::time::Duration;

use acequia_net::SecretUrl;
use acequia_schema::migrate;
use acequia_store::ticks::{self, Call, Outcome};
use acequia_store::{db, marts};
use acequia_testkit::wait_for;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::bench::{Feed, delivery, feed, install};
use super::cases::{Says, Sent};
use super::oracle::Heard;
use crate::support::Platform;

/// A database with the domain and its functions, none of them registered.
async fn domain_with_ticks() -> Platform {
    let platform = Platform::new().await;
    install(&mut platform.connect().await).await;
    platform.execute(include_str!("ticks.sql")).await;
    platform
}

/// A session of the worker's login.
async fn worker(platform: &Platform) -> PgConnection {
    db::connect(&platform.database_url(), "test").await.unwrap()
}

async fn call(connection: &mut PgConnection) -> Option<Call> {
    ticks::call_next(connection, "pruebas").await.unwrap()
}

/// The calls that were committed.
async fn calls(platform: &Platform, tick: &str) -> i64 {
    let count = format!("select count(*) from pruebas.llamadas where tick = 'pruebas.{tick}'");
    platform.number(&count).await
}

fn done(tick: &str, changed: i32) -> Option<Call> {
    Some(Call {
        function: format!("pruebas.{tick}"),
        outcome: Outcome::Done(changed),
    })
}

/// The failures in a row, and the error.
fn failed(call: Option<Call>, tick: &str) -> (i32, String) {
    match call {
        Some(Call {
            function,
            outcome: Outcome::Failed { failures, error },
        }) if function == format!("pruebas.{tick}") => (failures, error),
        other => panic!("{tick} did not fail: {other:?}"),
    }
}

/// A version of an article of some age.
fn article(number: i32, hours: i64) -> Sent {
    let at = chrono::Utc::now() - chrono::TimeDelta::hours(hours);
    let body = json!({"id_articulo": number, "nombre": "n"});
    Sent {
        heard: Heard {
            entity: "articulo",
            id: Uuid::now_v7(),
            at: at.timestamp_micros(),
            deletes: false,
            body: body.as_object().unwrap().clone(),
        },
        says: Says::Nothing,
        untimed: false,
    }
}

async fn promote(feed: &mut Feed, sent: &[Sent]) {
    let deliveries: Vec<_> = (1..)
        .zip(sent)
        .map(|(tag, sent)| delivery(tag, sent))
        .collect();
    feed.stage(&deliveries).await;
    feed.promote_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_is_called_once_in_its_interval_with_the_time_of_the_database() {
    let platform = domain_with_ticks().await;
    let mut worker = worker(&platform).await;
    let due_in = ticks::due_in(&mut worker, "pruebas").await.unwrap();
    assert_eq!((due_in, call(&mut worker).await), (None, None));

    platform
        .execute("insert into core.ticks (function, domain, every) values ('pruebas.marca', 'pruebas', '1 hour')")
        .await;
    let due_in = ticks::due_in(&mut worker, "pruebas").await.unwrap();
    assert_eq!(due_in, Some(Duration::ZERO));
    platform
        .execute("create table pruebas.antes as select clock_timestamp() as at")
        .await;
    assert_eq!(call(&mut worker).await, done("marca", 0));
    let of_the_database = "select count(*) from pruebas.llamadas c, pruebas.antes a where c.at between a.at and clock_timestamp()";
    assert_eq!(platform.number(of_the_database).await, 1);
    assert_eq!(call(&mut worker).await, None);
    let due_in = ticks::due_in(&mut worker, "pruebas")
        .await
        .unwrap()
        .unwrap();
    assert!(
        !due_in.is_zero() && due_in <= Duration::from_secs(3600),
        "{due_in:?}"
    );

    // Nobody worked for ten days: one call, with the present time, and the next after an interval.
    platform
        .execute("update core.tick_state set due_at = due_at - interval '10 days'; delete from pruebas.llamadas; update pruebas.antes set at = clock_timestamp()")
        .await;
    assert_eq!(call(&mut worker).await, done("marca", 0));
    assert_eq!(call(&mut worker).await, None);
    assert_eq!(platform.number(of_the_database).await, 1);
    let ahead = "select count(*) from core.tick_state where due_at = ran_at + interval '1 hour'";
    assert_eq!(platform.number(ahead).await, 1);

    // In step: a call that is a little late does not move those that follow.
    platform
        .execute("update core.tick_state set due_at = date_trunc('minute', clock_timestamp())")
        .await;
    assert_eq!(call(&mut worker).await, done("marca", 0));
    let in_step = "select count(*) from core.tick_state where due_at = date_trunc('minute', due_at) and due_at > ran_at";
    assert_eq!(platform.number(in_step).await, 1);

    // The clock was set back: nobody waits for days.
    platform
        .execute("update core.tick_state set due_at = clock_timestamp() + interval '3 days'")
        .await;
    let due_in = ticks::due_in(&mut worker, "pruebas").await.unwrap();
    assert_eq!(due_in, Some(Duration::ZERO));
    assert_eq!(call(&mut worker).await, done("marca", 0));
    assert_eq!(call(&mut worker).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_fails_leaves_nothing_and_hinders_nobody() {
    let platform = domain_with_ticks().await;
    let mut feed = feed(&platform).await;
    // In the order of the names; the time limit ends what sleeps.
    platform
        .execute(
            "insert into core.ticks (function, domain, every, at_most, changes) values
             ('pruebas.debe', 'pruebas', '1 minute', '1 minute', '{}'),
             ('pruebas.duerme', 'pruebas', '1 minute', '100 milliseconds', '{}'),
             ('pruebas.marca', 'pruebas', '1 minute', '1 minute', '{}'),
             ('pruebas.rompe', 'pruebas', '1 minute', '1 minute', '{}');
             update core.tick_state set due_at = '2020-01-01'",
        )
        .await;
    let (failures, error) = failed(call(&mut feed.connection).await, "debe");
    assert!(failures == 1 && error.contains("23503"), "{error}");
    let (failures, error) = failed(call(&mut feed.connection).await, "duerme");
    assert!(failures == 1 && error.contains("57014"), "{error}");
    assert_eq!(call(&mut feed.connection).await, done("marca", 0));
    let (failures, error) = failed(call(&mut feed.connection).await, "rompe");
    assert!(
        failures == 1 && error.contains("broken on purpose"),
        "{error}"
    );
    // Promotion goes on, with the session's own time limit.
    promote(&mut feed, &[article(1, 0)]).await;
    let promoted = "select count(*) from pruebas.vigentes";
    assert_eq!(platform.number(promoted).await, 1);

    let left = "select (select count(*) from pruebas.llamadas where tick <> 'pruebas.marca') + (select count(*) from core.outbox)
        + (select count(*) from pruebas.deuda)";
    assert_eq!(platform.number(left).await, 0);
    let noted = "select count(*) from core.tick_status where failures = 1 and error is not null and failed_at is not null
        and ran_at is null and due_at > failed_at";
    assert_eq!(platform.number(noted).await, 3);
    let logged = "select count(*) from core.etl_run_log where loop = 'ticks' and domain = 'pruebas' and status = 'failed'";
    assert_eq!(platform.number(logged).await, 3);

    platform
        .execute("delete from core.ticks where function <> 'pruebas.rompe'")
        .await;
    // Again and again, more and more rarely, until it is repaired.
    for expected in 2..=12 {
        platform
            .execute("update core.tick_state set due_at = now() where function = 'pruebas.rompe'")
            .await;
        let (failures, _) = failed(call(&mut feed.connection).await, "rompe");
        assert_eq!(failures, expected);
    }
    let pause = "select extract(epoch from due_at - failed_at)::bigint from core.tick_state where function = 'pruebas.rompe'";
    assert_eq!(platform.number(pause).await, 300);
    platform
        .execute(
            "create or replace function pruebas.rompe(p_at timestamptz) returns integer language sql as 'select null::integer';
             update core.tick_state set due_at = now() where function = 'pruebas.rompe'",
        )
        .await;
    assert_eq!(call(&mut feed.connection).await, done("rompe", 0));
    let repaired = "select count(*) from core.tick_status where function = 'pruebas.rompe' and failures = 0 and error is null and changed = 0";
    assert_eq!(platform.number(repaired).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tick_changes_reaches_the_outbox_and_the_marts() {
    const MART: &str = "marts.pruebas_vigentes";
    const BEHIND: &str = "select count(*) from core.mart_status where mart = 'marts.pruebas_vigentes' and needs_refresh";
    let platform = domain_with_ticks().await;
    let mut feed = feed(&platform).await;
    platform
        .execute(
            "insert into core.derived_tables (table_name, core_table) values ('pruebas.vigentes', 'pruebas.articulos');
             create materialized view marts.pruebas_vigentes as select id_articulo from pruebas.vigentes;
             create unique index on marts.pruebas_vigentes (id_articulo);
             insert into core.marts (mart, domain, kind, position, depends_on, objective)
             values ('marts.pruebas_vigentes', 'pruebas', 'materialized', 1, '{pruebas.articulos}', '1 minute');
             insert into core.ticks (function, domain, every, changes) values ('pruebas.caduca', 'pruebas', '1 minute', '{pruebas.vigentes}')",
        )
        .await;
    let mut owner = platform.connect().await;
    let mut refresh = async || {
        let limit = Duration::from_secs(60);
        let refreshed = marts::refresh(&mut owner, MART, limit).await.unwrap();
        let marts::Refreshed::Rows(rows) = refreshed else {
            panic!("{refreshed:?}")
        };
        rows
    };
    promote(&mut feed, &[article(1, 0), article(2, 3)]).await;
    assert_eq!((platform.number(BEHIND).await, refresh().await), (1, 2));

    assert_eq!(call(&mut feed.connection).await, done("caduca", 1));
    let told = platform
        .texts("select routing_key || ' ' || key || ' ' || (body ->> 'articulo') from core.outbox where published_at is null")
        .await;
    assert_eq!(told, ["pruebas.caducado 2 2"]);
    assert_eq!((platform.number(BEHIND).await, refresh().await), (1, 1));
    let logged = "select processed_count from core.etl_run_log where loop = 'ticks' and status = 'ok' and detail = 'pruebas.caduca'";
    assert_eq!(platform.number(logged).await, 1);

    // The next call finds nothing to do, and marts stay as they are.
    platform
        .execute("update core.tick_state set due_at = now()")
        .await;
    assert_eq!(call(&mut feed.connection).await, done("caduca", 0));
    assert_eq!(platform.number(BEHIND).await, 0);
    // A test moves the clock: the other article is old tomorrow.
    let tomorrow = "select pruebas.caduca(now() + interval '1 day')::bigint";
    assert_eq!(platform.number(tomorrow).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_runs_in_one_process_at_a_time() {
    let platform = domain_with_ticks().await;
    platform
        .execute(
            "insert into core.ticks (function, domain, every, at_most) values ('pruebas.espera', 'pruebas', '1 hour', '1 minute')",
        )
        .await;
    let mut holder = platform.connect().await;
    sqlx::query("select pg_advisory_lock(63)")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut first = worker(&platform).await;
    let first = tokio::spawn(async move { call(&mut first).await });
    let waits =
        "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 63
        and database = (select oid from pg_database where datname = current_database())";
    wait_for("a call that is under way", async || {
        Ok(platform.number(waits).await == 1)
    })
    .await
    .unwrap();
    let mut second = worker(&platform).await;
    let due_in = ticks::due_in(&mut second, "pruebas").await.unwrap();
    assert_eq!(
        (due_in, call(&mut second).await),
        (Some(Duration::ZERO), None)
    );
    holder.close().await.unwrap();
    assert_eq!(first.await.unwrap(), done("espera", 0));
    assert_eq!(call(&mut second).await, None);
    assert_eq!(calls(&platform, "espera").await, 1);
}

/// The worker calls what the owner has registered, and decides nothing about it.
#[tokio::test(flavor = "multi_thread")]
async fn the_workers_login_may_call_ticks_and_no_more() {
    let platform = domain_with_ticks().await;
    platform
        .execute("insert into core.ticks (function, domain, every) values ('pruebas.marca', 'pruebas', '1 hour')")
        .await;
    let mut worker = worker(&platform).await;
    for statement in [
        "insert into core.ticks (function, domain, every) values ('pruebas.rompe', 'pruebas', '1 hour')",
        "update core.ticks set every = '1 second'",
        "update core.tick_state set due_at = now()",
        "select pruebas.marca(now() + interval '1 day')",
        "select core.note_changed('{pruebas.articulos}')",
    ] {
        let denied = sqlx::query(statement).execute(&mut worker).await;
        let code = denied.unwrap_err().into_database_error().unwrap();
        assert_eq!(code.code().as_deref(), Some("42501"), "{statement}");
    }
    // What is not registered is not called.
    let called: i32 = sqlx::query_scalar("select core.run_tick('pruebas.rompe')")
        .fetch_one(&mut worker)
        .await
        .unwrap();
    assert_eq!((called, calls(&platform, "rompe").await), (0, 0));
    assert_eq!(call(&mut worker).await, done("marca", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_worker_could_not_call_is_refused() {
    let platform = domain_with_ticks().await;
    platform
        .execute(
            "create function pruebas.grande(p_at timestamptz) returns bigint language sql as 'select 1::bigint';
             create function pruebas.varias(p_at timestamptz) returns setof integer language sql as 'select 1';
             create function pruebas.nada() returns integer language sql as 'select 1'",
        )
        .await;
    let mut owner = platform.connect().await;
    let mut register = async |function: &str, changes: &str| {
        let inserted = sqlx::query(
            "insert into core.ticks (function, domain, every, changes) values ($1, 'pruebas', '1 minute', $2::text[])",
        )
        .bind(function)
        .bind(changes)
        .execute(&mut owner)
        .await;
        inserted.err().map(|error| error.to_string())
    };
    for function in ["grande", "varias", "nada", "ninguna"] {
        let function = format!("pruebas.{function}");
        let error = register(&function, "{}").await.unwrap();
        let expected = format!("there is no function {function}(timestamptz) that returns integer");
        assert!(error.contains(&expected), "{error}");
    }
    for foreign in ["pg_catalog.now", "pruebas.marca;x"] {
        assert!(register(foreign, "{}").await.is_some(), "{foreign}");
    }
    let error = register("pruebas.marca", "{pruebas.vigentes}")
        .await
        .unwrap();
    assert!(
        error.contains("pruebas.vigentes of tick pruebas.marca is neither"),
        "{error}"
    );
    assert_eq!(register("pruebas.marca", "{pruebas.articulos}").await, None);
    assert_eq!(call(&mut worker(&platform).await).await, done("marca", 0));

    // A function that goes later is named by the next migration and by each start of a worker.
    let url = SecretUrl::parse(&platform.database.owner, &["postgres"]).unwrap();
    migrate(&url, &[]).await.unwrap();
    platform.execute("drop function pruebas.marca").await;
    let error = format!("{:#}", migrate(&url, &[]).await.unwrap_err());
    assert!(
        error.contains("function pruebas.marca(timestamptz) returns integer, a tick of core.ticks"),
        "{error}"
    );
    let mut connection = worker(&platform).await;
    let refused = acequia_schema::check(&mut connection).await.unwrap_err();
    assert!(refused.to_string().contains("pruebas.marca"), "{refused}");
    // What is no longer listed is forgotten.
    platform.execute("delete from core.ticks").await;
    migrate(&url, &[]).await.unwrap();
    assert_eq!(
        platform
            .number("select count(*) from core.tick_state")
            .await,
        0
    );
}
