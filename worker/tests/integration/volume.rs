//! Staging as it grows: ids without a day, days that end, readers that take long, messages that come late.

use std::time::Duration;

use acequia_store::housekeeping::{Retained, ensure_partitions};
use acequia_store::{housekeeping, promotion};
use acequia_worker::config::LoopArgs;
use chrono::{DateTime, Days, NaiveDate, Utc};
use lapin::BasicProperties;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use crate::retention::{now, retain, settings};
use crate::support::Platform;
use crate::support::school::{DOMAIN, alumno, alumno_body};

/// Two months ago, of which nothing is kept by default.
fn long_ago(today: DateTime<Utc>) -> NaiveDate {
    today.date_naive() - Days::new(60)
}

/// An id of a day.
fn id_of(day: NaiveDate) -> String {
    let seconds = day.and_hms_opt(12, 0, 0).unwrap().and_utc().timestamp();
    let time = uuid::Timestamp::from_unix(uuid::NoContext, u64::try_from(seconds).unwrap(), 0);
    Uuid::new_v7(time).to_string()
}

fn partition(table: &str, day: NaiveDate) -> String {
    format!("{table}_p{}", day.format("%Y%m%d"))
}

impl Platform {
    async fn has(&self, table: &str) -> bool {
        let there = format!("select (to_regclass('{table}') is not null)::int::bigint");
        self.number(&there).await == 1
    }

    /// Makes the partition of a day.
    async fn day(&self, day: NaiveDate) -> String {
        self.execute(&format!(
            "select core.partition_by_day('stg.alumnos_upsert', '{day}')"
        ))
        .await;
        partition("stg.alumnos_upsert", day)
    }
}

/// Students in staging, as a worker writes them.
fn stage(first: i32, count: i32, day: NaiveDate, arrived: DateTime<Utc>) -> String {
    format!(
        "with b as (
             insert into core.batches (batch_id, domain, queue, worker, state, received_at)
             values (nextval('core.batch_id'), 'academico', 'q', 'w', 'staged', '{arrived}') returning batch_id
         ), e as (
             insert into core.batch_entities (batch_id, domain, entity, received, staged, oldest_published_at, newest_published_at)
             select batch_id, 'academico', 'alumno', {count}, {count}, now(), now() from b
         )
         insert into stg.alumnos_upsert (message_id, day, batch_id, event_at, published_at, ts_ingesta, id_alumno, nombre, edad, genero)
         select gen_random_uuid(), '{day}', b.batch_id, now(), null, '{arrived}', i, 'A', 20, 'F'
         from b, generate_series({first}, {first} + {count} - 1) i
         on conflict do nothing"
    )
}

const NO_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

async fn promote_all(platform: &Platform) {
    let mut connection = platform.connect().await;
    while !promotion::promote(&mut connection, DOMAIN, 100_000)
        .await
        .unwrap()
        .is_empty()
    {}
}

/// More than a single look takes, in one round; what waits stays, and so does what came later.
#[tokio::test(flavor = "multi_thread")]
async fn ids_without_a_day_leave_as_fast_as_they_come() {
    const OLD: i32 = 60_000;
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let today = now(&mut owner).await;
    let past = today - Days::new(31);
    platform.execute(&stage(1, OLD, NO_DAY, past)).await;
    platform.execute(&stage(OLD + 1, 10, NO_DAY, today)).await;
    promote_all(&platform).await;
    // Old as well: a row that waits for its parent, and rows that wait for promotion.
    platform
        .execute(
            "insert into core.pending (entity, message_id, day, batch_id, parent, parent_key)
             select 'academico.alumno', message_id, day, batch_id, 'academico.maestro', '1' from stg.alumnos_upsert where id_alumno = 7;
             update core.batch_entities set inserted = inserted - 1, pending = 1 where batch_id = (select batch_id from core.pending)",
        )
        .await;
    platform.execute(&stage(OLD + 11, 10, NO_DAY, past)).await;
    // None of them is in the default partition, which is read whenever a day is added.
    for (partition, rows) in [("_default", 0), ("_undated", i64::from(OLD) + 20)] {
        let count = format!("select count(*) from stg.alumnos_upsert{partition}");
        assert_eq!(platform.number(&count).await, rows, "{partition}");
    }
    let removed = retain(&mut owner, &settings(&[]), today).await;
    assert!(
        removed.contains(&("stg.alumnos_upsert_undated".to_owned(), i64::from(OLD) - 1)),
        "{removed:?}"
    );
    assert_eq!(
        platform
            .number("select count(*) from stg.alumnos_upsert")
            .await,
        21
    );
    promote_all(&platform).await;
    let removed = retain(&mut owner, &settings(&[]), today).await;
    assert!(
        removed.contains(&("stg.alumnos_upsert_undated".to_owned(), 10)),
        "{removed:?}"
    );
    assert_eq!(platform.total().await.unaccounted, 0);
}

/// A new day does not read the rows that have none, nor wait for who reads for long.
#[tokio::test(flavor = "multi_thread")]
async fn days_are_made_beside_rows_without_a_day_and_beside_long_readers() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let today = now(&mut owner).await;
    platform.execute(&stage(1, 5_000, NO_DAY, today)).await;
    let read = "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_user_tables where schemaname = 'stg' and relname ~ '^alumnos_upsert'";
    let before = platform.number(read).await;
    platform
        .execute(&format!(
            "select core.partition_by_day('stg.alumnos_upsert', '{}'), pg_stat_force_next_flush()",
            today.date_naive() + Days::new(40)
        ))
        .await;
    assert_eq!(platform.number(read).await, before);

    let ahead = partition("stg.alumnos_upsert", today.date_naive() + Days::new(3));
    platform.execute(&format!("drop table {ahead}")).await;
    let mut dump = platform.connect().await;
    let mut reading = dump.begin().await.unwrap();
    sqlx::query("select count(*) from stg.alumnos_upsert")
        .execute(&mut *reading)
        .await
        .unwrap();
    ensure_partitions(&mut owner).await.unwrap();
    assert!(!platform.has(&ahead).await);
    reading.commit().await.unwrap();
    ensure_partitions(&mut owner).await.unwrap();
    assert!(platform.has(&ahead).await);
}

/// Whoever reads a table for long delays retention of it, of nothing else, and no insert.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_reader_delays_retention_and_nobody_else() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let today = now(&mut owner).await;
    let old = platform.day(long_ago(today)).await;
    let other = partition("stg.maestros_upsert", long_ago(today));
    platform
        .execute(&format!(
            "select core.partition_by_day('stg.maestros_upsert', '{}')",
            long_ago(today)
        ))
        .await;
    let mut dump = platform.connect().await;
    let mut reading = dump.begin().await.unwrap();
    sqlx::query("select count(*) from stg.alumnos_upsert")
        .execute(&mut *reading)
        .await
        .unwrap();

    let database = platform.database.owner.clone();
    let retaining = tokio::spawn(async move {
        let mut connection = PgConnection::connect(&database).await.unwrap();
        retain(&mut connection, &settings(&[]), today).await
    });
    let mut inserts = platform.connect().await;
    sqlx::query("set lock_timeout = '1s'")
        .execute(&mut inserts)
        .await
        .unwrap();
    let mut first = 1;
    while !retaining.is_finished() {
        let insert = stage(first, 1, today.date_naive(), today);
        sqlx::query(AssertSqlSafe(insert))
            .execute(&mut inserts)
            .await
            .expect("an insert that waits for nobody");
        first += 1;
    }
    retaining.await.unwrap();
    assert!(platform.has(&old).await, "somebody reads it");
    assert!(!platform.has(&other).await, "nobody reads it");
    reading.commit().await.unwrap();
    promote_all(&platform).await;
    retain(&mut owner, &settings(&[]), today).await;
    assert!(!platform.has(&old).await);
}

/// A message for a day that is about to be dropped, staged at the worst moment: after retention has
/// looked at the partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_rows_that_wait_is_not_dropped_whenever_they_come() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let today = now(&mut owner).await;
    let old = platform.day(long_ago(today)).await;
    let rows = "select count(*) from stg.alumnos_upsert";

    // A worker's transaction that has inserted and not committed yet.
    let mut worker = platform.connect().await;
    let mut staging = worker.begin().await.unwrap();
    sqlx::query(AssertSqlSafe(stage(1, 5, long_ago(today), today)))
        .execute(&mut *staging)
        .await
        .unwrap();
    let database = platform.database.owner.clone();
    let retaining = tokio::spawn(async move {
        let mut connection = PgConnection::connect(&database).await.unwrap();
        // As workers of any version call it.
        let old: Vec<(String, i64)> =
            sqlx::query_as("select * from core.retain('30 days', '30 days', '30 days')")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        (old, retain(&mut connection, &settings(&[]), today).await)
    });
    acequia_testkit::wait_for("retention at the lock, or at its end", async || {
        let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database where d.datname = current_database() and not l.granted";
        Ok(retaining.is_finished() || platform.number(waiting).await > 0)
    })
    .await
    .unwrap();
    staging.commit().await.unwrap();
    retaining.await.unwrap();
    assert!(platform.has(&old).await);
    assert_eq!(platform.number(rows).await, 5);

    // Promoted, but one waits for its parent.
    promote_all(&platform).await;
    platform
        .execute(
            "insert into core.pending (entity, message_id, day, batch_id, parent, parent_key)
             select 'academico.alumno', message_id, day, batch_id, 'academico.maestro', '1' from stg.alumnos_upsert where id_alumno = 3",
        )
        .await;
    retain(&mut owner, &settings(&[]), today).await;
    assert!(platform.has(&old).await);
    platform.execute("delete from core.pending").await;
    let removed = retain(&mut owner, &settings(&[]), today).await;
    assert_eq!(removed, [(format!("{old} (partition)"), 1)]);

    // Messages of that day still come, a copy among them: they are kept as long as others.
    let worker = platform.worker(&[]);
    worker.ready().await;
    let late = alumno(1).with_id(&id_of(long_ago(today)));
    let properties = BasicProperties::default().with_message_id(late.id().into());
    for body in [alumno_body(1).to_string(), alumno_body(1).to_string()] {
        platform
            .publish(
                "acequia",
                "academico.alumno",
                properties.clone(),
                body.as_bytes(),
            )
            .await;
    }
    platform.settled(7).await;
    worker.stop().await;
    retain(&mut owner, &settings(&[]), today).await;
    assert_eq!(platform.number(rows).await, 1);
    let total = platform.total().await;
    assert_eq!((total.duplicates, total.unaccounted), (1, 0));
    retain(
        &mut owner,
        &settings(&["--staging-keep", "1s"]),
        today + Days::new(1),
    )
    .await;
    assert_eq!(platform.number(rows).await, 1, "no clock but the server's");
}

/// A row that is quarantined late is kept as long as one that was quarantined on the day of its id.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_quarantined_late_is_kept_as_long_as_others() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let today = now(&mut owner).await;
    let day = today.date_naive() - Days::new(364);
    platform
        .execute(&format!(
            "select core.partition_by_day('raw.quarantine', '{day}')"
        ))
        .await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let properties = BasicProperties::default().with_message_id(id_of(day).into());
    platform
        .publish("acequia", "academico.alumno", properties, b"{")
        .await;
    platform.settled(1).await;
    worker.stop().await;
    platform
        .execute("update core.retention set keep = '300 days' where what = 'quarantine'; update raw.quarantine set status = 'replayed'")
        .await;
    retain(&mut owner, &settings(&[]), today).await;
    assert_eq!(platform.total().await.quarantined, 1);
    let rows = "select count(*) from raw.quarantine";
    assert_eq!(platform.number(rows).await, 1);
    platform
        .execute("update raw.quarantine set last_seen_at = now() - interval '301 days'")
        .await;
    retain(&mut owner, &settings(&[]), today).await;
    assert_eq!(platform.number(rows).await, 0);
}

/// Logs of what happens often: equal results in a row are thinned, and nothing else is.
#[tokio::test(flavor = "multi_thread")]
async fn logs_keep_changes_and_failures() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let today = now(&mut owner).await;
    platform
        .execute(
            "insert into core.etl_run_log (loop, domain, started_at, finished_at, status)
             select 'promote', 'academico', t, t, case extract(minute from t) when 30 then 'failed' else 'ok' end
             from generate_series(date_trunc('hour', now()) - interval '4 hours', date_trunc('hour', now()) - interval '3 hours 1 minute', interval '1 minute') t;
             insert into core.dq_results (check_name, schema_name, table_name, passed, check_time, domain, severity, outcome, measured)
             select rule, schema_name, table_name, false, date_trunc('hour', now()) - interval '26 hours' + m * interval '1 minute', domain, severity, 'fail', m / 30
             from core.dq_rules, generate_series(0, 59) m where domain = 'academico'",
        )
        .await;
    let rules = platform
        .number("select count(*) from core.dq_rules where domain = 'academico'")
        .await;
    retain(&mut owner, &settings(&[]), today).await;
    assert_eq!(
        platform
            .number("select count(*) from core.etl_run_log where loop = 'promote'")
            .await,
        5,
        "two before the failure, the failure, two after it"
    );
    assert_eq!(
        platform
            .number("select count(*) from core.dq_results")
            .await,
        4 * rules
    );
}

/// Time for a round is bounded: the next round does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_ends_when_its_time_is_over() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let today = now(&mut owner).await;
    let settings: LoopArgs = settings(&[]);
    let round = housekeeping::retain(&mut owner, &settings.periods(), today, Duration::ZERO)
        .await
        .unwrap();
    let nothing = Retained {
        removed: Vec::new(),
        more: true,
    };
    assert_eq!(round, nothing);
}
