//! What the loops over the database have in common: a connection of their own, a step, a pause,
//! a way back after a failure.

use std::sync::Arc;
use std::time::Duration;

use acequia_contracts::Domain;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::db;
use crate::failure::{Backoff, Failure};
use crate::run::Shared;

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

/// Repeats a step until told to stop. A failed step is repeated on a new connection after a
/// growing pause; it never ends the loop.
pub async fn run<W: Work>(
    work: W,
    domain: &'static Domain,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let (name, subject) = (W::NAME, domain.name);
    let health = shared.health.of(name, subject);
    let mut backoff = Backoff::default();
    let mut connection: Option<PgConnection> = None;
    while !stop.is_cancelled() {
        let outcome = match &mut connection {
            // A step is never cancelled: the way of a transaction must not end half-way.
            Some(connection) => work.step(connection, domain, &shared).await,
            None => match db::connect(&shared.database, &format!("{name} {subject}")).await {
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
                let failure = Failure::of(&failed);
                health.failed(failed.to_string());
                shared.metrics.loop_failed(name, failure);
                if failure == Failure::Broken || failure == Failure::BadData {
                    error!(event = "loop.failed", loop_name = name, domain = subject, failure = failure.as_str(),
                        error = %failed, remedy = failure.remedy(), "step failed");
                } else {
                    warn!(event = "loop.failed", loop_name = name, domain = subject, failure = failure.as_str(),
                        error = %failed, remedy = failure.remedy(), "step failed");
                }
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
