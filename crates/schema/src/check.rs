//! Checks at start that the program and the schema fit.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use sqlx::PgConnection;

use super::routines::{self, File};
use super::{OLDEST_SERVED, latest};

/// Objects that lists of the schema name, but that are missing in the database.
const UNLISTED: &str = "
select 'table ' || e.staging from core.entities e where to_regclass(e.staging) is null
union all
select 'table ' || e.core_table from core.entities e where to_regclass(e.core_table) is null
union all
select 'function ' || e.merge || '(bigint[])' from core.entities e where to_regprocedure(e.merge || '(bigint[])') is null
union all
select 'mart ' || m.mart from core.marts m
where not exists (select from pg_class c where c.oid = to_regclass(m.mart)
    and case m.kind when 'view' then c.relkind = 'v' else c.relkind = 'm' and c.relispopulated end)
union all
select 'table ' || d.table_name from core.derived_tables d where to_regclass(d.table_name) is null
union all
select 'table ' || p.table_name from core.lifecycle_policies p where to_regclass(p.table_name) is null
union all
select 'function ' || t.function || '(timestamptz) returns integer, a tick of core.ticks' from core.ticks t
where not exists (select from pg_proc p where p.oid = to_regprocedure(t.function || '(timestamptz)')
    and p.prokind = 'f' and not p.proretset and p.prorettype = 'integer'::regtype)
union all
select distinct 'table ' || c.name from core.ticks t, unnest(t.changes) c (name) where to_regclass(c.name) is null
order by 1";

/// Insists that the schema serves this program: that it has the same version and every function and
/// view as this program has it, or is newer and says that it serves this program too.
///
/// # Errors
/// When it is older, too new, incomplete or not there; the text says what to do.
pub async fn check(connection: &mut PgConnection) -> anyhow::Result<()> {
    let found: Result<Option<i32>, _> =
        sqlx::query_scalar("select max(version)::int from core.refinery_schema_history")
            .fetch_one(&mut *connection)
            .await;
    let version = match found {
        Ok(version) => version.unwrap_or(0),
        // Undefined table, undefined schema, no right to see it.
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some("42P01" | "3F000" | "42501")) =>
        {
            bail!(
                "the schema is not there, or this role may not see it: run `worker migrate` as the owner of the database"
            )
        }
        Err(error) => return Err(error).context("reading the schema's version"),
    };
    if version < latest() {
        bail!(
            "the schema has version {version}, this program needs {}: run `worker migrate`",
            latest()
        );
    }
    let oldest: Option<i32> = sqlx::query_scalar("select oldest_program from core.served")
        .fetch_optional(&mut *connection)
        .await
        .context("reading which programs the schema serves")?;
    if oldest.is_none_or(|oldest| oldest > latest()) {
        bail!(
            "the schema has version {version} and serves programs from version {} on, this program has {}: use the newer program",
            oldest.unwrap_or(version),
            latest()
        );
    }
    if version > latest() {
        return Ok(());
    }
    let files = routines::files();
    check_routines(connection, &files).await?;
    let missing = missing(connection, &files).await?;
    if !missing.is_empty() {
        bail!(
            "the schema lacks {}: run `worker migrate`",
            missing.join(", ")
        );
    }
    Ok(())
}

/// Checks that each routine file of this program was applied as it is: now, or before a newer program
/// replaced it.
async fn check_routines(connection: &mut PgConnection, files: &[File]) -> anyhow::Result<()> {
    let applied: Vec<(String, String)> = sqlx::query_as(
        "select path, checksum from core.routines union select path, checksum from core.routine_history",
    )
    .fetch_all(connection)
    .await
    .context("reading the routines' versions")?;
    let applied: BTreeSet<_> = applied.into_iter().collect();
    let missing = files
        .iter()
        .find(|file| !applied.contains(&(file.path.clone(), routines::checksum(&file.text))));
    if let Some(file) = missing {
        bail!(
            "sql/{} is not applied as this program has it: run `worker migrate`",
            file.path
        );
    }
    Ok(())
}

/// The missing objects, each with its kind.
pub(super) async fn missing(
    connection: &mut PgConnection,
    files: &[File],
) -> anyhow::Result<Vec<String>> {
    let present: BTreeMap<String, String> =
        sqlx::query_as("select path, checksum from core.routines")
            .fetch_all(&mut *connection)
            .await?
            .into_iter()
            .collect();
    // Files that a newer program changed or dropped are skipped: it may not need their objects.
    let objects: Vec<_> = files
        .iter()
        .filter(|file| {
            present
                .get(&file.path)
                .is_some_and(|checksum| *checksum == routines::checksum(&file.text))
        })
        .flat_map(File::objects)
        .collect();
    let mut missing = routines::missing(connection, &objects)
        .await
        .context("looking for functions and views")?;
    let unlisted: Vec<String> = sqlx::query_scalar(UNLISTED)
        .fetch_all(connection)
        .await
        .context("looking for what the catalog names")?;
    missing.extend(unlisted);
    Ok(missing)
}

/// Writes down which programs the schema serves.
pub(super) async fn write_served(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "insert into core.served (oldest_program) values ($1)
         on conflict ((true)) do update set oldest_program = excluded.oldest_program
         where core.served.oldest_program <> excluded.oldest_program",
    )
    .bind(OLDEST_SERVED)
    .execute(connection)
    .await?;
    Ok(())
}
