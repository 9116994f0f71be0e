//! Detects a pooler such as pgbouncer between worker and PostgreSQL. One that gives each transaction another
//! server connection cannot be worked through: locks and settings of a session end up in somebody
//! else's, prepared statements too.

use acequia_net::SecretUrl;
use anyhow::{Context, bail};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::db;

/// The remedy for a pooler that shares sessions.
pub const REMEDY: &str = "Use pool_mode = session for this database, or connect to PostgreSQL itself: transactions of the worker need a session of their own.";
/// How often two connections are compared: a pooler may happen to have two servers at hand.
const LOOKS: usize = 3;

/// Way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Directly, or through a pooler that keeps sessions apart.
    Session,
    /// The same, but the pooler drops the limits of time that connections ask for.
    WithoutLimits,
    /// Two connections share a session of the server.
    Shared,
}

/// Determines the way to the server: two open connections must be two sessions of it.
///
/// # Errors
/// When the server cannot be reached; the error of sqlx is among its causes.
pub async fn look(url: &SecretUrl) -> anyhow::Result<Way> {
    let (way, first) = compare(url, "look").await?;
    let _ = first.close().await;
    Ok(way)
}

/// The way to the server, and one of the connections that were compared.
async fn compare(url: &SecretUrl, name: &str) -> anyhow::Result<(Way, PgConnection)> {
    let (mut first, mut second) = tokio::try_join!(connect(url, name), connect(url, name))?;
    let mut way = Way::Session;
    for _ in 0..LOOKS {
        let (one, limited) = session(&mut first).await.context("database")?;
        let (other, _) = session(&mut second).await.context("database")?;
        if one == other {
            way = Way::Shared;
            break;
        }
        if !limited {
            way = Way::WithoutLimits;
        }
    }
    // Whatever became of it, it is not needed any more.
    let _ = second.close().await;
    Ok((way, first))
}

/// Connects under a name that the server shows, and refuses a pooler that does not keep sessions apart.
///
/// # Errors
/// When there is one, and as [`look`].
pub async fn connect_past(url: &SecretUrl, name: &str) -> anyhow::Result<PgConnection> {
    let (way, connection) = compare(url, name).await?;
    if way == Way::Shared {
        bail!(
            "{url}: a pooler in transaction or statement mode stands before the database. {REMEDY}"
        );
    }
    Ok(connection)
}

async fn connect(url: &SecretUrl, name: &str) -> anyhow::Result<PgConnection> {
    let connection = db::connect(url, name).await;
    let refused = |error: &sqlx::Error| {
        let error = error.as_database_error();
        error.is_some_and(|error| error.message().contains("startup parameter"))
    };
    match connection {
        // As text: by its code it would be a server that is not there yet, and be waited for.
        Err(error) if refused(&error) => bail!(
            "{url}: a pooler refuses what the connection asks for ({error}). {REMEDY} pgbouncer also wants ignore_startup_parameters = options"
        ),
        connection => connection.context("database"),
    }
}

/// The process of the server, and whether the limits of time that the connection asked for hold. By
/// the simple protocol: a prepared statement is what such poolers trip over.
async fn session(connection: &mut PgConnection) -> sqlx::Result<(String, bool)> {
    let row = sqlx::raw_sql(
        "select pg_backend_pid()::text as pid, current_setting('idle_in_transaction_session_timeout') as idle",
    )
    .fetch_one(connection)
    .await?;
    let idle: String = row.try_get("idle")?;
    Ok((row.try_get("pid")?, idle != "0"))
}
