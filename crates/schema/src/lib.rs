//! Schema: migrations once and in order, routines and rules again whenever they change.
//!
//! refinery takes no lock: `migrate` takes one for the whole of its work.

mod check;
mod driver;
mod kept;
mod merges;
mod replace;
mod roles;
mod routines;

use std::time::Duration;

use acequia_contracts::catalog;
use acequia_net::SecretUrl;
use acequia_store::{db, interval, pooler};
use anyhow::{Context, bail};
use driver::Driver;
use embedded::migrations;
use kept::Kept;
use routines::File;
use sqlx::{Connection, PgConnection};
use tracing::info;

pub use check::check;
pub use merges::merge_sql;

#[allow(missing_docs)]
mod embedded {
    refinery::embed_migrations!("../../sql/migrations");
}

const HISTORY: &str = "core.refinery_schema_history";
/// Pause before the next attempt to take a lock that cannot be waited for.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The lock of `migrate`: a table that other roles cannot lock. It must be there before
/// the first migration.
const LOCK: &str = "create schema if not exists core; \
    create table if not exists core.migration (); \
    comment on table core.migration is 'Locked by worker migrate for the whole of its work; holds no rows'";

/// Whether no program before version 11 of the schema migrates: those take an advisory lock, which
/// counts only if this role holds it.
const NO_OLDER_PROGRAM: &str = "select pg_try_advisory_lock(181292314) or not exists ( \
    select from pg_locks l join pg_stat_activity a on a.pid = l.pid \
    where l.locktype = 'advisory' and (l.classid, l.objid, l.objsubid) = (0, 181292314, 1) and l.granted \
      and a.datname = current_database() and a.usename = current_user and l.pid <> pg_backend_pid())";
/// Schema version of the oldest program that works on this schema. A migration that takes away what
/// such a program uses raises it to the first version that does without: first expand, then contract.
const OLDEST_SERVED: i32 = 7;

/// Rows of locks for marts: a lock that a repeatable-read transaction takes must exist before its
/// snapshot.
const LOCKS: &str = "insert into core.locks (name) \
    select 'refresh.' || m.mart from core.marts m where m.kind = 'materialized' on conflict do nothing";

/// State of ticks that are registered no more. Outside of the transaction of the rules, whose snapshot does not see what
/// workers write meanwhile.
const FORGOTTEN_TICKS: &str = "delete from core.tick_state s \
    where not exists (select from core.ticks t where t.function = s.function)";

/// Further options of `migrate`.
#[derive(Debug, Default)]
pub struct Options {
    /// Passwords of login roles: (role, password). The server never sees them, only what it needs
    /// to check them.
    pub passwords: Vec<(&'static str, String)>,
    /// Whether a role that other databases of the server use may get another password.
    pub take_over_roles: bool,
    /// Retention periods: (row of `core.retention`, time).
    pub keep: Vec<(&'static str, Duration)>,
}

/// Result of `migrate`.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Migrations applied now.
    pub migrations: Vec<String>,
    /// Routines and rules applied now; empty when none had changed.
    pub routines: Vec<String>,
    /// Rights of roles that were granted or revoked.
    pub rights: i32,
    /// Version of the schema.
    pub version: i32,
}

/// Brings the schema to the version of this program. Safe to call from several processes at
/// once and again at any time.
///
/// # Errors
/// Same as [`migrate_with`].
pub async fn migrate(
    url: &SecretUrl,
    passwords: &[(&'static str, String)],
) -> anyhow::Result<Report> {
    let options = Options {
        passwords: passwords.to_vec(),
        ..Options::default()
    };
    migrate_with(url, &options).await
}

/// The same with more options.
///
/// # Errors
/// When the database does not answer, an SQL file fails, something of the catalog is missing
/// afterwards, the schema is newer than this program, or a password would lock out another database.
pub async fn migrate_with(url: &SecretUrl, options: &Options) -> anyhow::Result<Report> {
    let mut connection = pooler::connect_past(url, "migrate").await?;
    // Its transaction, and with it the lock, ends with the connection.
    let alone = alone(url).await?;
    let report = apply(&mut connection, url, options)
        .await
        .map_err(with_detail)?;
    connection.close().await?;
    alone.close().await?;
    Ok(report)
}

/// Adds the server's detail to errors about dependent objects: it names the view that prevents the
/// change. Details of other errors may quote data and are left out.
fn with_detail(error: anyhow::Error) -> anyhow::Error {
    let database = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<sqlx::Error>())
        .find_map(sqlx::Error::as_database_error)
        .filter(|error| matches!(error.code().as_deref(), Some("2BP01" | "0A000")));
    let detail = database
        .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
        .and_then(|error| error.detail().map(ToOwned::to_owned));
    match detail {
        Some(detail) => error.context(format!(
            "{detail}. Drop the view named here, run `worker migrate` again, and make it again"
        )),
        None => error,
    }
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
        // Another process creates the same objects at the same time.
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
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
    url: &SecretUrl,
    options: &Options,
) -> anyhow::Result<Report> {
    // No time limit for a migration or for waiting on another process. Notices about objects
    // that `drop if exists` did not find are silenced.
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
    let version = version(connection).await?;
    if version > latest() {
        bail!(
            "the schema has version {version}, this program knows {} only: use the newer program",
            latest()
        );
    }
    let files = routines::files();
    let kept = keep(connection, &files).await?;
    if version < latest() {
        kept.write(connection).await?;
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
    // The migrations have created the table that it is written to.
    if !report.migrations.is_empty() {
        kept.write(connection).await?;
    }
    report.routines = routines::apply(connection, &kept).await?;
    check::write_served(connection).await?;
    for (what, time) in &options.keep {
        keep_for(connection, what, *time).await?;
    }
    sqlx::query("select core.ensure_partitions(), core.guard_references()")
        .execute(&mut *connection)
        .await?;
    sqlx::query(LOCKS).execute(&mut *connection).await?;
    sqlx::query(FORGOTTEN_TICKS)
        .execute(&mut *connection)
        .await?;
    report.rights = sqlx::query_scalar("select core.apply_rights()")
        .fetch_one(&mut *connection)
        .await
        .context("rights of the roles")?;
    for (role, password) in &options.passwords {
        roles::set_password(connection, url, role, password, options.take_over_roles).await?;
    }
    roles::limit(connection).await?;
    let missing = check::missing(connection, &files).await?;
    if !missing.is_empty() {
        bail!("applied, but the schema lacks {}", missing.join(", "));
    }
    info!(
        event = "migrate.done",
        version = report.version,
        migrations = report.migrations.len(),
        routines = report.routines.len(),
        rights = report.rights,
        "schema is up to date"
    );
    Ok(report)
}

/// Version of the schema, 0 when there is none. Asked before refinery runs: it would only find that a
/// migration of its own is missing.
async fn version(connection: &mut PgConnection) -> sqlx::Result<i32> {
    let history: Option<String> = sqlx::query_scalar("select to_regclass($1)::text")
        .bind(HISTORY)
        .fetch_one(&mut *connection)
        .await?;
    if history.is_none() {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0)::int from core.refinery_schema_history")
        .fetch_one(connection)
        .await
}

/// Finds the objects that others have made on our views.
async fn keep(connection: &mut PgConnection, files: &[File]) -> sqlx::Result<Kept> {
    let domains = catalog().iter().map(|domain| domain.name);
    let schemas: Vec<_> = domains.chain(["core", "raw", "stg", "marts"]).collect();
    let objects: Vec<_> = files.iter().flat_map(File::objects).collect();
    Kept::find(connection, &schemas, &objects).await
}

/// Sets a period of `core.retention`.
async fn keep_for(connection: &mut PgConnection, what: &str, time: Duration) -> anyhow::Result<()> {
    let set = sqlx::query("update core.retention set keep = $2 where what = $1")
        .bind(what)
        .bind(interval(time))
        .execute(connection)
        .await;
    match set {
        Ok(_) => Ok(()),
        Err(error) if code(&error).as_deref() == Some("23514") => bail!(
            "{what} cannot be kept for {} h only: staging at least 1 day, quarantine 30 days, logs 7 days",
            time.as_secs() / 3600
        ),
        Err(error) => Err(error.into()),
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    error.code().map(std::borrow::Cow::into_owned)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// refinery skips files whose names it does not understand without a word.
    #[test]
    fn every_migration_file_is_seen() {
        static FILES: include_dir::Dir<'_> =
            include_dir::include_dir!("$CARGO_MANIFEST_DIR/../../sql/migrations");
        assert_eq!(
            FILES.files().count(),
            migrations::runner().get_migrations().len()
        );
    }
}
