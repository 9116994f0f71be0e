//! Passwords and limits of the roles: settings of the server, not of the database.

use acequia_net::SecretUrl;
use acequia_store::db;
use anyhow::{Context, bail};
use postgres_protocol::password::scram_sha_256;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// PostgreSQL lets everybody fill the disk with temporary tables, run a statement without end, and
/// keep vacuum waiting in a transaction: one that an analyst has forgotten takes a processor from
/// promotion. The times are defaults, which a session may lift; the number of connections is a
/// limit. Said each time: what belongs to a database from outside is in no dump of it, and no
/// copy has it.
const LIMITS: &str = "do $$
declare
    v_role record;
begin
    execute format('revoke temporary on database %I from public', current_database());
    for v_role in
        select r.rolname, r.rolconnlimit, l.statement_timeout, l.idle
        from (values ('acequia_analyst', '60s', '60s'), ('acequia_api', '60s', '60s'), ('acequia_operator', '10min', '5min'))
            l (role, statement_timeout, idle)
        join pg_catalog.pg_roles r on r.rolname = l.role
    loop
        begin
            execute format('alter role %I in database %I set statement_timeout = %L', v_role.rolname, current_database(), v_role.statement_timeout);
            execute format('alter role %I in database %I set idle_in_transaction_session_timeout = %L', v_role.rolname, current_database(), v_role.idle);
        exception when insufficient_privilege then
            null; -- the role is another owner's; worker doctor names the settings that are missing
        end;
        -- Another number was chosen by somebody.
        continue when v_role.rolconnlimit <> -1;
        begin
            execute format('alter role %I connection limit 20', v_role.rolname);
        exception when insufficient_privilege or internal_error then
            null; -- or a neighbour sets it at this moment
        end;
    end loop;
    begin
        revoke create on schema public from public;
    exception when insufficient_privilege or invalid_schema_name then
        null;
    end;
end $$";

/// Sets the limits.
pub(super) async fn limit(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::raw_sql(LIMITS)
        .execute(connection)
        .await
        .context("limits of the roles")?;
    Ok(())
}

/// Sets the password of a role. Roles belong to the server: one that other databases use gets
/// another password only if that is asked for.
pub(super) async fn set_password(
    connection: &mut PgConnection,
    url: &SecretUrl,
    role: &str,
    password: &str,
    take_over: bool,
) -> anyhow::Result<()> {
    let others = other_databases(connection, role).await?;
    if !others.is_empty() && !take_over {
        return match has_password(url, role, password).await? {
            true => Ok(()),
            false => bail!(
                "role {role} also serves database {} of this server, whose programs would be locked out by another password. \
                 Give the password that the role has, use a server of its own, or say --take-over-roles to set it for all of them",
                others.join(", ")
            ),
        };
    }
    // Only a verifier: a server logs statements, and shows them in `pg_stat_activity`. It cannot
    // be a parameter of `alter role`; the server itself quotes it.
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

/// Other databases of the server in which a role has rights.
async fn other_databases(connection: &mut PgConnection, role: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct d.datname::text from pg_shdepend s
         join pg_roles r on r.oid = s.refobjid
         join pg_database d on d.oid = s.dbid
         where s.refclassid = 'pg_authid'::regclass and r.rolname = $1 and d.datname <> current_database()
         order by 1",
    )
    .bind(role)
    .fetch_all(connection)
    .await
}

/// Whether a role has this password already: by logging in, since no role may read it.
async fn has_password(url: &SecretUrl, role: &str, password: &str) -> anyhow::Result<bool> {
    let mut own = url.expose()?;
    let others: Vec<(String, String)> = own
        .query_pairs()
        .filter(|(key, _)| key != "user" && key != "password")
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    own.set_query(None);
    if !others.is_empty() {
        own.query_pairs_mut().extend_pairs(others);
    }
    let set = own
        .set_username(role)
        .and_then(|()| own.set_password(Some(password)));
    if set.is_err() {
        bail!("DATABASE_URL names no host: role {role} cannot be tried");
    }
    let own = SecretUrl::parse(own.as_str(), &["postgres", "postgresql"])?
        .with_tls(url.tls().clone())
        .with_plaintext(url.may_be_plaintext());
    match db::connect(&own, "password").await {
        Ok(connection) => {
            connection.close().await?;
            Ok(true)
        }
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("28P01") => Ok(false),
        Err(error) => Err(error)
            .with_context(|| format!("logging in as {role} to see whether it has this password")),
    }
}
