//! A database that an earlier release has filled.

use std::path::Path;
use std::process::Stdio;

use acequia_contracts::catalog;
use acequia_schema::migrate;
use acequia_testkit::{TestDatabase, TestEnv};
use tokio::process::Command;

use super::{ALL, VIEWS, may, owner, run, somebody, texts};
use crate::support::school::alumno;
use crate::support::{Message, Platform};

/// A database that version 7 has filled, as `pg_dump --inserts` writes it: both domains, messages in
/// quarantine, discarded, waiting for their parent, staged and not promoted, archived and purged months.
const RELEASED: &str = "tests/fixtures/released_7.sql.gz";

/// A database as another release has left it.
async fn released(platform: &Platform) -> TestDatabase {
    let database = TestDatabase::empty(platform.services).await.unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(RELEASED);
    let dump = Command::new("gzip")
        .args(["-dc".as_ref(), file.as_os_str()])
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap();
    assert!(dump.status.success());
    run(&database.owner, &String::from_utf8(dump.stdout).unwrap()).await;
    database
}

/// Ledger and rows of the tables that messages end in; a table that is not there, of a domain that came after the
/// release, counts as empty.
async fn contents(database: &TestDatabase) -> Vec<String> {
    let mut contents = texts(
        &database.owner,
        "select format('%s.%s %s %s %s %s %s %s %s', domain, entity, received, duplicates, staged, promoted, stale, pending, quarantined)
         from core.conservation order by 1",
    )
    .await;
    for table in catalog()
        .iter()
        .flat_map(|domain| &domain.entities)
        .flat_map(|entity| [entity.core, entity.staging])
        .chain([
            "raw.quarantine",
            "core.pending",
            "core.archives",
            "core.audit_log",
            "core.quarantine_open",
        ])
    {
        let there = format!("select 'there' where to_regclass('{table}') is not null");
        if texts(&database.owner, &there).await.is_empty() {
            contents.push(format!("{table} 0"));
            continue;
        }
        let query = format!("select '{table} ' || count(*) from {table}");
        contents.extend(texts(&database.owner, &query).await);
    }
    contents.extend(
        texts(
            &database.owner,
            "select status || ' ' || count(*) from raw.quarantine group by status order by 1",
        )
        .await,
    );
    contents
}

/// Queries of a worker of version 7 that still runs, besides its inserts.
const ASKED_BY_7: [&str; 14] = [
    "select * from core.promote('academico', 80000)",
    "select * from core.promote('consumo', 80000)",
    "select * from core.run_checks('academico')",
    "select * from core.run_due_checks('academico', '1 minute')",
    "select core.checks_due_in('academico', '1 minute')",
    "select core.ensure_partitions()",
    "select * from core.expire_pending('consumo', '24 hours')",
    "select * from core.retain('30 days', '365 days', '90 days')",
    "select core.archive_wanted('consumo')",
    "select core.audit_mart('marts.kpi_materia')",
    "select core.refresh_mart('marts.kpi_materia')",
    "select core.refresh_failed('marts.kpi_materia', now(), 'x')",
    "select * from core.outbox_take('consumo', 10)",
    "select domain, entity, received, duplicates, staged, promoted, inserted, updated, unchanged, stale, pending, quarantined, difference from core.conservation",
];

/// Its inserts: one message of each fate.
const WRITTEN_BY_7: &str = "
insert into stg.alumnos_upsert (message_id, day, batch_id, event_at, published_at, id_alumno, nombre, edad, genero)
select t.* from (values (gen_random_uuid(), current_date, 900001::bigint, now(), now(), 800001, 'A', 20, 'F')) t on conflict do nothing;
with batch as (
    insert into core.batches (batch_id, domain, queue, worker, published_at, trace_context, state)
    values (900001, 'academico', 'acequia.academico', 'old:1', now(), null, 'staged')
)
insert into core.batch_entities (batch_id, domain, entity, received, duplicates, staged, quarantined, oldest_published_at, newest_published_at)
values (900001, 'academico', 'alumno', 2, 0, 1, 1, now(), now());
insert into raw.quarantine as q (message_id, day, batch_id, domain, entity, queue, stage, code, field_path,
    message, violations, sqlstate, body, properties, fingerprint, occurrences, replays)
values ('01900000-0000-7000-8000-000000000001', current_date, 900001, 'academico', 'alumno', 'acequia.academico', 'contract', 'missing', 'nombre',
    'x', '[]', null, '', '{}', 'x', 1, 0)
on conflict (message_id, day) do update
set occurrences = q.occurrences + excluded.occurrences, last_seen_at = now(),
    (status, resolved_at, resolved_by, entity, stage, code, field_path, message, violations, sqlstate, fingerprint) = (
        select q.status, q.resolved_at, q.resolved_by, q.entity, q.stage, q.code, q.field_path, q.message, q.violations, q.sqlstate, q.fingerprint)
returning message_id, occurrences";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_earlier_release_goes_on() {
    let platform = Platform::new().await;
    let database = released(&platform).await;
    let reader = somebody(&database).await;
    run(&database.admin, "grant all on schema own to app").await;
    run(&database.owner, VIEWS).await;
    let before = contents(&database).await;
    let report = migrate(&owner(&database), &[]).await.unwrap();
    assert!(
        report
            .migrations
            .iter()
            .any(|migration| migration.contains("duties")),
        "{report:?}"
    );
    assert_eq!(
        contents(&database).await,
        before,
        "every row is there and accounted for"
    );
    assert_eq!(may(&database, &reader).await, ALL);
    assert_eq!(
        texts(
            &database.owner,
            "select count(*)::text from own.best, own.groups where false"
        )
        .await,
        ["0"],
        "views of others work"
    );
    let again = migrate(&owner(&database), &[]).await.unwrap();
    assert!(
        again.migrations.is_empty() && again.routines.is_empty() && again.rights == 0,
        "{again:?}"
    );

    // A worker of that release that still runs meets nothing that it does not know. What it may not do
    // any more is to drop and to give up.
    for statement in ASKED_BY_7 {
        run(&database.worker, statement).await;
    }
    run(&database.worker, WRITTEN_BY_7).await;
    run(&database.worker, ASKED_BY_7[0]).await;
    let may_not = "select has_function_privilege('acequia_worker', 'core.archive_drop(bigint, bigint, text)', 'execute')::text";
    assert_eq!(texts(&database.owner, may_not).await, ["false"]);

    // A worker of this release takes over: waiting rows are merged, repeated messages are duplicates.
    let total = "select sum(received)::bigint from core.conservation";
    let migrated = TestEnv::of(platform.services, database, platform.broker.clone());
    let platform = Platform(migrated);
    let received = platform.number(total).await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let messages: Vec<Message> = (1..=30).map(alumno).collect();
    platform.publish_all(&messages).await;
    platform.publish_all(&messages).await;
    platform.settled(received + 60).await;
    let total = platform.total().await;
    assert_eq!((total.staged, total.unaccounted), (0, 0), "{total:?}");
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos where id between 700001 and 700020")
            .await,
        20
    );
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos where id = 800001")
            .await,
        1
    );
    worker.stop().await;
}
