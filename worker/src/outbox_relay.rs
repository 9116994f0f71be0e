//! The outbox relay: messages of merges, and notices of refused messages, from `core.outbox` to the broker, in order per key.
//!
//! A merge writes its messages in its own transaction, so a message is published exactly when its merge commits.
//! One worker at a time publishes those of a domain. It publishes a message when the broker has confirmed
//! the one before it that has the same key. Messages are sent again after a crash, under the same id, but no queue
//! receives a message before the older ones of its key.

use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use acequia_messaging::relay::{Message, Outcome, Relay};
use acequia_store::outbox::Waiting;
use acequia_store::{failpoint, outbox};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Mutex;
use tracing::warn;

use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// Maximum number of messages that are published in one transaction.
const MOST: i32 = 1000;
/// How long one transaction goes on publishing. Far below `idle_in_transaction_session_timeout`, after
/// which the server lets another worker publish, because the last answer may take a while, too. A process
/// that was stopped (SIGSTOP) and continues checks its clock before each message.
const WITHIN: Duration = Duration::from_secs(5);

/// Shortest pause while messages wait that cannot be published now: another worker has them, or they were refused.
const SHORTEST: Duration = Duration::from_millis(250);

/// The outbox relay of one domain, with its connection to the broker, which is opened when there is
/// a message to publish.
#[derive(Default)]
pub struct OutboxRelay {
    broker: Mutex<Option<Relay>>,
}

impl OutboxRelay {
    /// The connection to the broker, opened if there is none.
    ///
    /// For this loop the broker is a dependency as the database is: down, and waited for.
    async fn relay(&self, context: &WorkerContext) -> sqlx::Result<Relay> {
        match self.broker.lock().await.take() {
            Some(open) if open.is_connected() => Ok(open),
            _ => Relay::open(&context.broker, "acequia-worker outbox")
                .await
                .map_err(|error| {
                    sqlx::Error::Io(std::io::Error::other(format!("broker: {error:#}")))
                }),
        }
    }

    /// Publishes messages until all are confirmed or refused, or the time is up.
    async fn publish(&self, relay: Relay, waiting: Vec<Waiting>) -> Outcome {
        let until = Instant::now() + WITHIN;
        let mut outcome = Outcome::default();
        // A failed attempt may leave answers behind, so the connection is kept only when all went well.
        let messages = waiting.into_iter().map(message).collect();
        if relay.publish(messages, until, &mut outcome).await {
            self.keep(relay).await;
        } else {
            relay.close().await;
        }
        outcome
    }

    async fn keep(&self, relay: Relay) {
        *self.broker.lock().await = Some(relay);
    }
}

impl PeriodicTask for OutboxRelay {
    const NAME: &'static str = "outbox_relay";
    // A poll also waits for the broker, for a few seconds at most: an idle connection is no dead one here. A poll that is
    // given up (`WITHIN`) leads to messages that are published again, under the same ids.
    const ATTENDED: bool = false;
    const WITHIN: Duration = Duration::from_secs(60);

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let due_in = outbox::due_in(connection, domain.name).await?;
        let poll_every = context.settings.poll_every;
        match due_in {
            None => return Ok(Poll::Idle(poll_every)),
            Some(seconds) if seconds > 0.0 => {
                let pause = Duration::try_from_secs_f64(seconds).unwrap_or(poll_every);
                return Ok(Poll::Idle(pause.max(SHORTEST).min(poll_every)));
            }
            Some(_) => {}
        }
        // Before the transaction, which holds the domain's lock: connecting to the broker may take long.
        let relay = self.relay(context).await?;
        let mut transaction = connection.begin().await?;
        let waiting = outbox::due(&mut transaction, domain.name, MOST).await?;
        if waiting.is_empty() {
            self.keep(relay).await;
            transaction.rollback().await?;
            return Ok(Poll::Idle(SHORTEST.min(poll_every)));
        }
        let outcome = self.publish(relay, waiting).await;
        failpoint::after_confirms();
        outbox::mark_published(&mut transaction, &outcome.confirmed).await?;
        let (refused, reasons): (Vec<i64>, Vec<&str>) = outcome.refused.iter().copied().unzip();
        if !refused.is_empty() {
            outbox::mark_refused(&mut transaction, &refused, &reasons).await?;
        }
        transaction.commit().await?;
        if !outcome.confirmed.is_empty() {
            let published = outcome.confirmed.len();
            context.metrics.outbox.published(domain.name, published);
        }
        let Some(reason) = reasons.first() else {
            return Ok(Poll::Again);
        };
        warn!(
            event = "outbox.refused",
            domain = domain.name,
            messages = refused.len(),
            reason,
            "not published: tried again later, what has the same key waits behind them"
        );
        Ok(Poll::Idle(SHORTEST.min(poll_every)))
    }
}

fn message(waiting: Waiting) -> Message {
    Message {
        id: waiting.id,
        message_id: waiting.message_id,
        exchange: waiting.exchange,
        routing_key: waiting.routing_key,
        body: waiting.body,
        key: waiting.key,
        attempts: waiting.attempts,
    }
}
