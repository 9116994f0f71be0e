//! What the loops over the database have in common: a connection of their own, a step, a pause,
//! a way back after a failure.

use std::sync::Arc;
use std::time::Duration;

use acequia_contracts::Domain;
use acequia_store::db::{self, Attention, Session, attended};
use acequia_store::failure::{Backoff, describe};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::context::Shared;
use crate::metrics::Open;

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There was work: look again at once.
    Again,
    /// There was none: look again after this time, or when woken.
    Idle(Duration),
}

/// A loop over the database: what it does each time.
pub trait Work: Send + Sync {
    /// Name for logs, metrics and /readyz.
    const NAME: &'static str;
    /// Whether a step is short by design, so that one that goes on for long makes no progress.
    const SHORT: bool = true;
    /// How long a step may take.
    const WITHIN: Duration = if Self::SHORT {
        SHORT_WITHIN
    } else {
        LONG_WITHIN
    };

    /// Whether a step does nothing but ask the database, so that a connection which the server finds
    /// idle is a dead one.
    const ATTENDED: bool = true;
    /// What it works for, as logs and /readyz name it.
    fn subject(domain: &'static Domain) -> &'static str {
        domain.name
    }

    /// Sets up a new connection.
    ///
    /// # Errors
    /// Whatever PostgreSQL answers.
    fn prepare(
        &self,
        _connection: &mut Session,
        _shared: &Shared,
    ) -> impl Future<Output = sqlx::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Does what there is to do for a domain.
    ///
    /// # Errors
    /// Whatever PostgreSQL answers.
    fn step(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        shared: &Shared,
    ) -> impl Future<Output = sqlx::Result<Step>> + Send;
}

/// How long a step may take. The server's own limits end a statement earlier; this is for a
/// server that does not answer at all.
const SHORT_WITHIN: Duration = Duration::from_secs(180);
/// How long a new connection may take to be set up.
const PREPARED_WITHIN: Duration = Duration::from_secs(30);
/// The same for steps of several long statements.
const LONG_WITHIN: Duration = Duration::from_secs(1800);

async fn connect<W: Work>(
    work: &W,
    subject: &str,
    shared: &Shared,
) -> sqlx::Result<(Session, Open)> {
    let attempt = db::open(&shared.database, &format!("{} {subject}", W::NAME)).await;
    let mut connection = shared.metrics.loops.connected(W::NAME, attempt)?;
    tokio::time::timeout(PREPARED_WITHIN, work.prepare(&mut connection.0, shared))
        .await
        .unwrap_or_else(|_| Err(db::no_answer(PREPARED_WITHIN)))?;
    Ok(connection)
}

/// Repeats a step until told to stop. A failed step is repeated on a new connection after a
/// growing pause; it never ends the loop.
pub async fn run<W: Work>(
    work: W,
    domain: &'static Domain,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let (name, subject) = (W::NAME, W::subject(domain));
    let health = shared.health.of(name, subject);
    let mut backoff = Backoff::default();
    let mut connection: Option<(Session, Open)> = None;
    let tell = |note| health.waits(note);
    while !stop.is_cancelled() {
        let outcome = match &mut connection {
            // A step that is given up takes its connection with it: nobody meets what is left of
            // its transaction, which the server rolls back.
            Some((connection, _)) => {
                if W::SHORT {
                    health.working();
                }
                let attention = Attention {
                    database: &shared.database,
                    backend: connection.backend,
                    under_way: Duration::ZERO,
                    within: W::WITHIN,
                    tell: &tell,
                };
                let step = work.step(connection, domain, &shared);
                if W::ATTENDED {
                    attended(&attention, step).await
                } else {
                    tokio::time::timeout(W::WITHIN, step)
                        .await
                        .unwrap_or_else(|_| Err(db::no_answer(W::WITHIN)))
                }
            }
            None => match connect(&work, subject, &shared).await {
                Ok(new) => {
                    connection = Some(new);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        let pause = match outcome {
            Ok(Step::Again) => {
                backoff.reset();
                health.succeeded();
                continue;
            }
            Ok(Step::Idle(pause)) => {
                backoff.reset();
                health.succeeded();
                pause
            }
            Err(failed) => {
                connection = None;
                health.failed(describe(&failed));
                shared.metrics.loops.failed(name, subject, &failed);
                backoff.next_delay()
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            () = shared.woken(name, subject), if backoff.attempts() == 0 => {}
        }
    }
}
