//! Which tables a mart is made of.

use std::collections::BTreeSet;

use acequia_contracts::catalog;
use sqlx::AssertSqlSafe;

use crate::support::Platform;

/// Declared and real dependencies are the same, and every message type has its whole way.
#[tokio::test(flavor = "multi_thread")]
async fn lineage_is_what_is_declared_and_what_is_there() {
    let platform = Platform::new().await;
    let mut analyst = platform.analyst().await;
    let lineage: Vec<Lineage> = sqlx::query_as("select * from core.lineage")
        .fetch_all(&mut analyst)
        .await
        .unwrap();
    let pairs = |rows: Vec<(String, String)>| rows.into_iter().collect::<BTreeSet<_>>();
    let declared = pairs(
        sqlx::query_as("select mart, unnest(depends_on) from core.marts")
            .fetch_all(&mut platform.connect().await)
            .await
            .unwrap(),
    );
    let found = lineage.iter().filter_map(|row| {
        let table = row.core_table.clone();
        row.mart.clone().map(|mart| (mart, table))
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), declared);
    // No mart reads a table that no message fills.
    let nameless = lineage.iter().filter(|row| row.message_type.is_none());
    assert_eq!(nameless.count(), 0);
    let ways: BTreeSet<_> = lineage
        .iter()
        .map(|row| {
            (
                row.message_type.clone().unwrap(),
                row.staging_table.clone().unwrap(),
                row.merge_function.clone().unwrap(),
                row.core_table.clone(),
            )
        })
        .collect();
    let entities = catalog().iter().flat_map(|domain| &domain.entities);
    let catalog: BTreeSet<_> = entities
        .map(|entity| {
            let message = format!("{}.{}", entity.domain, entity.name);
            let [staging, merge, core] =
                [entity.staging, entity.merge, entity.core].map(ToOwned::to_owned);
            (message, staging, merge, core)
        })
        .collect();
    assert_eq!(ways, catalog);
    // A merge reads its staging table and writes its core table.
    for (message, staging, merge, core) in ways {
        let source: String = sqlx::query_scalar(AssertSqlSafe(format!(
            "select prosrc from pg_proc where oid = '{merge}'::regproc"
        )))
        .fetch_one(&mut platform.connect().await)
        .await
        .unwrap();
        for table in [staging, core] {
            assert!(source.contains(&table), "{message}: {merge} and {table}");
        }
    }
    // Nor does it go unnoticed when a mart begins to read another table.
    platform
        .execute("create or replace view marts.materia_periodo_stats as select g.periodo, m.id as id_materia, m.nombre as materia, null::numeric as promedio, (select count(*) from academico.alumnos)::numeric as tasa_aprob, null::bigint as n from academico.grupos g join academico.materias m on m.id = g.id_materia")
        .await;
    let read: BTreeSet<String> = sqlx::query_scalar(
        "select core_table from core.lineage where mart = 'marts.materia_periodo_stats'",
    )
    .fetch_all(&mut analyst)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let wanted = [
        "academico.alumnos",
        "academico.grupos",
        "academico.materias",
    ];
    assert_eq!(read, wanted.map(ToOwned::to_owned).into());
}

#[derive(sqlx_macros::FromRow)]
struct Lineage {
    message_type: Option<String>,
    staging_table: Option<String>,
    merge_function: Option<String>,
    core_table: String,
    mart: Option<String>,
}
