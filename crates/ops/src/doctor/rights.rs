//! Checks that each role has the rights of its duty and no others, and the rights of everybody.

use acequia_net::SecretUrl;
use acequia_store::pooler::{self, Way};
use sqlx::{AssertSqlSafe, PgConnection};

use super::finding::{Finding, Findings, Verdict, said};

/// Settings of the server: name, the value it should have, what it is for.
const SETTINGS: [(&str, &str, &str); 4] = [
    (
        "log_error_verbosity",
        "terse",
        "the server's log quotes the rows that a constraint refuses",
    ),
    (
        "log_parameter_max_length_on_error",
        "0",
        "the server's log quotes the values of statements that fail",
    ),
    (
        "log_parameter_max_length",
        "0",
        "the server's log quotes the values of statements that it logs",
    ),
    (
        "max_prepared_transactions",
        "0",
        "a prepared transaction outlives its session and keeps locks and vacuum waiting",
    ),
];

/// Functions that every login may call and that leave something behind: large objects that the owner
/// cannot dump, unlimited WAL.
const OPEN: &str = "'lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message'";

/// Whether each connection has a session of its own; behind a pooler that mixes them nothing else can
/// be checked.
pub(super) async fn of_way(url: &SecretUrl, findings: &mut Findings) -> bool {
    let (verdict, found, remedy) = match pooler::look(url).await {
        Ok(Way::Session) => (Verdict::Ok, "a session for each connection".to_owned(), ""),
        Ok(Way::WithoutLimits) => (
            Verdict::Warn,
            "a pooler drops the limits of time that connections ask for".to_owned(),
            "Set them in the pooler, as connect_query = 'set statement_timeout = ''120s''; set lock_timeout = ''5s''; set idle_in_transaction_session_timeout = ''30s'''.",
        ),
        Ok(Way::Shared) => (
            Verdict::Fail,
            "a pooler in transaction or statement mode stands before the database".to_owned(),
            pooler::REMEDY,
        ),
        Err(error) => (
            Verdict::Fail,
            said(&error),
            "Start PostgreSQL, or correct DATABASE_URL.",
        ),
    };
    findings.add("sessions", verdict, found, remedy);
    verdict != Verdict::Fail
}

/// Checks rights, limits and settings.
pub(super) async fn examine(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    rights(connection, findings).await?;
    for (setting, wanted, why) in SETTINGS {
        let value: Option<String> = sqlx::query_scalar("select current_setting($1, true)")
            .bind(setting)
            .fetch_one(&mut *connection)
            .await?;
        let value = value.unwrap_or_default();
        let (verdict, found) = if value == wanted {
            (Verdict::Ok, value)
        } else {
            (Verdict::Warn, format!("{value}: {why}"))
        };
        let remedy =
            format!("Set {setting} = {wanted} in postgresql.conf, as config/postgresql.conf does.");
        findings.add(setting, verdict, found, &remedy);
    }
    let limited: bool = sqlx::query_scalar(AssertSqlSafe(format!(
        "select current_setting('temp_file_limit') <> '-1' and not exists (
             select from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ({OPEN})
               and has_function_privilege('acequia_analyst', p.oid, 'execute'))"
    )))
    .fetch_one(&mut *connection)
    .await?;
    let found = if limited {
        "no role can fill it with large objects, WAL messages or temporary files".to_owned()
    } else {
        "whoever may log in can fill it: by large objects, which also end pg_dump, WAL messages or temporary files".to_owned()
    };
    let remedy = format!(
        "As superuser in this database: do $$ begin execute (select string_agg(format('revoke execute on function %s from public', p.oid::regprocedure), '; ') \
         from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ({OPEN})); end $$. Set temp_file_limit in postgresql.conf."
    );
    let verdict = if limited { Verdict::Ok } else { Verdict::Warn };
    findings.add("server's disk", verdict, found, &remedy);
    limits(connection, findings).await
}

/// The role's rights against `core.rights`, and those of the others.
async fn rights(connection: &mut PgConnection, findings: &mut Findings) -> sqlx::Result<()> {
    let missing: Vec<(String, bool)> = sqlx::query_as(
        "select format('%s may not %s %s', r.role, r.privilege, r.object), r.role = current_user
         from core.rights r
         where not exists (select from core.granted g
             where (g.role, g.kind, g.object, g.privilege) = (r.role, r.kind, r.object, r.privilege))
         order by 2 desc, 1",
    )
    .fetch_all(&mut *connection)
    .await?;
    let more: Vec<String> = sqlx::query_scalar(
        "select format('%s may %s %s', g.role, g.privilege, g.object)
         from core.granted g
         where g.role in ('acequia_worker', 'acequia_archive', 'acequia_operator') and not g.partition
           and not exists (select from core.rights r
               where (g.role, g.kind, g.object, g.privilege) = (r.role, r.kind, r.object, r.privilege))
         order by 1",
    )
    .fetch_all(connection)
    .await?;
    let verdict = match (missing.first(), more.is_empty()) {
        (Some((_, true)), _) => Verdict::Fail,
        (None, true) => Verdict::Ok,
        _ => Verdict::Warn,
    };
    let mut found: Vec<_> = missing.into_iter().map(|(right, _)| right).collect();
    found.extend(more);
    let number = found.len();
    found.truncate(5);
    let found = match number {
        0 => "each role has what its duty needs".to_owned(),
        1..=5 => found.join(", "),
        _ => format!("{} and {} more", found.join(", "), number - 5),
    };
    findings.add(
        "rights",
        verdict,
        found,
        "Run `worker migrate`: it grants what the duties need and revokes the rest.",
    );
    Ok(())
}

/// People's roles have a limit of connections, and no transaction is open for long.
async fn limits(connection: &mut PgConnection, findings: &mut Findings) -> sqlx::Result<()> {
    let unlimited: Vec<String> = sqlx::query_scalar(
        "select r.rolname::text from pg_roles r
         where r.rolname in ('acequia_analyst', 'acequia_operator', 'acequia_api') and r.rolconnlimit = -1 order by 1",
    )
    .fetch_all(&mut *connection)
    .await?;
    let (verdict, found) = if unlimited.is_empty() {
        (Verdict::Ok, "the roles of people have a limit".to_owned())
    } else {
        let found = format!("{} may take every connection", unlimited.join(", "));
        (Verdict::Warn, found)
    };
    findings.add(
        "connections",
        verdict,
        found,
        "Run `worker migrate`, or as the owner of the role: alter role ... connection limit 20.",
    );
    let (callable, owner): (bool, bool) = sqlx::query_as(
        "select has_function_privilege('core.long_transactions(interval)', 'execute'), pg_has_role(current_user, 'pg_monitor', 'usage')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !callable && !owner {
        return Ok(());
    }
    let long: Vec<String> = sqlx::query_scalar(
        "select format('process %s of %s (%s) since %s', t.pid, t.login, t.program, date_trunc('second', t.since))
         from core.long_transactions('15 minutes') t",
    )
    .fetch_all(connection)
    .await?;
    let (verdict, found) = if long.is_empty() {
        (Verdict::Ok, "none is older than 15 minutes".to_owned())
    } else {
        (Verdict::Warn, long.join(", "))
    };
    findings.add(
        "transactions",
        verdict,
        found,
        "Vacuum, retention and migrations wait for them: ask whoever holds them to end them, or select pg_terminate_backend(pid).",
    );
    Ok(())
}

/// Whether a role may drop what it archived.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn may_archive(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select has_function_privilege('core.archive_drop(bigint, bigint, text)', 'execute')",
    )
    .fetch_one(connection)
    .await
}

/// Findings about the login of the archive: its URL, why it cannot archive, or nothing where none is
/// given.
#[must_use]
pub fn archive_login(tried: anyhow::Result<Option<String>>) -> Option<Finding> {
    let (verdict, found, remedy) = match tried {
        Ok(Some(url)) => (Verdict::Ok, url, None),
        Ok(None) => return None,
        Err(error) => (
            Verdict::Fail,
            said(&error),
            Some(
                "Set ARCHIVE_DATABASE_URL to the login of role acequia_archive, whose password `worker migrate` sets (ACEQUIA_ARCHIVE_PASSWORD).",
            ),
        ),
    };
    Some(Finding {
        check: "archive login".to_owned(),
        verdict,
        found,
        remedy: remedy.map(ToOwned::to_owned),
    })
}
