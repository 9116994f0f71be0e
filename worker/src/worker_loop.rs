//! What the loops over the database have in common: a connection for a step, a pause, a way back after a failure.

use std::sync::Arc;
use std::time::Duration;

use acequia_contracts::Domain;
use acequia_store::db::{self, Attention, Session, attended};
use acequia_store::failure::{Backoff, Failure, describe};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::context::Shared;
use crate::pool::{Lease, Pool};

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There was work: look again at once.
    Again,
    /// There is none left: look again when woken, at once, or after this time.
    Idle(Duration),
    /// There is none left: look again when woken, but not before a time is over.
    Rest {
        /// This long nothing wakes the loop.
        at_least: Duration,
        /// After this time it looks again by itself.
        at_most: Duration,
    },
    /// There is work that takes long and does without the connection, see [`Work::apart`].
    Apart,
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

    /// Sets up a new connection, of a loop that has one of its own ([`Pool::own`]).
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

    /// Does what there is to do for a domain. The next step may have another connection: nothing is left in its session.
    ///
    /// # Errors
    /// Whatever PostgreSQL answers.
    fn step(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        shared: &Shared,
    ) -> impl Future<Output = sqlx::Result<Step>> + Send;

    /// Goes on where a step ended with [`Step::Apart`], without its connection.
    ///
    /// # Errors
    /// Of whatever it needs, as errors of sqlx.
    fn apart(
        &self,
        _domain: &'static Domain,
        _shared: &Shared,
    ) -> impl Future<Output = sqlx::Result<Step>> + Send {
        std::future::ready(Ok(Step::Again))
    }
}

/// How long a step may take. The server's own limits end a statement earlier; this is for a
/// server that does not answer at all.
const SHORT_WITHIN: Duration = Duration::from_secs(180);
/// How long a new connection may take to be set up.
const PREPARED_WITHIN: Duration = Duration::from_secs(30);
/// The same for steps of several long statements.
const LONG_WITHIN: Duration = Duration::from_secs(1800);

/// Repeats a step until told to stop. A failed step is repeated on a new connection after a
/// growing pause; it never ends the loop.
pub async fn run<W: Work>(
    work: W,
    domain: &'static Domain,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let (name, subject) = (W::NAME, W::subject(domain));
    let health = shared.health.of(name, subject);
    let mut backoff = Backoff::default();
    let tell = |note| health.waits(Some(note));
    while !stop.is_cancelled() {
        if W::SHORT {
            health.working();
        }
        let lease = tokio::select! {
            () = stop.cancelled() => return,
            lease = pool.take(name, !W::SHORT, &shared.metrics.loops, &tell) => lease,
        };
        let outcome = match lease {
            Ok(lease) => {
                health.waits(None);
                attempt(&work, lease, domain, &shared, &tell).await
            }
            Err(error) => Err(error),
        };
        let (at_least, at_most) = match outcome {
            Ok(step) => {
                backoff.reset();
                health.succeeded();
                match step {
                    Step::Again | Step::Apart => continue,
                    Step::Idle(at_most) => (Duration::ZERO, at_most),
                    Step::Rest { at_least, at_most } => (at_least, at_most.max(at_least)),
                }
            }
            Err(failed) => {
                if lost_the_server(&failed) {
                    pool.drop_idle();
                }
                health.failed(describe(&failed));
                shared.metrics.loops.failed(name, subject, &failed);
                let delay = backoff.next_delay();
                (delay, delay)
            }
        };
        let woken = async {
            tokio::time::sleep(at_least).await;
            shared.woken(name, subject).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(at_most) => {}
            () = woken, if backoff.attempts() == 0 => {}
        }
    }
}

/// Whether a step failed by its connection to PostgreSQL.
fn lost_the_server(failed: &sqlx::Error) -> bool {
    Failure::of(failed) == Failure::Down && is_of_the_database(failed)
}

/// Whether PostgreSQL, or the way to it, caused an error. Other servers that a step needs say so in words of ours.
fn is_of_the_database(failed: &sqlx::Error) -> bool {
    !matches!(failed, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::Other)
}

/// A step. One that fails or is given up takes its connection with it.
async fn attempt<W: Work>(
    work: &W,
    mut lease: Lease<'_>,
    domain: &'static Domain,
    shared: &Shared,
    tell: &(dyn Fn(String) + Sync),
) -> sqlx::Result<Step> {
    if lease.is_new() {
        tokio::time::timeout(PREPARED_WITHIN, work.prepare(&mut lease, shared))
            .await
            .unwrap_or_else(|_| Err(db::no_answer(PREPARED_WITHIN)))?;
    }
    let attention = Attention {
        database: &shared.database,
        backend: lease.backend,
        under_way: Duration::ZERO,
        within: W::WITHIN,
        tell,
    };
    let step = work.step(&mut lease, domain, shared);
    let outcome = if W::ATTENDED {
        attended(&attention, step).await
    } else {
        tokio::time::timeout(W::WITHIN, step)
            .await
            .unwrap_or_else(|_| Err(db::no_answer(W::WITHIN)))
    };
    match outcome {
        Ok(Step::Apart) => {}
        // What failed is another server, or a rule of ours: the connection is as good as before.
        Err(failed) if !is_of_the_database(&failed) => {
            lease.give_back().await;
            return Err(failed);
        }
        Err(failed) => return Err(failed),
        Ok(step) => {
            lease.give_back().await;
            return Ok(step);
        }
    }
    // Its place in the pool is kept: what it opens in its stead is not one connection more.
    let _permits = lease.close();
    tokio::time::timeout(W::WITHIN, work.apart(domain, shared))
        .await
        .unwrap_or_else(|_| Err(db::no_answer(W::WITHIN)))
}
