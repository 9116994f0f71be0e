//! Limits of each role: actions that its rights do not allow, and the page that lists the rights.

mod retention;
mod roles;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use acequia_net::SecretUrl;
use acequia_schema::migrate;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::Platform;

const ROLES: [&str; 6] = [
    "worker",
    "archive",
    "operator",
    "analyst",
    "api",
    "publisher",
];

/// SQLSTATE and text of what a statement is answered; `None` when it was done.
async fn answer(database: &str, statements: &str) -> Option<(String, String)> {
    let mut connection = PgConnection::connect(database).await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await;
    let error = done.err()?;
    let error = error.as_database_error().expect("an answer");
    Some((
        error.code().unwrap_or_default().into_owned(),
        error.message().to_owned(),
    ))
}

async fn code(database: &str, statements: &str) -> Option<String> {
    answer(database, statements).await.map(|(code, _)| code)
}

fn denied() -> Option<String> {
    Some("42501".to_owned())
}

const FUNCTIONS: &str = "
select p.oid::regprocedure::text, r.role::text, has_function_privilege('acequia_' || r.role, p.oid, 'execute'),
       coalesce((select string_agg(distinct w.duty, ', ' order by w.duty) from core.rights w
           where w.kind = 'function' and w.role = 'acequia_' || r.role
             and w.object = format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes))), '')
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
cross join unnest($1::text[]) r (role)
where n.nspname in ('raw', 'stg', 'core', 'marts') or n.nspname in (select domain from core.entities)
order by 1, r.role";

const RELATIONS: &str = "
select c.oid::regclass::text, r.role::text, coalesce(string_agg(p.name, ', ' order by p.position), '')
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
cross join unnest($1::text[]) r (role)
left join lateral (
    select v.position, v.name || case when v.whole then '' else ' (' || (
            select string_agg(a.attname, ', ' order by a.attname) from pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              and has_column_privilege('acequia_' || r.role, c.oid, a.attnum, v.name)) || ')' end as name
    from (
        select x.position, x.name, has_table_privilege('acequia_' || r.role, c.oid, x.name) as whole
        from unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) with ordinality x (name, position)
        where c.relkind <> 'S' and (has_table_privilege('acequia_' || r.role, c.oid, x.name)
            or x.name in ('select', 'insert', 'update', 'references') and has_any_column_privilege('acequia_' || r.role, c.oid, x.name))
        union all
        select x.position, x.name, true
        from unnest(array['usage', 'select', 'update']) with ordinality x (name, position)
        where c.relkind = 'S' and has_sequence_privilege('acequia_' || r.role, c.oid, x.name)
    ) v
) p on true
where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not c.relispartition
  and (n.nspname in ('raw', 'stg', 'core', 'marts') or n.nspname in (select domain from core.entities))
group by c.oid, r.role
order by 1, r.role";

/// The page of rights, as the catalog of the database has them.
async fn page(platform: &Platform) -> String {
    let mut owner = platform.connect().await;
    let mut page = String::from(
        "# Rights\n\nEvery function and relation of the platform and who may do what with it, as the database says after `worker migrate`. \
         A function without a role is\nfor the owner alone: only other functions call it. Reasons for this split of roles: \
         [ADR 35](adr/0035-a-login-for-each-duty.md). `acequia_publisher` has no\nrights yet.\n\n\
         This page is made by a test: `UPDATE_RIGHTS=1 cargo test -p acequia-worker --test integration duties::the_page`.\n\n\
         ## Functions\n\n| function | role | duty |\n|---|---|---|\n",
    );
    let functions: Vec<(String, String, bool, String)> = sqlx::query_as(FUNCTIONS)
        .bind(ROLES)
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let mut rows: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for (function, role, may, duty) in functions {
        let row = rows.entry(function).or_default();
        if may {
            row.0.push(role);
        }
        if !duty.is_empty() && !row.1.contains(&duty) {
            row.1.push(duty);
        }
    }
    for (function, (roles, duties)) in &rows {
        let (roles, duties) = (roles.join(", "), duties.join(", "));
        writeln!(page, "| `{function}` | {roles} | {duties} |").unwrap();
    }
    let relations: Vec<(String, String, String)> = sqlx::query_as(RELATIONS)
        .bind(ROLES)
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let mut rows: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (relation, role, rights) in relations {
        rows.entry(relation).or_default().insert(role, rights);
    }
    let heads: Vec<_> = ROLES[..5].iter().map(ToString::to_string).collect();
    writeln!(
        page,
        "\n## Relations\n\n| relation | {} |\n|---{}|",
        heads.join(" | "),
        "|---".repeat(heads.len())
    )
    .unwrap();
    for (relation, rights) in &rows {
        let cells: Vec<_> = heads.iter().map(|role| rights[role].as_str()).collect();
        writeln!(page, "| `{relation}` | {} |", cells.join(" | ")).unwrap();
        assert!(rights["publisher"].is_empty());
    }
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_rights_is_what_the_database_says() {
    let platform = Platform::new().await;
    let is = page(&platform).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rights.md");
    if std::env::var_os("UPDATE_RIGHTS").is_some() {
        std::fs::write(&file, &is).unwrap();
    }
    let said = std::fs::read_to_string(&file).unwrap_or_default();
    let new = is.lines().filter(|line| !said.contains(line));
    let old = said.lines().filter(|line| !is.contains(line));
    assert!(
        is == said,
        "docs/rights.md differs, see UPDATE_RIGHTS there:\n{}",
        new.map(|line| format!("+ {line}\n"))
            .chain(old.map(|line| format!("- {line}\n")))
            .collect::<String>()
    );
}

/// Every function that a program calls is granted to a role; `worker migrate` is the owner.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_programs_call_is_granted() {
    let platform = Platform::new().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("../crates")];
    let mut called = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("schema") {
                folders.push(path);
            } else if path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                for part in text.split("core.").skip(1) {
                    let name = part.find(|c: char| !c.is_ascii_lowercase() && c != '_');
                    let name = &part[..name.unwrap_or(0)];
                    if part[name.len()..].starts_with('(') {
                        called.insert(name.to_owned());
                    }
                }
            }
        }
    }
    assert!(called.contains("promote_domain"));
    let known = platform
        .texts("select proname::text from pg_proc where pronamespace = 'core'::regnamespace")
        .await;
    let granted = platform
        .texts("select distinct substring(object from '^core[.]([a-z_]+)') from core.rights where kind = 'function' and object like 'core.%'")
        .await;
    let without: Vec<_> = called
        .iter()
        .filter(|name| known.contains(name) && !granted.contains(name))
        .collect();
    assert!(
        without.is_empty(),
        "no role may call core.{without:?}: list them in sql/routines/core/9_grants.sql"
    );
}

/// No role can call a new function until it is listed, and a right that is given by hand to a program's
/// role is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_listed_is_not_granted() {
    let platform = Platform::new().await;
    platform
        .execute(
            "create function core.new_one() returns integer language sql set search_path = pg_catalog, pg_temp as 'select 1';
             grant execute on function core.marts_rebuilt(text[]) to acequia_worker;
             grant delete on core.batches to acequia_worker; grant update (body) on raw.quarantine to acequia_operator;
             revoke execute on function core.promote(text, integer) from acequia_worker;
             grant select on core.batches to acequia_analyst",
        )
        .await;
    let everybody = "select count(*) from unnest(array['worker', 'archive', 'operator', 'analyst', 'api', 'publisher']) r
        where has_function_privilege('acequia_' || r, 'core.new_one()', 'execute')";
    assert_eq!(platform.number(everybody).await, 0);
    let owner = SecretUrl::parse(&platform.database.owner, &["postgres"]).unwrap();
    assert_eq!(migrate(&owner, &[]).await.unwrap().rights, 4);
    assert_eq!(migrate(&owner, &[]).await.unwrap().rights, 0);
    assert_eq!(
        platform
            .texts("select role || ' ' || privilege || ' ' || object from core.granted g where g.object in ('core.batches', 'raw.quarantine.body')
                or g.object like 'core.marts_rebuilt%' or g.object like 'core.promote%' order by 1")
            .await,
        [
            "acequia_analyst select core.batches", "acequia_api select core.batches", // an administrator's choice
            "acequia_archive select core.batches",
            "acequia_operator select core.batches",
            "acequia_worker execute core.promote(text, integer)",
            "acequia_worker execute core.promote_domain(text, integer)",
            "acequia_worker insert core.batches",
            "acequia_worker select core.batches",
        ]
    );
}
