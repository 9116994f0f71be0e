//! The outbox relay: what the core has to tell, from `core.outbox` to the broker, in order per key.
//!
//! A merge writes its messages in its own transaction, so there is one for each reason and none without.
//! One worker at a time publishes those of a domain. It publishes a message when the broker has confirmed
//! the one before it that has the same key: whoever takes over, and whatever is published again under the
//! same id, in no queue does a message come for the first time before an older one of its key.

mod relay;

use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use acequia_store::failpoint;
use sqlx::{Connection as _, FromRow, PgConnection};
use tokio::sync::Mutex;
use tracing::warn;
use uuid::Uuid;

use self::relay::Relay;
use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// Most messages that are published in one transaction.
const MOST: i32 = 1000;
/// How long one transaction goes on publishing. Below `idle_in_transaction_session_timeout`, after
/// which the server lets another worker publish; a process that was stopped and goes on looks at
/// its clock before each message.
const WITHIN: Duration = Duration::from_secs(20);

/// Seconds until a message of a domain is to be published; null when none waits.
const DUE_IN: &str = "
select case when exists (
        select from core.outbox o
        where o.domain = $1 and o.published_at is null and (o.retry_at is null or o.retry_at <= clock_timestamp())) then 0
    else (
        select extract(epoch from min(o.retry_at) - clock_timestamp())
        from core.outbox o where o.domain = $1 and o.published_at is null and o.retry_at is not null)
    end::float8";
/// Shortest pause while messages wait that cannot be published now: another worker has them, or they were refused.
const SHORTEST: Duration = Duration::from_millis(250);

/// A message that waits.
#[derive(Debug, FromRow)]
struct Waiting {
    id: i64,
    message_id: Uuid,
    routing_key: String,
    body: String,
    key: String,
    attempts: i32,
}

/// What became of the messages of a transaction; those in neither list wait for the next one.
#[derive(Debug, Default)]
struct Outcome {
    confirmed: Vec<i64>,
    /// Those refused, and why.
    refused: Vec<(i64, &'static str)>,
}

impl Outcome {
    fn has(&self, id: i64) -> bool {
        self.confirmed.contains(&id) || self.refused.iter().any(|(refused, _)| *refused == id)
    }
}

/// The outbox relay of one domain, with its connection to the broker, which is made when there is
/// something to tell.
#[derive(Default)]
pub struct OutboxRelay {
    broker: Mutex<Option<Relay>>,
}

impl OutboxRelay {
    /// Publishes messages until all are confirmed or refused, or the time is up.
    async fn publish(
        &self,
        waiting: Vec<Waiting>,
        context: &WorkerContext,
    ) -> anyhow::Result<Outcome> {
        let until = Instant::now() + WITHIN;
        let mut broker = self.broker.lock().await;
        let relay = match broker.take() {
            Some(open) if open.is_connected() => open,
            _ => Relay::open(&context.broker).await?,
        };
        let mut outcome = Outcome::default();
        // A failed attempt may leave answers behind, so the connection is kept only when all went well.
        if relay.publish(waiting, until, &mut outcome).await {
            *broker = Some(relay);
        } else {
            relay.close().await;
        }
        Ok(outcome)
    }
}

impl PeriodicTask for OutboxRelay {
    const NAME: &'static str = "outbox_relay";
    // It waits for the broker too, a few seconds at most; what it does twice has the same id.
    const ATTENDED: bool = false;
    const WITHIN: Duration = Duration::from_secs(60);

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let due_in: Option<f64> = sqlx::query_scalar(DUE_IN)
            .bind(domain.name)
            .fetch_one(&mut *connection)
            .await?;
        let poll_every = context.settings.poll_every;
        match due_in {
            None => return Ok(Poll::Idle(poll_every)),
            Some(seconds) if seconds > 0.0 => {
                let pause = Duration::try_from_secs_f64(seconds).unwrap_or(poll_every);
                return Ok(Poll::Idle(pause.max(SHORTEST).min(poll_every)));
            }
            Some(_) => {}
        }
        let mut transaction = connection.begin().await?;
        let waiting: Vec<Waiting> = sqlx::query_as("select * from core.outbox_due($1, $2)")
            .bind(domain.name)
            .bind(MOST)
            .fetch_all(&mut *transaction)
            .await?;
        if waiting.is_empty() {
            transaction.rollback().await?;
            return Ok(Poll::Idle(SHORTEST.min(poll_every)));
        }
        // For this loop the broker is a dependency as the database is: down, and waited for.
        let outcome = self.publish(waiting, context).await.map_err(|error| {
            sqlx::Error::Io(std::io::Error::other(format!("broker: {error:#}")))
        })?;
        failpoint::after_confirms();
        sqlx::query("select core.outbox_published($1)")
            .bind(&outcome.confirmed)
            .execute(&mut *transaction)
            .await?;
        let (refused, reasons): (Vec<i64>, Vec<&str>) = outcome.refused.iter().copied().unzip();
        if !refused.is_empty() {
            sqlx::query("select core.outbox_refused($1, $2)")
                .bind(&refused)
                .bind(&reasons)
                .execute(&mut *transaction)
                .await?;
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
