//! Rights of each role, and a comment on every object.

use std::collections::BTreeSet;

use acequia_contracts::catalog;
use acequia_net::SecretUrl;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::Platform;

/// Everything with rows: tables, partitions, views, materialized views, sequences.
const RELATIONS: &str = "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 1";
const SCHEMAS: &str = "select nspname::text from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' order by 1";

/// A database as `worker migrate` leaves it; a cloned one lacks the rights on the database itself.
async fn migrated() -> Platform {
    let platform = Platform::new().await;
    let owner = SecretUrl::parse(&platform.database.owner, &["postgres"]).unwrap();
    acequia_schema::migrate(&owner, &[]).await.unwrap();
    platform
}

/// The error that a role gets for a statement, which is rolled back: `None` when it may run it.
async fn refusal(connection: &mut PgConnection, statement: &str) -> Option<String> {
    let mut transaction = connection.begin().await.unwrap();
    let result = sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut *transaction)
        .await;
    transaction.rollback().await.unwrap();
    result.err().map(|error| {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        code.map_or_else(|| error.to_string(), |code| code.to_string())
    })
}

const DENIED: Option<&str> = Some("42501");

/// Statements that no role but the owner may run.
const NOBODYS: [&str; 10] = [
    "create schema mine",
    "create temporary table mine (id int)",
    "create role mine",
    "alter role acequia_worker superuser",
    "set role app",
    "copy (select 1) to program 'true'",
    "copy (select 1) to '/tmp/mine'",
    "select pg_read_file('PG_VERSION')",
    "select lo_create(0)",
    "select pg_logical_emit_message(true, 'mine', 'mine')",
];

fn is_system(relation: &str) -> bool {
    relation.starts_with("pg_stat_statements") // an extension of the server, if it has it
}

#[tokio::test(flavor = "multi_thread")]
async fn the_analyst_reads_marts_quality_and_accounts_and_nothing_else() {
    let platform = migrated().await;
    let mut analyst = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    let open = [
        "core.dq_results",
        "core.dq_status",
        "core.conservation",
        "core.gates",
        "core.lineage",
    ];
    let mut read = BTreeSet::new();
    for relation in platform
        .texts(RELATIONS)
        .await
        .iter()
        .filter(|relation| !is_system(relation))
    {
        let mut may = refusal(&mut analyst, &format!("select * from {relation} limit 0")).await;
        if may.as_deref() == Some("55000") {
            may = None; // a materialized view that was never refreshed
        }
        let expected = if relation.starts_with("marts.") || open.contains(&relation.as_str()) {
            None
        } else {
            DENIED
        };
        assert_eq!(may.as_deref(), expected, "select from {relation}");
        if may.is_none() {
            read.insert(relation.clone());
        }
        let write = format!(
            "select bool_or(has_table_privilege('acequia_analyst', '{relation}', p))::int::bigint from unnest(array['insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p"
        );
        assert_eq!(platform.number(&write).await, 0, "writes {relation}");
    }
    for relation in open {
        assert!(read.contains(relation));
    }
    for mart in platform.texts("select mart from core.marts").await {
        assert!(read.contains(&mart), "{mart}");
    }
    // The views are not only open, they work.
    for relation in &read {
        let unpopulated = format!(
            "select (not relispopulated)::int::bigint from pg_class where oid = '{relation}'::regclass"
        );
        if platform.number(&unpopulated).await == 0 {
            assert_eq!(
                refusal(&mut analyst, &format!("select * from {relation}")).await,
                None,
                "{relation}"
            );
        }
    }
    for schema in platform.texts(SCHEMAS).await {
        let create = format!("create table {schema}.mine (id int)");
        assert_eq!(
            refusal(&mut analyst, &create).await.as_deref(),
            DENIED,
            "{create}"
        );
    }
    for statement in NOBODYS {
        assert_eq!(
            refusal(&mut analyst, statement).await.as_deref(),
            DENIED,
            "{statement}"
        );
    }
    // A statement that nobody waits for any more ends by itself.
    let limit: String = sqlx::query_scalar("show statement_timeout")
        .fetch_one(&mut analyst)
        .await
        .unwrap();
    assert_eq!(limit, "1min");
    // Functions of the platform do things; those of the marts only read.
    let callable = platform
        .texts("select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and has_function_privilege('acequia_analyst', p.oid, 'execute')
              and has_schema_privilege('acequia_analyst', n.oid, 'usage')")
        .await;
    assert!(
        callable
            .iter()
            .all(|function| function.starts_with("marts.")),
        "{callable:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_stages_and_calls_but_cannot_change_the_core_by_itself() {
    let platform = migrated().await;
    let mut worker = PgConnection::connect(&platform.database.worker)
        .await
        .unwrap();
    for schema in platform.texts(SCHEMAS).await {
        let create = format!("create table {schema}.mine (id int)");
        assert_eq!(
            refusal(&mut worker, &create).await.as_deref(),
            DENIED,
            "{create}"
        );
        let create =
            format!("create function {schema}.mine() returns int language sql as 'select 1'");
        assert_eq!(
            refusal(&mut worker, &create).await.as_deref(),
            DENIED,
            "{create}"
        );
    }
    for statement in NOBODYS {
        assert_eq!(
            refusal(&mut worker, statement).await.as_deref(),
            DENIED,
            "{statement}"
        );
    }

    let staging: Vec<_> = catalog()
        .iter()
        .flat_map(|domain| &domain.entities)
        .map(|entity| entity.staging)
        .collect();
    let inserts = ["core.batches", "core.batch_entities", "raw.quarantine"];
    let tables = "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 1";
    for table in platform
        .texts(tables)
        .await
        .iter()
        .filter(|table| !is_system(table))
    {
        for statement in [
            format!("alter table {table} add column mine int"),
            format!("drop table {table}"),
            format!("truncate {table}"),
            format!("delete from {table}"),
            format!("create index on {table} ((1))"),
        ] {
            assert_eq!(
                refusal(&mut worker, &statement).await.as_deref(),
                DENIED,
                "{statement}"
            );
        }
        let may = async |right: &str| {
            let question = format!(
                "select has_any_column_privilege('acequia_worker', '{table}', '{right}')::int::bigint"
            );
            platform.number(&question).await == 1
        };
        // Partitions are written through their parents only.
        let parent = "select coalesce((select i.inhparent::regclass::text from pg_inherits i where i.inhrelid = ";
        let parent = &platform
            .texts(&format!("{parent}'{table}'::regclass), '{table}')"))
            .await[0];
        let may_insert = staging.contains(&parent.as_str()) || inserts.contains(&table.as_str());
        if parent == table || !staging.contains(&parent.as_str()) {
            assert_eq!(may("insert").await, may_insert, "insert into {table}");
        }
        assert_eq!(
            may("update").await,
            table == "raw.quarantine",
            "update of {table}"
        );
    }
    for domain in catalog() {
        for entity in &domain.entities {
            for statement in [
                format!("insert into {} default values", entity.core),
                format!("update {} set event_at = now()", entity.core),
                format!("delete from {}", entity.core),
                format!("select {}('{{1}}')", entity.merge),
                format!("drop function {}(bigint[])", entity.merge),
            ] {
                assert_eq!(
                    refusal(&mut worker, &statement).await.as_deref(),
                    DENIED,
                    "{statement}"
                );
            }
            let reads = format!("select * from {} limit 0", entity.core);
            assert_eq!(refusal(&mut worker, &reads).await, None);
        }
        // Its duties.
        for call in [
            format!("select core.promote_domain('{}', 10)", domain.name),
            format!("select core.run_checks('{}')", domain.name),
            format!("select core.expire_pending('{}', '1 day')", domain.name),
        ] {
            assert_eq!(refusal(&mut worker, &call).await, None, "{call}");
        }
    }
    // The rules and the catalog are code: who could write them could run anything as the owner.
    for statement in [
        "update core.dq_rules set failing_rows = ''",
        "insert into core.entities default values",
        "update core.marts set mart = ''",
        // Nor may it write down something that another login did, or at another time.
        "insert into core.audit_log (login, who, action, quarantine_ids) values ('app', '', 'edit', '{1}')",
        "insert into core.audit_log (at, who, action, quarantine_ids) values (now(), '', 'edit', '{1}')",
    ] {
        assert_eq!(
            refusal(&mut worker, statement).await.as_deref(),
            DENIED,
            "{statement}"
        );
    }
    for role in [
        "acequia_worker",
        "acequia_archive",
        "acequia_operator",
        "acequia_analyst",
        "acequia_publisher",
        "acequia_api",
    ] {
        let powers = format!(
            "select (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)::int::bigint from pg_roles where rolname = '{role}'"
        );
        assert_eq!(platform.number(&powers).await, 0, "{role}");
    }
}

fn our_schemas() -> String {
    let domains = catalog().iter().map(|domain| domain.name);
    let names: Vec<_> = ["core", "raw", "stg", "marts"]
        .into_iter()
        .chain(domains)
        .map(|name| format!("'{name}'"))
        .collect();
    names.join(", ")
}

/// A function with the rights of its owner must not resolve names to objects that another role created.
#[tokio::test(flavor = "multi_thread")]
async fn every_function_pins_its_search_path() {
    let platform = Platform::new().await;
    let functions = format!(
        "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ({})",
        our_schemas()
    );
    assert!(!platform.texts(&functions).await.is_empty());
    let open = format!(
        "{functions} and not exists (select from unnest(p.proconfig) c where c = 'search_path=pg_catalog, pg_temp')"
    );
    assert_eq!(platform.texts(&open).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_says_what_it_is() {
    let platform = Platform::new().await;
    let schemas = our_schemas();
    let objects = format!(
        "select kind || ' ' || name from (
            select 'schema' as kind, n.nspname::text as name, obj_description(n.oid, 'pg_namespace') as comment
            from pg_namespace n where n.nspname in ({schemas})
            union all
            select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end,
                   n.nspname || '.' || c.relname, obj_description(c.oid, 'pg_class')
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname in ({schemas}) and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
            union all
            select 'column', n.nspname || '.' || c.relname || '.' || a.attname, col_description(c.oid, a.attnum)
            from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
            where n.nspname in ({schemas}) and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
              and a.attnum > 0 and not a.attisdropped
            union all
            select 'function', p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
            from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ({schemas})
            union all
            select 'type', n.nspname || '.' || t.typname, obj_description(t.oid, 'pg_type')
            from pg_type t join pg_namespace n on n.oid = t.typnamespace join pg_class c on c.oid = t.typrelid
            where n.nspname in ({schemas}) and c.relkind = 'c'
        ) o
        where coalesce(comment, '') !~ '\\S' order by 1"
    );
    let silent = platform.texts(&objects).await;
    assert!(silent.is_empty(), "without comment:\n{}", silent.join("\n"));
}
