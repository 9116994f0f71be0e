//! Connections to PostgreSQL.

mod attend;
mod listen;
mod options;

use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::failure::{Failure, Unfit, describe};
use acequia_net::{SecretUrl, tls};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};

pub use attend::{Attention, attended};
pub use listen::{listen, probe};
pub use options::{checks_the_server, is_here, options};

/// Time limit for the server to accept a login.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The same for each of several servers: one that is gone must not use up the time of the next.
const EACH_WITHIN: Duration = Duration::from_secs(4);

/// A connection to a server that writes.
#[derive(Debug)]
pub struct Session {
    connection: PgConnection,
    /// The process that serves it.
    pub backend: Backend,
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// A process of the server: numbers are used again, starts are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Its process id.
    pub pid: i32,
    /// When it started, by the server's clock; nothing when the role may not see it.
    pub started: Option<DateTime<Utc>>,
}

/// Opens a connection, see [`open`].
///
/// # Errors
/// Same as [`open`].
pub async fn connect(url: &SecretUrl, name: &str) -> sqlx::Result<PgConnection> {
    Ok(open(url, name).await?.connection)
}

/// Opens a connection to the first server of the URL that lets us in and writes; with
/// `target_session_attrs=any`, to the first that lets us in.
///
/// # Errors
/// When no server answers within ten seconds (four each, when there are several), lets us in and
/// writes, or as [`options`].
pub async fn open(url: &SecretUrl, name: &str) -> sqlx::Result<Session> {
    let any = options::any_server(url);
    first_of(&options(url, name)?, |host, _| enter(host, any)).await
}

/// Connects to the first of several servers that accepts the login. `enter` is given the server and the time
/// that it has.
async fn first_of<T, F>(
    hosts: &[PgConnectOptions],
    enter: impl Fn(PgConnectOptions, Duration) -> F,
) -> sqlx::Result<T>
where
    F: Future<Output = sqlx::Result<T>>,
{
    let within = if hosts.len() == 1 {
        CONNECT_WITHIN
    } else {
        EACH_WITHIN
    };
    let mut refusals = Vec::new();
    for host in hosts {
        // Connecting may be cancelled: nothing has been sent that could be half done.
        let entered = tokio::time::timeout(within, enter(host.clone(), within))
            .await
            .unwrap_or_else(|_| Err(no_answer(within)))
            .map_err(with_remedy);
        match entered {
            Ok(entered) => return Ok(entered),
            Err(error) => refusals.push((host, error)),
        }
    }
    Err(all_refused(refusals))
}

async fn enter(host: PgConnectOptions, any: bool) -> sqlx::Result<Session> {
    // As text, which takes one round trip.
    const WHO: &str = "select pg_is_in_recovery(), current_setting('transaction_read_only')::boolean, \
        pg_backend_pid(), (select a.backend_start from pg_stat_activity a where a.pid = pg_backend_pid())";
    let mut connection = PgConnection::connect_with(&host).await?;
    let row = sqlx::raw_sql(WHO).fetch_one(&mut connection).await?;
    let (standby, read_only): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    let backend = Backend {
        pid: row.try_get(2)?,
        started: row.try_get(3)?,
    };
    if !any {
        must_write(standby, read_only)?;
    }
    Ok(Session {
        connection,
        backend,
    })
}

/// Refuses a server that does not write.
fn must_write(standby: bool, read_only: bool) -> sqlx::Result<()> {
    match (standby, read_only) {
        (true, _) => Err(Unfit::Standby.into()),
        (false, true) => Err(Unfit::ReadOnly.into()),
        (false, false) => Ok(()),
    }
}

/// The error when no server of a URL can be used. Waiting makes sense while one of them may
/// still become the right one.
fn all_refused(mut refusals: Vec<(&PgConnectOptions, sqlx::Error)>) -> sqlx::Error {
    if refusals.len() == 1
        && let Some((_, error)) = refusals.pop()
    {
        return error;
    }
    let text: Vec<String> = refusals
        .iter()
        .map(|(host, error)| {
            format!(
                "{}:{}: {}",
                host.get_host(),
                host.get_port(),
                describe(error)
            )
        })
        .collect();
    let text = format!("none of the servers can be used. {}", text.join("; "));
    let waits = |(_, error): &(_, sqlx::Error)| Failure::of(error) != Failure::Broken;
    if refusals.iter().any(waits) {
        return sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, text));
    }
    misconfigured(text)
}

const fn hung_up(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}

/// Adds to an error of connecting what to do about it, where TLS is the matter.
fn with_remedy(error: sqlx::Error) -> sqlx::Error {
    match &error {
        // sqlx reads the end of the stream as an answer of zero.
        sqlx::Error::Protocol(text) if text.contains("SSLRequest: 0x00") => {
            return Unfit::HungUp.into();
        }
        sqlx::Error::Io(io) => {
            if let Some(remedy) = tls::remedy(io, "DATABASE_CA_FILE", "PGSSLCERT and PGSSLKEY") {
                return sqlx::Error::Tls(format!("{io}; {remedy}").into());
            }
            if hung_up(io.kind()) {
                return Unfit::HungUp.into();
            }
        }
        sqlx::Error::Tls(reason) => {
            return sqlx::Error::Tls(
                format!("{reason}; set ssl = on in the server and check the files with certificates, or, in a private network, set ALLOW_PLAINTEXT=true and no CA")
                    .into(),
            );
        }
        sqlx::Error::Database(refusal) if refusal.code().as_deref() == Some("28000") => {
            if let Some(remedy) = refused_by_tls(refusal.message()) {
                return misconfigured(format!("{}; {remedy}", refusal.message()));
            }
        }
        _ => {}
    }
    error
}

/// The remedy when the access rules of the server demand TLS or a certificate. The server has one code for
/// all refusals, so its message is parsed; for a server that speaks another language there is no advice.
fn refused_by_tls(message: &str) -> Option<String> {
    if message.contains("no encryption") {
        return Some(
            "the server wants TLS: use sslmode=verify-full, with DATABASE_CA_FILE if its CA is your own".to_owned(),
        );
    }
    message
        .contains("requires a valid client certificate")
        .then(|| "set PGSSLCERT and PGSSLKEY to a certificate that the server accepts".to_owned())
}

fn misconfigured(text: String) -> sqlx::Error {
    sqlx::Error::Configuration(text.into())
}

/// The error of a server that does not answer. sqlx has no limit of its own, and a server that is
/// stopped or cut off says nothing.
#[must_use]
pub fn no_answer(within: Duration) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer within {} s", within.as_secs()),
    ))
}
