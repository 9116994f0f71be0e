//! `worker trace`: what became of a message, or of everything that came under a key. It reads
//! what the database holds anyway; nothing is written for it.

mod away;
mod core_row;
mod key;
mod lost;
mod message;
mod quarantine;
pub mod staged;
mod target;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use self::key::KeyTrace;
use self::message::MessageTrace;
use self::target::Target;
use crate::config::DatabaseArgs;
use crate::{db, migrate, settings};

/// Options of `worker trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Id of a message, as its publisher sent it or as quarantine, staging or core have it; or
    /// <domain>.<entity> with its key after it
    #[arg(
        value_name = "MESSAGE_ID | DOMAIN.ENTITY",
        allow_negative_numbers = true
    )]
    target: String,
    /// Key of the entity, in the catalog's order when it has several columns
    #[arg(value_name = "KEY", allow_negative_numbers = true)]
    key: Vec<String>,
    /// Print a JSON object, described in docs/operations.md
    #[arg(long)]
    json: bool,
    /// Show the values of the message too, which may be personal data
    #[arg(long)]
    values: bool,
    /// Longest time for one look into the database; a key is looked for in all of staging
    #[arg(long, default_value = "30s", value_parser = |text: &str| settings::TRACE_TIMEOUT.parse(text), value_name = "TIME")]
    timeout: Duration,
}

/// What was found, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[serde(tag = "trace", rename_all = "snake_case")]
enum Trace {
    Message(Box<MessageTrace>),
    Key(Box<KeyTrace>),
}

/// Runs the command. Exit code 1 when nothing is known of the message or the key.
///
/// # Errors
/// When it is used wrongly, or the database does not answer, refuses, or takes too long.
pub async fn execute(args: TraceArgs) -> anyhow::Result<ExitCode> {
    let target = Target::parse(&args.target, &args.key)?;
    let mut connection = db::connect(&args.database.url()?, "trace")
        .await
        .context("database")?;
    insist_on_rights(&mut connection).await?;
    migrate::check(&mut connection).await?;
    let trace = look(&mut connection, &target, &args)
        .await
        .map_err(|error| explain(error, args.timeout))?;
    let found = match &trace {
        Trace::Message(trace) => trace.is_known(),
        Trace::Key(trace) => trace.is_known(),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&trace)?);
    } else {
        match &trace {
            _ if !found => {
                let lost = match &trace {
                    Trace::Message(trace) => lost::text(&trace.lost),
                    Trace::Key(_) => lost::text(&lost::find(&mut connection, None).await?),
                };
                acequia_telemetry::note!("{}{lost}", target.unknown());
            }
            Trace::Message(trace) => print!("{}", text::message(trace)),
            Trace::Key(trace) => print!("{}", text::key(trace)),
        }
    }
    Ok(if found {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Everything is read in one snapshot, so that a row on its way is seen in one place.
async fn look(
    connection: &mut PgConnection,
    target: &Target,
    args: &TraceArgs,
) -> sqlx::Result<Trace> {
    let mut snapshot = connection
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    let limit = args.timeout.as_millis().max(1);
    sqlx::raw_sql(AssertSqlSafe(format!(
        "set local statement_timeout = {limit}"
    )))
    .execute(&mut *snapshot)
    .await?;
    let trace = match target {
        Target::Message(asked, identity) => {
            let read = MessageTrace::read(&mut snapshot, asked, *identity, args.values);
            Trace::Message(Box::new(read.await?))
        }
        Target::Key(entity, key) => {
            let read = KeyTrace::read(&mut snapshot, entity, key, args.values);
            Trace::Key(Box::new(read.await?))
        }
    };
    snapshot.commit().await?;
    Ok(trace)
}

/// Analysts read marts only. They are told so here rather than by the first table they may not
/// read.
async fn insist_on_rights(connection: &mut PgConnection) -> anyhow::Result<()> {
    let (role, may): (String, bool) = sqlx::query_as(
        "select current_user::text, coalesce(bool_and(has_schema_privilege(n.oid, 'usage')), true)
         from pg_namespace n where n.nspname in ('raw', 'stg')",
    )
    .fetch_one(connection)
    .await
    .context("reading the rights of this role")?;
    if !may {
        bail!(
            "role {role} may not look at single messages: connect as acequia_worker or as the owner of the database"
        );
    }
    Ok(())
}

fn explain(error: sqlx::Error, timeout: Duration) -> anyhow::Error {
    let code = error.as_database_error().and_then(DatabaseError::code);
    match code.as_deref() {
        Some("57014") => anyhow::anyhow!(
            "the database took longer than {} s. Staging has no index on keys: allow more with --timeout, or ask by message id",
            timeout.as_secs_f64()
        ),
        Some("42501") => anyhow::Error::new(error)
            .context("this role may not look at single messages: connect as acequia_worker or as the owner of the database"),
        _ => anyhow::Error::new(error).context("reading the trace"),
    }
}
