//! Rows are removed when their retention ends, and the ledger still balances.

use std::time::Duration;

use acequia_store::housekeeping::{self, ensure_partitions};
use acequia_testkit::wait_for;
use acequia_worker::config::LoopArgs;
use chrono::{DateTime, Days, Utc};
use clap::Parser;
use lapin::BasicProperties;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::{Message, Platform};

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    loops: LoopArgs,
}

async fn number(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(connection)
        .await
        .unwrap()
}

const STAGED_ROWS: &str = "select count(*) from stg.alumnos_upsert";

/// Retention as at an instant, to its end; returns what went.
pub async fn retain(
    connection: &mut PgConnection,
    settings: &LoopArgs,
    at: DateTime<Utc>,
) -> Vec<(String, i64)> {
    let within = Duration::from_secs(600);
    let retained = housekeeping::retain(connection, &settings.periods(), at, within)
        .await
        .unwrap();
    assert!(!retained.more);
    retained.removed
}

/// The settings of a worker that is given these options.
pub fn settings(options: &[&str]) -> LoopArgs {
    let arguments = ["worker"].iter().chain(options);
    Settings::try_parse_from(arguments).unwrap().loops
}

/// The server's clock.
pub async fn now(connection: &mut PgConnection) -> DateTime<Utc> {
    sqlx::query_scalar("select now()")
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Returns when the server's day lasts for 30 s at least: ids, partitions and the retention of a test are of one day.
pub async fn a_day_that_lasts(platform: &Platform) {
    let lasts = "select ((now() + interval '30 s') at time zone 'UTC')::date = (now() at time zone 'UTC')::date";
    wait_for("a new day", async || {
        Ok(sqlx::query_scalar(lasts)
            .fetch_one(&mut platform.connect().await)
            .await?)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_and_the_accounts_stay() {
    let platform = Platform::new().await;
    a_day_that_lasts(&platform).await;
    let mut owner = platform.connect().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    // Two students with a day in their id, one without; one mark whose student never comes.
    for id in 1..=3 {
        let message_id = if id < 3 {
            Uuid::now_v7().to_string()
        } else {
            "no-day".to_owned()
        };
        let body = format!(r#"{{"id_alumno":{id},"nombre":"A","edad":20,"genero":"F"}}"#);
        let properties = BasicProperties::default().with_message_id(message_id.into());
        platform
            .publish("acequia", "academico.alumno", properties, body.as_bytes())
            .await;
    }
    let orphan = br#"{"id_alumno":99,"id_grupo":99,"calificacion":5}"#;
    platform
        .publish(
            "acequia",
            "academico.calificacion",
            BasicProperties::default(),
            orphan,
        )
        .await;
    platform
        .publish(
            "acequia",
            "academico.alumno",
            BasicProperties::default(),
            b"{}",
        )
        .await;
    platform.settled(5).await;
    worker.stop().await;
    // As the worker does before retention: its last promotion may have been before the batch of the refused message.
    housekeeping::settle(&mut owner, "academico").await.unwrap();
    assert_eq!(number(&mut owner, STAGED_ROWS).await, 3);

    // Nothing is old yet.
    let settings = settings(&[]);
    let today = now(&mut owner).await;
    assert_eq!(retain(&mut owner, &settings, today).await, Vec::new());
    assert_eq!(number(&mut owner, STAGED_ROWS).await, 3);

    // With no time to live everything is old, but for the mark that waits for its student. Nobody
    // has this, so the bounds go.
    platform
        .execute("alter table core.retention drop constraint kept_long_enough; update core.retention set keep = interval '0';
            update raw.quarantine set status = 'replayed'")
        .await;
    let before: Vec<(String, i64, i64, i64)> = conservation(&mut owner).await;
    let none = LoopArgs {
        staging_keep: Duration::ZERO,
        quarantine_keep: Duration::ZERO,
        log_keep: Duration::ZERO,
        ..settings
    };
    // Days before today go as partitions: today's stays until tomorrow.
    sqlx::query("update core.batches set received_at = received_at - interval '2 days', promoted_at = promoted_at - interval '2 days'")
        .execute(&mut owner)
        .await
        .unwrap();
    let removed = retain(&mut owner, &none, today).await;
    assert!(
        removed.iter().any(|(what, _)| what == "core.batches"),
        "{removed:?}"
    );
    assert_eq!(
        number(&mut owner, STAGED_ROWS).await,
        2,
        "the one without a day went by row"
    );
    assert_eq!(
        number(&mut owner, "select count(*) from core.pending").await,
        1
    );
    assert_eq!(
        number(&mut owner, "select count(*) from stg.calificaciones_event").await,
        1
    );
    assert_eq!(
        number(&mut owner, "select count(*) from raw.quarantine").await,
        0
    );
    assert_eq!(
        number(&mut owner, "select count(*) from core.batches").await,
        1,
        "the batch of the mark"
    );
    assert_eq!(conservation(&mut owner).await, before);
    assert_eq!(platform.total().await.unaccounted, 0);

    // Yesterday's partition is dropped once it is older than the time to live, and made again.
    let yesterday = "select count(*) from pg_class where relname ~ '^alumnos_upsert_p[0-9]{8}$'
        and to_date(right(relname, 8), 'YYYYMMDD') < (now() at time zone 'UTC')::date";
    assert_eq!(number(&mut owner, yesterday).await, 0);
    assert!(ensure_partitions(&mut owner).await.unwrap() > 0);
    assert_eq!(number(&mut owner, yesterday).await, 1);

    // The student comes at last: the mark was not forgotten.
    let worker = platform.worker(&[]);
    worker.ready().await;
    let student = br#"{"id_alumno":99,"nombre":"A","edad":20,"genero":"F"}"#;
    platform
        .publish(
            "acequia",
            "academico.alumno",
            BasicProperties::default(),
            student,
        )
        .await;
    platform.settled(6).await;
    assert_eq!(platform.total().await.unaccounted, 0);
    worker.stop().await;
}

/// Days are those of UTC, as in ids, whatever zone a session has.
#[tokio::test(flavor = "multi_thread")]
async fn days_are_of_utc_in_every_zone() {
    let platform = Platform::new().await;
    a_day_that_lasts(&platform).await;
    ensure_partitions(&mut platform.connect().await)
        .await
        .unwrap();
    let days = "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'stg.alumnos_upsert'::regclass order by 1";
    let before = platform.texts(days).await;
    assert!(!before.is_empty());
    // At any hour it is another day in one of them.
    for zone in ["set timezone = 'Etc/GMT-14'", "set timezone = 'Etc/GMT+12'"] {
        let mut elsewhere = platform.connect().await;
        sqlx::raw_sql(zone).execute(&mut elsewhere).await.unwrap();
        ensure_partitions(&mut elsewhere).await.unwrap();
        assert_eq!(platform.texts(days).await, before, "{zone}");
    }
}

async fn conservation(connection: &mut PgConnection) -> Vec<(String, i64, i64, i64)> {
    sqlx::query_as(
        "select entity, received::bigint, (promoted + stale + duplicates)::bigint, (pending + quarantined)::bigint from core.conservation",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// With each day that passes as much goes as came on the day that is too old now.
#[tokio::test(flavor = "multi_thread")]
async fn the_quarantine_stops_growing() {
    const DAYS: u64 = 8;
    const A_DAY: u64 = 3;
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    // One day for the whole test, whatever day it is when it ends.
    let today = now(&mut owner).await;
    let seconds = u64::try_from(today.timestamp()).unwrap();
    let mut messages = Vec::new();
    for day in 0..DAYS {
        let date = today.date_naive() - Days::new(day);
        platform
            .execute(&format!(
                "select core.partition_by_day('raw.quarantine', '{date}')"
            ))
            .await;
        for copy in 0..A_DAY {
            let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds - day * 86_400, 0);
            let id = Uuid::new_v7(time).to_string();
            let message = Message::new("academico", "alumno", format!("[{day}, {copy}]"));
            messages.push(message.with_id(&id));
        }
    }
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform.publish_all(&messages).await;
    platform
        .settled(i64::try_from(messages.len()).unwrap())
        .await;
    worker.stop().await;
    // Every one came on the day of its id, and was edited once, which was written down.
    platform
        .execute(
            "update raw.quarantine set received_at = day::timestamp at time zone 'UTC', last_seen_at = day::timestamp at time zone 'UTC';
             update core.quarantine_open o set received_at = q.received_at from raw.quarantine q where q.message_id = o.message_id;
             insert into raw.quarantine_versions (quarantine_id, version, body, by) select quarantine_id, 1, '', 'ana' from raw.quarantine;
             insert into core.audit_log (at, who, action, quarantine_ids) select day::timestamp at time zone 'UTC', 'ana', 'edit', array[quarantine_id] from raw.quarantine",
        )
        .await;

    let settings = settings(&[]);
    platform
        .execute("alter table core.retention drop constraint kept_long_enough; update core.retention set keep = interval '0';
            update raw.quarantine set status = 'discarded'")
        .await;
    for keep in (1..DAYS).rev() {
        let keep_for = Duration::from_secs(keep * 86_400);
        let settings = LoopArgs {
            quarantine_keep: keep_for,
            log_keep: keep_for,
            ..settings.clone()
        };
        retain(&mut owner, &settings, today).await;
        // The day that began before the time to keep is kept whole.
        let left = i64::try_from((keep + 1) * A_DAY).unwrap();
        let rows = "select count(*) from raw.quarantine";
        assert_eq!(number(&mut owner, rows).await, left, "{keep} days");
        let oldest = today.date_naive() - Days::new(keep);
        let days =
            "select min(right(relname, 8)) from pg_class where relname ~ '^quarantine_p[0-9]{8}$'";
        assert_eq!(
            platform.texts(days).await,
            [oldest.format("%Y%m%d").to_string()]
        );
        let versions = "select count(*) from raw.quarantine_versions";
        assert_eq!(number(&mut owner, versions).await, left);
        let audit = "select count(*) from core.audit_log";
        assert_eq!(
            number(&mut owner, audit).await,
            i64::try_from(keep * A_DAY).unwrap()
        );
        assert_eq!(retain(&mut owner, &settings, today).await, Vec::new());
    }
    assert_eq!(platform.total().await.unaccounted, 0);
}

/// Retention begins by itself, some seconds after the start of a worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_removes_old_rows_by_itself() {
    let platform = Platform::new().await;
    platform
        .execute(
            "insert into core.etl_run_log (loop, domain, started_at, finished_at, status)
             select 'check', 'academico', at, at, 'failed' from unnest(array[now(), now() - interval '10 years']) at",
        )
        .await;
    let worker = platform.worker(&[]);
    wait_for("retention", async || {
        let old =
            "select count(*) from core.etl_run_log where started_at < now() - interval '1 year'";
        Ok(platform.number(old).await == 0)
    })
    .await
    .unwrap();
    let new = "select count(*) from core.etl_run_log where loop = 'check' and domain = 'academico' and status = 'failed'";
    assert_eq!(platform.number(new).await, 1);
    worker.stop().await;
}
