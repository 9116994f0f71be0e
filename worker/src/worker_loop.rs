//! The common frame of the loops over the database: a connection per poll, pauses, recovery after a failure.

use std::sync::Arc;
use std::time::Duration;

use acequia_contracts::Domain;
use acequia_store::db::{self, Attention, Session, attended};
use acequia_store::failure::{Backoff, Failure, describe};
use acequia_store::pool::{Lease, Pool};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::context::WorkerContext;
use crate::metrics::Open;

/// Result of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// There was work: look again at once.
    Again,
    /// There is none left: look again when woken, at once, or after this time.
    Idle(Duration),
    /// There is none left: look again when woken, but not before a time is over.
    Rest {
        /// Nothing wakes the loop for this time.
        at_least: Duration,
        /// After this time it looks again by itself.
        at_most: Duration,
    },
    /// There is long work that needs no connection of the pool, see [`PeriodicTask::apart`].
    Apart,
}

/// A loop over the database.
pub trait PeriodicTask: Send + Sync {
    /// Name for logs, metrics and /readyz.
    const NAME: &'static str;
    /// Whether a poll is short by design, so that a long one counts as a stall.
    const SHORT: bool = true;
    /// Time limit of a poll.
    const WITHIN: Duration = if Self::SHORT {
        SHORT_WITHIN
    } else {
        LONG_WITHIN
    };

    /// Whether a poll does nothing but ask the database, so that a connection which the server finds
    /// idle is a dead one.
    const ATTENDED: bool = true;
    /// The subject of the loop in logs and /readyz.
    fn subject(domain: &'static Domain) -> &'static str {
        domain.name
    }

    /// Sets up a new connection, of a loop that has one of its own ([`Pool::own`]).
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    fn prepare(
        &self,
        _connection: &mut Session,
        _context: &WorkerContext,
    ) -> impl Future<Output = sqlx::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Does what there is to do for a domain. The next poll may have another connection: nothing is left in its session.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> impl Future<Output = sqlx::Result<Poll>> + Send;

    /// Continues a poll that ended with [`Poll::Apart`], without its connection.
    ///
    /// # Errors
    /// Errors of the work, as errors of sqlx.
    fn apart(
        &self,
        _domain: &'static Domain,
        _context: &WorkerContext,
    ) -> impl Future<Output = sqlx::Result<Poll>> + Send {
        std::future::ready(Ok(Poll::Again))
    }
}

/// How long a poll may take. The server's own limits end a statement earlier; this is for a
/// server that does not answer at all.
const SHORT_WITHIN: Duration = Duration::from_secs(180);
/// Time limit for setting up a new connection.
const PREPARED_WITHIN: Duration = Duration::from_secs(30);
/// The same for polls of several long statements.
const LONG_WITHIN: Duration = Duration::from_secs(1800);

/// Polls until cancelled. A failed poll is repeated on a new connection after a
/// growing pause; it never ends the loop.
pub async fn run<W: PeriodicTask>(
    task: W,
    domain: &'static Domain,
    pool: Arc<Pool<Open>>,
    context: Arc<WorkerContext>,
    stop: CancellationToken,
) {
    let (name, subject) = (W::NAME, W::subject(domain));
    let health = context.health.of(name, subject);
    let mut backoff = Backoff::default();
    let tell = |note| health.waits(Some(note));
    while !stop.is_cancelled() {
        if W::SHORT {
            health.working();
        }
        let opened = |name, attempt| context.metrics.loops.connected(name, attempt);
        let lease = tokio::select! {
            () = stop.cancelled() => return,
            lease = pool.take(name, !W::SHORT, opened, &tell) => lease,
        };
        let outcome = match lease {
            Ok(lease) => {
                health.waits(None);
                attempt(&task, lease, domain, &context, &tell).await
            }
            Err(error) => Err(error),
        };
        let (at_least, at_most) = match outcome {
            Ok(poll) => {
                backoff.reset();
                health.succeeded();
                match poll {
                    Poll::Again | Poll::Apart => continue,
                    Poll::Idle(at_most) => (Duration::ZERO, at_most),
                    Poll::Rest { at_least, at_most } => (at_least, at_most.max(at_least)),
                }
            }
            Err(failed) => {
                if lost_the_server(&failed) {
                    pool.drop_idle();
                }
                health.failed(describe(&failed));
                context.metrics.loops.failed(name, subject, &failed);
                let delay = backoff.next_delay();
                (delay, delay)
            }
        };
        let woken = async {
            tokio::time::sleep(at_least).await;
            context.woken(name, subject).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(at_most) => {}
            () = woken, if backoff.attempts() == 0 => {}
        }
    }
}

/// Whether a poll failed by its connection to PostgreSQL.
fn lost_the_server(failed: &sqlx::Error) -> bool {
    Failure::of(failed) == Failure::Down && is_of_the_database(failed)
}

/// Whether PostgreSQL, or the way to it, caused an error. Other servers that a poll needs say so in words of ours.
fn is_of_the_database(failed: &sqlx::Error) -> bool {
    !matches!(failed, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::Other)
}

/// A poll. One that fails or is given up takes its connection with it.
async fn attempt<W: PeriodicTask>(
    task: &W,
    mut lease: Lease<'_, Open>,
    domain: &'static Domain,
    context: &WorkerContext,
    tell: &(dyn Fn(String) + Sync),
) -> sqlx::Result<Poll> {
    if lease.is_new() {
        tokio::time::timeout(PREPARED_WITHIN, task.prepare(&mut lease, context))
            .await
            .unwrap_or_else(|_| Err(db::no_answer(PREPARED_WITHIN)))?;
    }
    let attention = Attention {
        database: &context.database,
        backend: lease.backend,
        under_way: Duration::ZERO,
        within: W::WITHIN,
        tell,
    };
    let poll = task.poll(&mut lease, domain, context);
    let outcome = if W::ATTENDED {
        attended(&attention, poll).await
    } else {
        tokio::time::timeout(W::WITHIN, poll)
            .await
            .unwrap_or_else(|_| Err(db::no_answer(W::WITHIN)))
    };
    match outcome {
        Ok(Poll::Apart) => {}
        // Another server failed, or a rule of ours: the connection is as good as before.
        Err(failed) if !is_of_the_database(&failed) => {
            lease.give_back().await;
            return Err(failed);
        }
        Err(failed) => return Err(failed),
        Ok(poll) => {
            lease.give_back().await;
            return Ok(poll);
        }
    }
    // Its permits are kept, so that the connection it opens instead is not one more.
    let _permits = lease.close();
    tokio::time::timeout(W::WITHIN, task.apart(domain, context))
        .await
        .unwrap_or_else(|_| Err(db::no_answer(W::WITHIN)))
}
