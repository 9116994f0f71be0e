//! Pieces that the database must have for each domain, and for no other. Every function returns
//! the faults, in words.

use std::collections::BTreeSet;

use acequia_contracts::{Domain, Entity, Kind};
use sqlx::{AssertSqlSafe, PgConnection};

/// Everything that is problems.
pub(super) async fn problems(database: &mut PgConnection, domains: &[&Domain]) -> Vec<String> {
    let mut problems = Vec::new();
    for entity in domains.iter().flat_map(|domain| &domain.entities) {
        problems.extend(tables_and_merge(database, entity).await);
    }
    problems.extend(lists(database, domains).await);
    problems.extend(marts_and_rules(database, domains).await);
    problems.extend(names_in_bodies(database, domains).await);
    problems
}

async fn texts(database: &mut PgConnection, query: &str) -> Vec<String> {
    let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
    query.fetch_all(database).await.unwrap()
}

/// PostgreSQL types that hold every value of a kind that the contract lets pass.
fn fits(kind: Kind, sql: &str) -> bool {
    let base = sql.split('(').next().unwrap_or(sql);
    match kind {
        Kind::Int => ["integer", "bigint"].contains(&base),
        Kind::BigInt => base == "bigint",
        Kind::Float => base == "double precision",
        Kind::Bool => base == "boolean",
        Kind::Text => base == "text",
        Kind::Choice => ["text", "character", "character varying"].contains(&base),
        Kind::Decimal => base == "numeric",
        Kind::Date => base == "date",
        Kind::Timestamp => base == "timestamp with time zone",
    }
}

/// Name, type and whether it must be there, of each column of a table, in its order.
async fn columns(database: &mut PgConnection, table: &str) -> Vec<(String, String, bool)> {
    let query = format!(
        "select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull
         from pg_attribute a where a.attrelid = to_regclass('{table}') and a.attnum > 0 and not a.attisdropped order by a.attnum"
    );
    let query = sqlx::query_as(AssertSqlSafe(query));
    query.fetch_all(database).await.unwrap()
}

pub(crate) async fn tables_and_merge(database: &mut PgConnection, entity: &Entity) -> Vec<String> {
    let mut problems = Vec::new();
    let what = format!("{}.{}", entity.domain, entity.name);
    let mut demand = |holds: bool, words: String| {
        if !holds {
            problems.push(format!("{what}: {words}"));
        }
    };
    let envelope = columns(database, "core.staging_envelope").await;
    let staging = columns(database, entity.staging).await;
    if staging.is_empty() {
        demand(false, format!("there is no table {}", entity.staging));
    } else {
        // Columns that the envelope got later stand behind the fields of tables that were there.
        demand(
            envelope.iter().all(|column| staging.contains(column)) && !envelope.is_empty(),
            format!("{} lacks columns of the envelope", entity.staging),
        );
        let fields: Vec<_> = staging
            .into_iter()
            .filter(|column| !envelope.contains(column))
            .collect();
        let names: Vec<_> = fields.iter().map(|(name, ..)| name.as_str()).collect();
        let goes = entity.merge_spec.deletes;
        let gone = goes.then_some("deleted");
        let expected: Vec<_> = entity
            .columns
            .iter()
            .map(|column| column.name)
            .chain(gone)
            .collect();
        demand(
            names == expected,
            format!("columns of {}: {names:?}, not {expected:?}", entity.staging),
        );
        for (column, (name, sql, not_null)) in entity.columns.iter().zip(&fields) {
            let kind = column.kind;
            demand(
                fits(kind, sql),
                format!("{name} is {sql}, but {kind:?} in the contract"),
            );
            demand(
                (column.required && (!goes || entity.key.contains(&column.name))) == *not_null,
                format!("whether {name} must be there"),
            );
        }
    }
    for key in entity.key {
        let column = entity.columns.iter().find(|column| column.name == *key);
        let required = column.is_some_and(|column| column.required);
        demand(required, format!("key {key}"));
    }
    let merge = format!(
        "select p.oid::text from pg_proc p where p.oid = to_regprocedure('{}(bigint[])') and p.proretset and p.prorettype = 'core.merge_outcome'::regtype",
        entity.merge
    );
    let merge = texts(database, &merge).await;
    demand(
        merge.len() == 1,
        format!("{}(bigint[]) returning core.merge_outcome", entity.merge),
    );
    let core = columns(database, entity.core).await;
    demand(
        !core.is_empty(),
        format!("there is no table {}", entity.core),
    );
    for key in entity.key {
        let key = entity.merge_spec.key_column(key);
        demand(
            core.iter().any(|(name, ..)| name == key),
            format!("key column {key} of {}", entity.core),
        );
    }
    if entity.merge_spec.deletes {
        let value = |name: &str| {
            let mut columns = entity.columns.iter().map(|column| column.name);
            columns.any(|column| column == name) && !entity.key.contains(&name)
        };
        for (name, _, not_null) in &core {
            demand(
                !(value(name) && *not_null),
                format!(
                    "{name} of {} must be null in rows that are gone",
                    entity.core
                ),
            );
        }
        demand(
            core.iter().any(|(name, ..)| name == "deleted_at"),
            format!("deleted_at of {}", entity.core),
        );
    }
    let partitioned = format!(
        "select c.relname::text from pg_class c where c.oid = to_regclass('{}') and c.relkind = 'p'",
        entity.core
    );
    demand(
        texts(database, &partitioned).await.len() == usize::from(entity.merge_spec.partitioned),
        format!("whether {} is partitioned", entity.core),
    );
    for version in ["event_at", "message_id", "batch_id"] {
        let has = |(name, _, not_null): &(String, _, bool)| name == version && *not_null;
        demand(
            core.iter().any(has),
            format!("{version} of {}", entity.core),
        );
    }
    for table in [entity.merge, entity.core] {
        demand(
            table.starts_with(&format!("{}.", entity.domain)),
            format!("{table} is in a schema of another domain"),
        );
    }
    problems
}

/// Staging tables, merges and the database's copy of the catalog: those of the entities, and no more.
async fn lists(database: &mut PgConnection, domains: &[&Domain]) -> Vec<String> {
    let entities = || domains.iter().flat_map(|domain| &domain.entities);
    let mut problems = Vec::new();
    for (what, query, known) in [
        (
            "staging table",
            "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'stg' and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition",
            entities().map(|entity| entity.staging.to_owned()).collect(),
        ),
        (
            "merge",
            "select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where p.prorettype = 'core.merge_outcome'::regtype",
            entities().map(|entity| entity.merge.to_owned()).collect(),
        ),
        (
            "row of core.entities",
            "select domain || '.' || entity || ' ' || staging || ' ' || merge || ' ' || core_table from core.entities",
            entities()
                .map(|entity| {
                    format!(
                        "{}.{} {} {} {}",
                        entity.domain, entity.name, entity.staging, entity.merge, entity.core
                    )
                })
                .collect::<BTreeSet<String>>(),
        ),
    ] {
        let there: BTreeSet<String> = texts(database, query).await.into_iter().collect();
        let lacks = known.difference(&there);
        problems.extend(lacks.map(|name| format!("missing: {what} {name}")));
        let more = there.difference(&known);
        problems.extend(more.map(|name| format!("of no entity: {what} {name}")));
    }
    let order = "select domain || '.' || entity from core.entities order by position";
    let order = texts(database, order).await;
    let names = entities().map(|entity| format!("{}.{}", entity.domain, entity.name));
    if order != names.collect::<Vec<_>>() {
        problems.push(format!("order of core.entities: {order:?}"));
    }
    problems
}

/// Marts, rules and what they read.
async fn marts_and_rules(database: &mut PgConnection, domains: &[&Domain]) -> Vec<String> {
    let mut problems = Vec::new();
    let known: BTreeSet<String> = domains
        .iter()
        .map(|domain| domain.name.to_owned())
        .collect();
    for (table, what) in [("dq_rules", "data quality rule"), ("marts", "mart")] {
        let query = format!("select distinct domain from core.{table}");
        let there: BTreeSet<String> = texts(database, &query).await.into_iter().collect();
        let lacks = known.difference(&there);
        problems.extend(lacks.map(|domain| format!("missing: a {what} of {domain}")));
        let more = there.difference(&known);
        problems.extend(more.map(|domain| format!("of no domain: a {what} of {domain}")));
    }
    for query in [
        "select 'mart ' || m.mart || ' is not there as ' || m.kind from core.marts m left join pg_class c on c.oid = to_regclass(m.mart)
         where c.oid is null or c.relkind <> case m.kind when 'view' then 'v' else 'm' end",
        "select 'mart ' || m.mart || ' depends on ' || d || ', which is not there' from core.marts m, unnest(m.depends_on) d
         where to_regclass(d) is null",
        // `freshness` is about marts and is none itself.
        "select 'not in core.marts: ' || n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'marts' and c.relkind in ('v', 'm') and c.relname <> 'freshness'
           and not exists (select from core.marts m where m.mart = n.nspname || '.' || c.relname)",
        // It could not be refreshed beside its readers.
        "select 'no unique index: ' || m.mart from core.marts m where m.kind = 'materialized'
         and not exists (select from pg_index i where i.indrelid = to_regclass(m.mart) and i.indisunique and i.indpred is null)",
        "select 'rule ' || r.rule || ' looks at ' || r.schema_name || '.' || r.table_name || ', which is not there' from core.dq_rules r
         where to_regclass(format('%I.%I', r.schema_name, r.table_name)) is null",
        "select d.table_name || ' of core.derived_tables is not there' from core.derived_tables d where to_regclass(d.table_name) is null",
        "select distinct l.mart || ' reads ' || l.core_table || ', which no message fills' from core.lineage l where l.message_type is null",
        "select m.mart || ' declares ' || d || ' and does not read it' from core.marts m, unnest(m.depends_on) d
         where not exists (select from core.lineage l where l.mart = m.mart and l.core_table = d)",
        "select l.mart || ' reads ' || l.core_table || ' and does not declare it' from core.lineage l
         where l.mart is not null and not exists (select from core.marts m where m.mart = l.mart and l.core_table = any (m.depends_on))",
    ] {
        problems.extend(texts(database, query).await);
    }
    problems
}

/// Functions and rules speak of tables, views, functions and types that are there.
async fn names_in_bodies(database: &mut PgConnection, domains: &[&Domain]) -> Vec<String> {
    let schemas = domains.iter().map(|domain| domain.name);
    let schemas: Vec<_> = schemas.chain(["core", "stg", "raw", "marts"]).collect();
    let query = format!(
        "with bodies as (
             select p.oid::regprocedure::text as what, p.prosrc as body
             from pg_proc p where p.pronamespace::regnamespace::text = any ('{{{}}}')
             union all
             select 'rule ' || r.rule, r.failing_rows || ' ' || coalesce(r.measure, '') from core.dq_rules r
         )
         select distinct b.what || ' speaks of ' || m.name[1] || '.' || m.name[2] || ', which is not there'
         from bodies b
         -- Without comments, and without texts: these name messages.
         cross join lateral regexp_matches(regexp_replace(b.body, '--[^\\n]*|''[^'']*''', '', 'g'), '\\m({})\\.([a-z_][a-z0-9_]*)', 'g') as m (name)
         where to_regclass(m.name[1] || '.' || m.name[2]) is null and to_regtype(m.name[1] || '.' || m.name[2]) is null
           and not exists (select from pg_proc p where p.pronamespace = to_regnamespace(m.name[1]) and p.proname = m.name[2])
         order by 1",
        schemas.join(","),
        schemas.join("|")
    );
    texts(database, &query).await
}
