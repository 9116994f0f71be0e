//! From one release to the next: what others have made of the marts stays, a file is applied by
//! itself, and a database that an earlier release has filled goes on.

use std::path::Path;
use std::process::Stdio;

use acequia_contracts::catalog;
use acequia_net::SecretUrl;
use acequia_schema::migrate;
use acequia_testkit::TestDatabase;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::process::Command;

use crate::support::school::alumno;
use crate::support::{Message, Platform};

/// A database that version 7 has filled, as `pg_dump --inserts` writes it: both domains, messages in
/// quarantine, discarded, waiting for their parent, staged and not promoted, archived and purged months.
const RELEASED: &str = "tests/fixtures/released_7.sql.gz";
/// The file of the marts that the tests change.
const MARTS: &str = "routines/academico/7_marts.sql";

fn owner(database: &TestDatabase) -> SecretUrl {
    SecretUrl::parse(&database.owner, &["postgres"]).unwrap()
}

async fn run(database: &str, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut PgConnection::connect(database).await.unwrap())
        .await
        .unwrap_or_else(|error| panic!("{statements}: {error}"));
}

async fn texts(database: &str, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
        .fetch_all(&mut PgConnection::connect(database).await.unwrap())
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// A role of somebody who reads marts, and a schema of theirs.
async fn somebody(database: &TestDatabase) -> String {
    let name = format!("reader_{}", uuid::Uuid::now_v7().simple());
    let statements = format!(
        "create role {name} login; create schema own; grant create, usage on schema own to {name};
         grant usage on schema marts to {name}; grant select on marts.kpi_grupo, marts.kpi_materia, core.conservation to {name};
         grant select (periodo) on marts.materia_periodo_stats to {name};
         grant execute on function marts.top_materias(text, integer) to {name}"
    );
    run(&database.admin, &statements).await;
    name
}

/// What somebody may read.
async fn may(database: &TestDatabase, name: &str) -> Vec<String> {
    let query = format!(
        "select o from unnest(array['marts.kpi_grupo', 'marts.kpi_materia', 'core.conservation']) o where has_table_privilege('{name}', o, 'select')
         union all select 'column' where has_column_privilege('{name}', 'marts.materia_periodo_stats', 'periodo', 'select')
         union all select 'function' where has_function_privilege('{name}', 'marts.top_materias(text, integer)', 'execute') order by 1"
    );
    texts(&database.owner, &query).await
}

const ALL: [&str; 5] = [
    "column",
    "core.conservation",
    "function",
    "marts.kpi_grupo",
    "marts.kpi_materia",
];
/// Views of the owner and of somebody else over marts.
const VIEWS: &str = "
create view own.groups with (security_barrier = true) as select id_grupo, promedio from marts.kpi_grupo where promedio > 0;
comment on view own.groups is 'Groups with marks';
comment on column own.groups.promedio is 'Their average';
create view own.best as select * from own.groups order by promedio desc;
create index own_name on marts.kpi_materia (nombre);
grant select on own.groups to public";
/// The same mart with other columns, as an earlier release may have had it.
const EARLIER: &str = "
drop view own.best; drop view own.groups; drop view marts.kpi_grupo;
create view marts.kpi_grupo as select id as id_grupo, 1 as another, 5.5 as promedio from academico.grupos";

async fn oids(database: &TestDatabase) -> Vec<String> {
    let query = "select c.oid::text from unnest(array['marts.kpi_materia', 'marts.kpi_grupo', 'marts.consumo_diario', 'marts.freshness']) m
        join pg_class c on c.oid = m::regclass order by m";
    texts(&database.owner, query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_applied_by_itself_and_what_others_made_stays() {
    let platform = Platform::new().await;
    let database = &platform.database;
    let reader = somebody(database).await;
    run(&database.admin, &format!("create view own.theirs as select * from marts.kpi_grupo; alter view own.theirs owner to {reader}")).await;
    run(&database.admin, "grant all on schema own to app").await;
    run(&database.owner, VIEWS).await;
    let before = oids(database).await;
    for file in [
        MARTS,
        "routines/core/4_gates.sql",
        "routines/core/5_conservation.sql",
        "routines/consumo/7_marts.sql",
        "rules/academico.sql",
    ] {
        let change = format!("update core.routines set checksum = 'other' where path = '{file}'");
        run(&database.owner, &change).await;
        let report = migrate(&owner(database), &[]).await.unwrap();
        assert_eq!(report.routines, [file]);
        assert_eq!(oids(database).await, before, "{file}: nothing was dropped");
        assert_eq!(may(database, &reader).await, ALL, "{file}");
    }
    assert_eq!(
        texts(
            &database.owner,
            "select count(*)::text from core.mart_refresh_log"
        )
        .await,
        ["0"],
        "no mart was built anew"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mart_with_other_columns_is_made_anew_with_all_that_hangs_on_it() {
    let platform = Platform::new().await;
    let database = &platform.database;
    let reader = somebody(database).await;
    run(&database.admin, "grant all on schema own to app").await;
    run(&database.owner, VIEWS).await;
    run(&database.owner, EARLIER).await;
    run(
        &database.owner,
        &VIEWS.replace("create index own_name on marts.kpi_materia (nombre);", ""),
    )
    .await;
    run(&database.owner, &format!("grant select on marts.kpi_grupo, own.best to {reader}; update core.routines set checksum = 'other' where path = '{MARTS}'")).await;
    let before = oids(database).await;
    let report = migrate(&owner(database), &[]).await.unwrap();
    assert_eq!(report.routines, [MARTS]);
    let after = oids(database).await;
    let same: Vec<_> = before.iter().zip(&after).map(|(a, b)| a == b).collect();
    // In the order of their names: consumo_diario, freshness, kpi_grupo, kpi_materia.
    assert_eq!(same, [true, true, false, true]);
    assert_eq!(may(database, &reader).await, ALL);
    let columns = "select string_agg(attname, ',' order by attnum) from pg_attribute where attrelid = 'marts.kpi_grupo'::regclass and attnum > 0";
    assert_eq!(
        texts(&database.owner, columns).await,
        ["id_grupo,periodo,materia,profesor,alumnos_inscritos,promedio,n"]
    );
    let theirs = format!(
        "select obj_description('own.groups'::regclass) || '; ' || col_description('own.groups'::regclass, 2) || '; ' || c.reloptions::text
            || '; ' || has_table_privilege('{reader}', 'own.groups', 'select') || has_table_privilege('{reader}', 'own.best', 'select')
            || '; ' || (to_regclass('marts.own_name') is not null)
         from pg_class c where c.oid = 'own.groups'::regclass"
    );
    assert_eq!(
        texts(&database.owner, &theirs).await,
        ["Groups with marks; Their average; {security_barrier=true}; truetrue; true"]
    );
    let left = "select count(*)::text from core.kept_objects";
    assert_eq!(texts(&database.owner, left).await, ["0"]);
    acequia_schema::check(&mut PgConnection::connect(&database.worker).await.unwrap())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_made_again_is_named_with_its_text() {
    let platform = Platform::new().await;
    let database = &platform.database;
    let reader = somebody(database).await;
    run(&database.admin, "grant all on schema own to app").await;
    run(&database.owner, VIEWS).await;
    run(&database.owner, EARLIER).await;
    run(
        &database.owner,
        &format!("update core.routines set checksum = 'other' where path = '{MARTS}'"),
    )
    .await;
    let refused = async |name: &str, definition: &str| {
        let before = oids(database).await;
        let error = migrate(&owner(database), &[]).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(&format!("drop view {name}")), "{error}");
        assert!(error.contains(definition), "{error}");
        assert_eq!(oids(database).await, before, "nothing was changed");
        run(&database.admin, &format!("drop view {name}")).await;
    };
    // A column that goes.
    run(
        &database.owner,
        "create view own.lost as select another from marts.kpi_grupo",
    )
    .await;
    refused("own.lost", "another").await;
    // A view that only its owner could make again.
    run(&database.admin, &format!("create view own.theirs as select promedio from marts.kpi_grupo; alter view own.theirs owner to {reader}")).await;
    refused("own.theirs", "promedio").await;
    migrate(&owner(database), &[]).await.unwrap();
}

/// A migration that retypes a column has to drop the views that read it, and no file of routines
/// changes with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_migration_has_dropped_is_made_again() {
    let platform = Platform::new().await;
    let database = &platform.database;
    for (dropped, files) in [
        (
            "materialized view marts.kpi_materia",
            vec!["routines/academico/7_kpi_materia.sql"],
        ),
        ("view marts.materia_periodo_stats", vec![MARTS]),
        (
            "view core.gates",
            vec![
                "routines/core/4_gates.sql",
                "routines/core/5_freshness.sql",
                "routines/core/6_refresh.sql",
            ],
        ),
        (
            "function academico.merge_alumnos(bigint[])",
            vec!["generated/academico/merge_alumnos.sql"],
        ),
        (
            "trigger note_merged on core.batch_entities",
            vec!["routines/core/2_watermarks.sql"],
        ),
    ] {
        run(&database.owner, &format!("drop {dropped} cascade")).await;
        let mut worker = PgConnection::connect(&database.worker).await.unwrap();
        let error = acequia_schema::check(&mut worker)
            .await
            .unwrap_err()
            .to_string();
        let name = dropped
            .split(' ')
            .find(|word| word.contains('.') || word.contains('_'))
            .unwrap();
        assert!(
            error.contains(name) && error.contains("worker migrate"),
            "{dropped}: {error}"
        );
        let report = migrate(&owner(database), &[]).await.unwrap();
        assert_eq!(report.routines, files, "{dropped}");
        acequia_schema::check(&mut worker).await.unwrap();
    }
    // What no file makes is named.
    run(&database.owner, "insert into core.marts values ('marts.nowhere', 'academico', 'view', 99, '{}', '1 minute')").await;
    let error = migrate(&owner(database), &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("mart marts.nowhere"), "{error}");
}

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

/// Ledger and rows of the tables that messages end in.
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

/// What a worker of version 7 that still runs asks, beside what it inserts.
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
/// What it writes: one message of each fate.
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
    let mut platform = Platform::new().await;
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

    // A worker of this release takes over: what waited is merged, what comes again is a duplicate.
    let total = "select sum(received)::bigint from core.conservation";
    platform.database = database;
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
