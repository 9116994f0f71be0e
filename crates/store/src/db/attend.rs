//! Long-running statements: tells a busy server from a dead connection.
//!
//! A connection can go silent while the server is well: a switch forgets it, a packet filter drops
//! its packets, a failover leaves it with a server that nobody talks to. TCP notices after minutes,
//! and sqlx keeps its sockets to itself. So the waiting task asks the server, by a new connection,
//! about the old one. A deadline could not tell a long merge from a dead line.

use std::pin::pin;
use std::time::Duration;

use acequia_net::SecretUrl;
use sqlx_macros::FromRow;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::{Backend, connect, no_answer};
use crate::failure::describe;

/// Running time of a statement after which the server is asked about it.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// Longest time between two looks: they come at growing distances, since each costs a connection.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Time between a suspicion and the look that confirms it.
const SURE_AFTER: Duration = Duration::from_secs(1);
/// How long the server may have nothing to do, or wait for the network, before that is suspicious.
const QUIET_FOR: Duration = Duration::from_secs(4);
/// Time limit of a look.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// Context in which a question is attended, and its time limits.
pub struct Attention<'a> {
    /// The database.
    pub database: &'a SecretUrl,
    /// The process that was asked.
    pub backend: Backend,
    /// Time that the way of the question itself may take: a large one is under way for longer.
    pub under_way: Duration,
    /// Longest time for the answer, whatever the server says.
    pub within: Duration,
    /// Receives the server's state while the answer takes long.
    pub tell: &'a (dyn Fn(String) + Sync),
}

/// State of a server process.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It works on the question; what it waits for, if it waits.
    Working(Option<String>),
    /// It has had nothing to do for long, or waits for the network: question or answer are lost.
    Quiet,
    /// There is no such process.
    Gone,
}

/// The answer to a question. While it takes long the server is asked, by another connection, about
/// the process that is to give it. When that process is not there, or has nothing to do, the answer will
/// never come: the process is ended, so that it keeps no lock, and the error says so. The caller
/// must not use the connection after an error of the kind [`sqlx::Error::Io`].
///
/// # Errors
/// Errors of the question, or one of kind `Io` when no answer will come or none came in time.
pub async fn attended<T>(
    attention: &Attention<'_>,
    question: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    let mut question = pin!(question);
    let begun = Instant::now();
    let deadline = begun + attention.within;
    let first = LOOK_AFTER + attention.under_way;
    let (mut next_look, mut pause) = (begun + first, LOOK_AFTER);
    let mut suspected = false;
    loop {
        if let Ok(answer) = timeout_at(next_look.min(deadline), &mut question).await {
            return answer;
        }
        if Instant::now() >= deadline {
            return Err(no_answer(attention.within));
        }
        // The question goes on meanwhile: it may have been us who were slow.
        let found = tokio::select! {
            biased;
            answer = &mut question => return answer,
            found = timeout(LOOK_WITHIN, look(attention)) => {
                found.unwrap_or_else(|_| Err(no_answer(LOOK_WITHIN)))
            }
        };
        let waited = begun.elapsed();
        match found {
            Ok(Found::Working(wait)) => {
                suspected = false;
                let text = working(wait.as_deref());
                if pause == LOOK_AFTER {
                    info!(
                        event = "database.slow",
                        pid = attention.backend.pid,
                        waited_s = waited.as_secs(),
                        found = text,
                        "an answer takes long"
                    );
                }
                (attention.tell)(text);
            }
            Ok(found) if suspected => {
                let pid = attention.backend.pid;
                let what = match found {
                    Found::Gone => "the server knows nothing of it",
                    _ => "the server has nothing to do for it",
                };
                warn!(
                    event = "database.connection_dead",
                    pid,
                    waited_s = waited.as_secs(),
                    found = what,
                    "a connection is dead, a new one takes its place"
                );
                if found == Found::Quiet {
                    end(attention).await;
                }
                return Err(sqlx::Error::Io(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    format!(
                        "the connection is dead: no answer for {} s, and {what}",
                        waited.as_secs()
                    ),
                )));
            }
            Ok(_) => {
                suspected = true;
                next_look = Instant::now() + SURE_AFTER;
                continue;
            }
            Err(error) => {
                suspected = false;
                (attention.tell)(format!(
                    "a new connection fails as well: {}",
                    describe(&error)
                ));
            }
        }
        pause = (pause * 2).min(LOOK_EVERY);
        next_look = Instant::now() + pause;
    }
}

fn working(wait: Option<&str>) -> String {
    match wait {
        Some("IPC: SyncRep") => {
            "a commit waits for its synchronous standby: look at pg_stat_replication and \
            synchronous_standby_names"
                .to_owned()
        }
        Some(wait) => format!("the server works on it, and waits for {wait}"),
        None => "the server works on it".to_owned(),
    }
}

#[derive(FromRow)]
struct Process {
    state: Option<String>,
    wait_type: Option<String>,
    wait: Option<String>,
    /// Seconds since its state changed.
    since: Option<f64>,
}

async fn look(attention: &Attention<'_>) -> sqlx::Result<Found> {
    const PROCESS: &str = "
        select state, wait_event_type as wait_type, wait_event as wait,
               extract(epoch from clock_timestamp() - state_change)::float8 as since
        from pg_stat_activity
        where pid = $1 and ($2::timestamptz is null or backend_start = $2)";
    let mut connection = connect(attention.database, "look").await?;
    let process: Option<Process> = sqlx::query_as(PROCESS)
        .bind(attention.backend.pid)
        .bind(attention.backend.started)
        .fetch_optional(&mut connection)
        .await?;
    Ok(process.map_or(Found::Gone, |process| {
        judge(&process, QUIET_FOR + attention.under_way)
    }))
}

fn judge(process: &Process, quiet_for: Duration) -> Found {
    let Process {
        state: Some(state),
        wait_type,
        wait,
        since: Some(since),
    } = process
    else {
        return Found::Working(None); // it cannot be seen (track_activities, other role)
    };
    let long = *since >= quiet_for.as_secs_f64();
    let network = wait_type.as_deref() == Some("Client");
    match state.as_str() {
        "active" | "fastpath function call" if !(network && long) => Found::Working(
            wait_type
                .as_ref()
                .zip(wait.as_ref())
                .map(|(wait_type, wait)| format!("{wait_type}: {wait}")),
        ),
        "disabled" => Found::Working(None),
        _ if long => Found::Quiet,
        _ => Found::Working(None),
    }
}

/// Ends the process that serves the dead connection. It may hold locks, and a transaction that
/// nobody will ever end.
async fn end(attention: &Attention<'_>) {
    const END: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
        where pid = $1 and ($2::timestamptz is null or backend_start = $2)";
    let ended = async {
        let mut connection = connect(attention.database, "look").await?;
        sqlx::query(END)
            .bind(attention.backend.pid)
            .bind(attention.backend.started)
            .execute(&mut connection)
            .await
    };
    // The server ends it by itself before long.
    if let Ok(Err(error)) = timeout(LOOK_WITHIN, ended).await {
        warn!(
            event = "database.connection_dead",
            pid = attention.backend.pid,
            error = describe(&error),
            "the server's side of a dead connection could not be ended"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(state: &str, wait: Option<(&str, &str)>, since: f64) -> Found {
        let process = Process {
            state: Some(state.to_owned()),
            wait_type: wait.map(|(kind, _)| kind.to_owned()),
            wait: wait.map(|(_, wait)| wait.to_owned()),
            since: Some(since),
        };
        judge(&process, QUIET_FOR)
    }

    #[test]
    fn a_server_at_work_differs_from_one_that_hears_nothing() {
        let reading = Some(("Client", "ClientRead"));
        let writing = Some(("Client", "ClientWrite"));
        let standby = Some(("IPC", "SyncRep"));
        assert_eq!(found("active", None, 300.0), Found::Working(None));
        assert_eq!(
            found("active", standby, 300.0),
            Found::Working(Some("IPC: SyncRep".to_owned()))
        );
        assert!(working(Some("IPC: SyncRep")).contains("synchronous standby"));
        for state in [
            "idle",
            "idle in transaction",
            "idle in transaction (aborted)",
        ] {
            assert_eq!(found(state, reading, 30.0), Found::Quiet, "{state}");
            assert_eq!(found(state, reading, 0.1), Found::Working(None), "{state}");
        }
        assert_eq!(found("active", writing, 30.0), Found::Quiet);
        assert!(matches!(found("active", writing, 0.1), Found::Working(_)));
        assert_eq!(found("disabled", None, 30.0), Found::Working(None));
    }
}
