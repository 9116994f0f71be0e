//! From one release to the next: what others have made of the marts stays, a file is applied by
//! itself, and a database that an earlier release has filled goes on.

mod released;
mod views;

use acequia_net::SecretUrl;
use acequia_testkit::TestDatabase;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

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

/// A person's role that reads marts, with a schema of its own.
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

/// Objects that a role may read.
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

/// Views of the owner and of another role over marts.
const VIEWS: &str = "
create view own.groups with (security_barrier = true) as select id_grupo, promedio from marts.kpi_grupo where promedio > 0;
comment on view own.groups is 'Groups with marks';
comment on column own.groups.promedio is 'Their average';
create view own.best as select * from own.groups order by promedio desc;
create index own_name on marts.kpi_materia (nombre);
grant select on own.groups to public";
