//! Applies a file whose views cannot be replaced as they stand: drops them with what reads them, and
//! says which files bring that back.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};

use super::routines::{File, Object};

/// SQLSTATEs of a `create or replace`, `create` or `drop` that an existing object prevents.
const IN_THE_WAY: [&str; 5] = [
    "42P16", // columns of a view changed
    "42P13", // result or arguments of a function changed
    "42P07", // a view of that name exists
    "42723", // a function of that name exists
    "2BP01", // something depends on it
];

/// Objects that depend on those of some files, through any number of views. A function depends on a
/// view when its result or an argument is a row of it.
const DEPENDENTS: &str = "
with recursive made (file, class, oid) as (
    select f.file, case f.kind when 'function' then 'pg_proc'::regclass::oid else 'pg_class'::regclass::oid end,
           case f.kind when 'function' then to_regprocedure(f.name)::oid else to_regclass(f.name)::oid end
    from unnest($1::integer[], $2::text[], $3::text[]) f (file, kind, name)
    where f.kind <> 'trigger'
), dependents (class, oid) as (
    select m.class, m.oid from made m where m.file = any ($4)
    union
    select n.class, n.oid
    from dependents p
    cross join lateral (
        select 'pg_class'::regclass::oid as class, w.ev_class as oid
        from pg_depend d join pg_rewrite w on w.oid = d.objid
        where d.classid = 'pg_rewrite'::regclass and d.refclassid = p.class and d.refobjid = p.oid
        union all
        select 'pg_proc'::regclass, d.objid
        from pg_class c
        join pg_type t on t.oid = c.reltype or t.typelem = c.reltype
        join pg_depend d on d.refclassid = 'pg_type'::regclass and d.refobjid = t.oid and d.classid = 'pg_proc'::regclass
        where p.class = 'pg_class'::regclass and c.oid = p.oid
    ) n
), found as (
    select d.class, d.oid, m.file
    from dependents d
    left join made m on m.class = d.class and m.oid = d.oid
    where m.file is null or m.file <> all ($4)
)
select f.file, case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end as kind,
       format('%I.%I', n.nspname, c.relname) as name, pg_has_role(c.relowner, 'usage') as ours,
       pg_get_userbyid(c.relowner)::text as owner, coalesce(pg_get_viewdef(c.oid), '') as definition
from found f
join pg_class c on f.class = 'pg_class'::regclass and c.oid = f.oid
join pg_namespace n on n.oid = c.relnamespace
union all
select f.file, 'function', format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)),
       pg_has_role(p.proowner, 'usage'), pg_get_userbyid(p.proowner)::text, pg_get_functiondef(p.oid)
from found f
join pg_proc p on f.class = 'pg_proc'::regclass and p.oid = f.oid
join pg_namespace n on n.oid = p.pronamespace";

/// A dependent object with its kind and owner.
#[derive(sqlx_macros::FromRow)]
struct Dependent {
    /// The file that makes it; none for an object that is not ours.
    file: Option<i32>,
    kind: String,
    name: String,
    /// Whether this role may drop it and make it again.
    ours: bool,
    owner: String,
    definition: String,
}

/// Files whose materialized marts read what other files are about to replace: they would go on
/// showing what the old definition gave.
pub(super) async fn stale_marts(
    connection: &mut PgConnection,
    objects: &[Vec<Object>],
    todo: &BTreeSet<usize>,
) -> anyhow::Result<Vec<usize>> {
    let found = dependents(connection, objects, todo).await?;
    Ok(found
        .iter()
        .filter(|found| found.kind == "materialized view")
        .filter_map(|found| usize::try_from(found.file?).ok())
        .collect())
}

/// Applies a file. Returns the files whose objects had to be dropped for it.
pub(super) async fn apply(
    transaction: &mut Transaction<'_, Postgres>,
    index: usize,
    file: &File,
    objects: &[Vec<Object>],
) -> anyhow::Result<Vec<usize>> {
    let mut attempt = transaction.begin().await?;
    match sqlx::raw_sql(AssertSqlSafe(file.text.as_ref()))
        .execute(&mut *attempt)
        .await
    {
        Ok(_) => {
            attempt.commit().await?;
            return Ok(Vec::new());
        }
        Err(error) => {
            attempt.rollback().await?;
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            if !code.is_some_and(|code| IN_THE_WAY.contains(&code.as_ref())) {
                return Err(error.into());
            }
        }
    }
    let found = dependents(transaction, objects, &BTreeSet::from([index])).await?;
    let mut again = Vec::new();
    for dependent in &found {
        match dependent.file {
            Some(file) => again.push(usize::try_from(file)?),
            // A view that is not ours is made again afterwards, see `Kept`.
            None if dependent.ours && dependent.kind.ends_with("view") => {}
            None => bail!(
                "{kind} {name} of role {owner} reads what this file changes, and only its owner can make it again. \
                 Run `drop {kind} {name}`, then `worker migrate`, then make it again:\n{definition}",
                kind = dependent.kind,
                name = dependent.name,
                owner = dependent.owner,
                definition = dependent.definition.trim_end(),
            ),
        }
    }
    for object in &objects[index] {
        drop_object(transaction, object).await?;
    }
    sqlx::raw_sql(AssertSqlSafe(file.text.as_ref()))
        .execute(&mut **transaction)
        .await?;
    again.sort_unstable();
    again.dedup();
    Ok(again)
}

/// Drops views with their known dependents. Drops functions if nothing needs them: one that a
/// trigger calls stays, and is replaced.
async fn drop_object(
    transaction: &mut Transaction<'_, Postgres>,
    object: &Object,
) -> anyhow::Result<()> {
    let (kind, name) = (object.kind, &object.name);
    let cascade = match kind {
        "trigger" => return Ok(()),
        "function" => "",
        _ => " cascade",
    };
    let mut attempt = transaction.begin().await?;
    // The name stands in a file of this program.
    let statement = format!("drop {kind} if exists {name}{cascade}");
    let dropped = sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut *attempt)
        .await;
    match dropped {
        Ok(_) => attempt.commit().await?,
        Err(error) => {
            attempt.rollback().await?;
            ensure!(kind == "function", "dropping {kind} {name}: {error}");
        }
    }
    Ok(())
}

/// Objects that depend on those of some files, and that no such file makes.
async fn dependents(
    connection: &mut PgConnection,
    objects: &[Vec<Object>],
    of: &BTreeSet<usize>,
) -> anyhow::Result<Vec<Dependent>> {
    let (mut files, mut kinds, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (file, objects) in objects.iter().enumerate() {
        for object in objects {
            files.push(i32::try_from(file)?);
            kinds.push(object.kind);
            names.push(object.name.as_str());
        }
    }
    let of: Vec<i32> = of
        .iter()
        .map(|file| i32::try_from(*file))
        .collect::<Result<_, _>>()?;
    sqlx::query_as(DEPENDENTS)
        .bind(files)
        .bind(kinds)
        .bind(names)
        .bind(of)
        .fetch_all(connection)
        .await
        .context("what reads the objects of a file")
}
