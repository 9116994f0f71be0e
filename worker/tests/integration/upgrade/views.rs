//! Marts of the new release, and views that other people built on the old marts.

use acequia_schema::migrate;
use acequia_testkit::TestDatabase;
use sqlx::{Connection as _, PgConnection};

use super::{ALL, VIEWS, may, owner, run, somebody, texts};
use crate::support::Platform;

/// The file of the marts that the tests change.
const MARTS: &str = "routines/academico/7_marts.sql";
/// The same mart with other columns, as an earlier release may have had it.
const EARLIER: &str = "
drop view own.best; drop view own.groups; drop view marts.kpi_grupo;
create view marts.kpi_grupo as select id as id_grupo, 1 as another, 5.5 as promedio from academico.grupos";

async fn oids(database: &TestDatabase) -> Vec<String> {
    let query = "select c.oid::text from unnest(array['marts.kpi_materia', 'marts.kpi_grupo', 'marts.consumo_diario', 'marts.freshness']) m
        join pg_class c on c.oid = m::regclass order by m";
    texts(&database.owner, query).await
}

/// Views of an earlier version, and views of a user on them; the user.
async fn earlier_views(database: &TestDatabase) -> String {
    let reader = somebody(database).await;
    run(&database.admin, "grant all on schema own to app").await;
    run(&database.owner, VIEWS).await;
    run(&database.owner, EARLIER).await;
    reader
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
    let reader = earlier_views(database).await;
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
    let reader = earlier_views(database).await;
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
    // A view on a column that the new release removes.
    run(
        &database.owner,
        "create view own.lost as select another from marts.kpi_grupo",
    )
    .await;
    refused("own.lost", "another").await;
    // A view of another owner, which migrate cannot create again.
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
    // A mart that no file makes is named.
    run(&database.owner, "insert into core.marts values ('marts.nowhere', 'academico', 'view', 99, '{}', '1 minute')").await;
    let error = migrate(&owner(database), &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("mart marts.nowhere"), "{error}");
}
