//! Schema: migrations once and in order, routines and rules again whenever they change.
//!
//! refinery takes no lock: `migrate` takes one for the whole of its work.

mod driver;

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_contracts::catalog;
use acequia_link::SecretUrl;
use anyhow::{Context, bail};
use driver::Driver;
use embedded::migrations;
use include_dir::{Dir, include_dir};
use postgres_protocol::password::scram_sha_256;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tracing::info;

use crate::db;

#[allow(missing_docs)]
mod embedded {
    refinery::embed_migrations!("../sql/migrations");
}

static ROUTINES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sql/routines");
static RULES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sql/rules");

const HISTORY: &str = "core.refinery_schema_history";
/// How long to wait before asking again for a lock that cannot be waited for.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What `migrate` locks: a table that other roles cannot lock against it. It must be there before
/// the first migration.
const LOCK: &str = "create schema if not exists core; \
    create table if not exists core.migration (); \
    comment on table core.migration is 'Locked by worker migrate for the whole of its work; holds no rows'";

/// Whether no program before version 11 of the schema migrates: those take an advisory lock, which
/// says nothing in the hands of another role.
const NO_OLDER_PROGRAM: &str = "select pg_try_advisory_lock(181292314) or not exists ( \
    select from pg_locks l join pg_stat_activity a on a.pid = l.pid \
    where l.locktype = 'advisory' and (l.classid, l.objid, l.objsubid) = (0, 181292314, 1) and l.granted \
      and a.datname = current_database() and a.usename = current_user and l.pid <> pg_backend_pid())";

/// PostgreSQL lets everybody fill the disk with temporary tables, and run a statement for ever: one
/// that an analyst has forgotten, or that Grafana no longer waits for, takes a processor from
/// promotion and keeps vacuum from its work. A default, not a limit: who needs longer says so in
/// the session. Said each time: what belongs to a database from outside is in no dump of it, and no
/// copy has it.
const OF_THE_DATABASE: &str = "do $$ begin \
    execute format('revoke temporary on database %I from public', current_database()); \
    execute format('alter role acequia_analyst in database %I set statement_timeout = %L', current_database(), '60s'); \
    end $$";

/// What `migrate` did.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Migrations applied now.
    pub migrations: Vec<String>,
    /// Routines and rules applied now; empty when none had changed.
    pub routines: Vec<String>,
    /// Version of the schema.
    pub version: i32,
}

/// Brings the schema to the version of this program. Safe to call from several processes at
/// once and again at any time.
///
/// `passwords` are set for the login roles of the platform: (role, password). The server never
/// sees them, only what it needs to check them.
///
/// # Errors
/// When the database does not answer, an SQL file fails, or the schema is newer than this
/// program.
pub async fn migrate(url: &SecretUrl, passwords: &[(&str, String)]) -> anyhow::Result<Report> {
    // Its transaction, and with it the lock, ends with the connection.
    let alone = alone(url).await?;
    let mut connection = db::connect(url, "migrate").await.context("database")?;
    let report = apply(&mut connection, passwords).await?;
    connection.close().await?;
    alone.close().await?;
    Ok(report)
}

/// A session that keeps other migrations away for as long as it lives. One of its own: a lock on a
/// table lasts for one transaction, migrations are several.
async fn alone(url: &SecretUrl) -> anyhow::Result<PgConnection> {
    let mut session = db::connect(url, "migrate lock").await.context("database")?;
    sqlx::raw_sql(
        "set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; \
         set client_min_messages = warning",
    )
    .execute(&mut session)
    .await?;
    while let Err(error) = sqlx::raw_sql(LOCK).execute(&mut session).await {
        // Another process makes the same at the same moment.
        let code = error.as_database_error().and_then(|error| error.code());
        if !matches!(code.as_deref(), Some("23505" | "42P06" | "42P07" | "XX000")) {
            return Err(error).context("schema core; the role must own the database");
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    sqlx::raw_sql("begin; lock table core.migration in exclusive mode")
        .execute(&mut session)
        .await?;
    let alone = || sqlx::query_scalar::<_, bool>(NO_OLDER_PROGRAM);
    while !alone().fetch_one(&mut session).await? {
        tokio::time::sleep(ASK_AGAIN).await;
    }
    Ok(session)
}

async fn apply(
    connection: &mut PgConnection,
    passwords: &[(&str, String)],
) -> anyhow::Result<Report> {
    // A migration takes the time it takes, and so does waiting for another process's. What is
    // not there to be dropped is no news.
    sqlx::raw_sql(
        "set statement_timeout = 0; set lock_timeout = 0; set client_min_messages = warning",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql(
        "comment on schema core is 'Accounting, data quality, lineage: the tables of the platform itself'",
    )
    .execute(&mut *connection)
    .await
    .context("schema core; the role must own the database")?;
    // Asked before refinery runs: it would only find that a migration of its own is missing.
    let history: Option<String> = sqlx::query_scalar("select to_regclass($1)::text")
        .bind(HISTORY)
        .fetch_one(&mut *connection)
        .await?;
    let version: i32 = match history {
        Some(_) => {
            sqlx::query_scalar(
                "select coalesce(max(version), 0)::int from core.refinery_schema_history",
            )
            .fetch_one(&mut *connection)
            .await?
        }
        None => 0,
    };
    if version > latest() {
        bail!(
            "the schema has version {version}, this program knows {} only: use the newer program",
            latest()
        );
    }
    let mut runner = migrations::runner();
    runner.set_migration_table_name(HISTORY);
    let applied = runner
        .run_async(&mut Driver(connection))
        .await
        .context("migration")?;
    let mut report = Report {
        migrations: applied
            .applied_migrations()
            .iter()
            .map(ToString::to_string)
            .collect(),
        version: latest(),
        ..Report::default()
    };
    report.routines = apply_routines(connection).await?;
    for (role, password) in passwords {
        set_password(connection, role, password).await?;
    }
    sqlx::raw_sql(OF_THE_DATABASE)
        .execute(&mut *connection)
        .await
        .context("rights on the database")?;
    sqlx::query("select core.ensure_partitions(), core.guard_references()")
        .execute(&mut *connection)
        .await?;
    info!(
        event = "migrate.done",
        version = report.version,
        migrations = report.migrations.len(),
        routines = report.routines.len(),
        "schema is up to date"
    );
    Ok(report)
}

/// Applies routines and rules in one transaction if any of them has changed. All of them, since
/// views build on each other.
async fn apply_routines(connection: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let files = routines();
    let wanted: BTreeMap<String, String> = files
        .iter()
        .map(|(path, text)| (path.clone(), checksum(text)))
        .chain([("catalog".to_owned(), checksum(&catalog_text()))])
        .collect();
    let present: Vec<(String, String)> = sqlx::query_as("select path, checksum from core.routines")
        .fetch_all(&mut *connection)
        .await?;
    if wanted == present.into_iter().collect() {
        return Ok(Vec::new());
    }
    // One snapshot: marts are built anew, and `core.marts_rebuilt` notes what they show.
    let mut transaction = connection
        .begin_with("begin isolation level repeatable read")
        .await?;
    sqlx::query("delete from core.entities")
        .execute(&mut *transaction)
        .await?;
    for (position, entity) in entities().into_iter().enumerate() {
        let fields: Vec<_> = entity.columns.iter().map(|column| column.name).collect();
        sqlx::query(
            "insert into core.entities (domain, entity, position, staging, merge, core_table, key_columns, fields) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(entity.domain)
        .bind(entity.name)
        .bind(i32::try_from(position)?)
        .bind(entity.staging)
        .bind(entity.merge)
        .bind(entity.core)
        .bind(entity.key)
        .bind(fields)
        .execute(&mut *transaction)
        .await?;
    }
    for (path, text) in &files {
        sqlx::raw_sql(*text)
            .execute(&mut *transaction)
            .await
            .with_context(|| format!("sql/{path}"))?;
    }
    sqlx::query("select core.marts_rebuilt()")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("delete from core.routines")
        .execute(&mut *transaction)
        .await?;
    for (path, checksum) in &wanted {
        sqlx::query("insert into core.routines (path, checksum) values ($1, $2)")
            .bind(path)
            .bind(checksum)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// The catalog as text: what `core.entities` is made from.
fn catalog_text() -> String {
    entities()
        .into_iter()
        .map(|entity| {
            let fields: Vec<_> = entity.columns.iter().map(|column| column.name).collect();
            let (domain, name) = (entity.domain, entity.name);
            let (staging, merge, core) = (entity.staging, entity.merge, entity.core);
            format!(
                "{domain} {name} {staging} {merge} {core} {:?} {fields:?}\n",
                entity.key
            )
        })
        .collect()
}

fn entities() -> Vec<&'static acequia_contracts::Entity> {
    catalog()
        .iter()
        .flat_map(|domain| &domain.entities)
        .collect()
}

/// The repeatable files in the order in which they are applied: the platform's own, each
/// domain's, rules, and grants last.
fn routines() -> Vec<(String, &'static str)> {
    const GRANTS: &str = "9_grants.sql";
    let core = || sql_files(&ROUTINES, "routines", "core");
    let mut files: Vec<_> = core()
        .into_iter()
        .filter(|(path, _)| !path.ends_with(GRANTS))
        .collect();
    for domain in catalog() {
        files.extend(sql_files(&ROUTINES, "routines", domain.name));
        let rules = format!("{}.sql", domain.name);
        if let Some(text) = RULES.get_file(&rules).and_then(|file| file.contents_utf8()) {
            files.push((format!("rules/{rules}"), text));
        }
    }
    files.extend(
        core()
            .into_iter()
            .filter(|(path, _)| path.ends_with(GRANTS)),
    );
    files
}

fn sql_files(root: &'static Dir<'static>, name: &str, folder: &str) -> Vec<(String, &'static str)> {
    let mut files: Vec<_> = root
        .get_dir(folder)
        .into_iter()
        .flat_map(Dir::files)
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|extension| extension == "sql")
        })
        .filter_map(|file| {
            Some((
                format!("{name}/{}", file.path().display()),
                file.contents_utf8()?,
            ))
        })
        .collect();
    files.sort();
    files
}

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Sends only a verifier: a server logs statements, and shows them in `pg_stat_activity`.
/// It cannot be a parameter of `alter role`; the server itself quotes it.
async fn set_password(
    connection: &mut PgConnection,
    role: &str,
    password: &str,
) -> anyhow::Result<()> {
    let statement: String =
        sqlx::query_scalar("select format('alter role %I password %L', $1::text, $2::text)")
            .bind(role)
            .bind(scram_sha_256(password.as_bytes()))
            .fetch_one(&mut *connection)
            .await?;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .with_context(|| format!("password of role {role}"))?;
    Ok(())
}

/// The newest migration of this program.
#[must_use]
pub fn latest() -> i32 {
    migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap_or(0)
}

/// Insists that the schema has exactly the version of this program.
///
/// # Errors
/// When it is older, newer or not there; the text says what to do.
pub async fn check(connection: &mut PgConnection) -> anyhow::Result<()> {
    let found: Result<Option<i32>, _> =
        sqlx::query_scalar("select max(version)::int from core.refinery_schema_history")
            .fetch_one(&mut *connection)
            .await;
    let version = match found {
        Ok(version) => version.unwrap_or(0),
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| code.starts_with("42")) =>
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
    if version > latest() {
        bail!(
            "the schema has version {version}, this program knows {} only: use the newer program",
            latest()
        );
    }
    let present: Vec<(String, String)> = sqlx::query_as("select path, checksum from core.routines")
        .fetch_all(connection)
        .await
        .context("reading the routines' versions")?;
    let present: BTreeMap<_, _> = present.into_iter().collect();
    let missing = routines()
        .into_iter()
        .find(|(path, text)| present.get(path) != Some(&checksum(text)));
    if let Some((path, _)) = missing {
        bail!("sql/{path} is not applied as this program has it: run `worker migrate`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// refinery skips files whose names it does not understand without a word.
    #[test]
    fn every_migration_file_is_seen() {
        static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sql/migrations");
        assert_eq!(
            FILES.files().count(),
            migrations::runner().get_migrations().len()
        );
    }

    #[test]
    fn every_routine_file_belongs_to_a_domain() {
        let known = ROUTINES.dirs().flat_map(Dir::files).count() + RULES.files().count();
        assert_eq!(routines().len(), known);
        assert!(
            routines()
                .last()
                .is_some_and(|(path, _)| path.ends_with("9_grants.sql"))
        );
    }
}
