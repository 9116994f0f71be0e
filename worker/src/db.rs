//! Connections to PostgreSQL. Each loop owns one; there is no pool on the way of a message.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::config::SecretUrl;

/// How long the server may take to let us in.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Options for a connection: time limits on the server's side, a name that shows in
/// `pg_stat_activity`, durable commits whatever the server's default is.
///
/// # Errors
/// When the URL has options that PostgreSQL does not know.
pub fn options(url: &SecretUrl, name: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url.expose())?
        .application_name(&format!("acequia {name}"))
        .options([
            ("statement_timeout", "120s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "30s"),
            ("synchronous_commit", "on"),
            ("timezone", "UTC"),
        ])
        .disable_statement_logging())
}

/// Opens a connection.
///
/// # Errors
/// When the server does not answer within ten seconds or refuses.
pub async fn connect(url: &SecretUrl, name: &str) -> sqlx::Result<PgConnection> {
    let options = options(url, name)?;
    // Connecting may be cancelled: nothing has been sent that could be half done.
    tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(&options))
        .await
        .unwrap_or_else(|_| Err(no_answer(CONNECT_WITHIN)))
}

/// The error of a server that does not answer. sqlx has no limit of its own, and a server that is
/// stopped or cut off says nothing.
#[must_use]
pub fn no_answer(within: Duration) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {} s", within.as_secs()),
    ))
}
