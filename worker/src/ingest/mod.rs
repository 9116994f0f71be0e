//! The ingest loop: from a queue to staging, one transaction and one acknowledgement a batch.

mod identity;
mod properties;
mod quarantine;
mod sort;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_contracts::{Context, Domain, catalog};
use anyhow::{Context as _, bail};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::amqp::{DEAD_QUEUE, Source, queue_of};
use crate::db;
use crate::failure::{Backoff, Failure};
use crate::run::Shared;

pub use identity::{Identity, NO_DAY};
pub use sort::Sorted;
pub use store::{Counts, Store, UNKNOWN, Written};

/// A batch that gets no further message for this long is staged without waiting for more.
const QUIET: Duration = Duration::from_millis(2);
/// How long a batch is held and retried before its messages go back to the queue. Well below
/// the broker's consumer timeout of 30 minutes.
const HOLD: Duration = Duration::from_secs(600);

/// A queue and how its messages are read.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Name of the queue.
    pub queue: String,
    /// Domain of its messages; `None` for the queue of messages that the broker gave up.
    pub domain: Option<&'static Domain>,
}

impl Lane {
    /// The lanes of some domains, and the one of dead letters.
    #[must_use]
    pub fn of(domains: &[&'static Domain]) -> Vec<Self> {
        let mut lanes = vec![Self {
            queue: DEAD_QUEUE.to_owned(),
            domain: None,
        }];
        for domain in domains {
            let legacy = domain.legacy_queue.map(ToOwned::to_owned);
            lanes.extend(
                [Some(queue_of(domain.name)), legacy]
                    .into_iter()
                    .flatten()
                    .map(|queue| Self {
                        queue,
                        domain: Some(domain),
                    }),
            );
        }
        lanes
    }
}

/// Runs a lane until it is told to stop. Losing broker or database leads back to the start,
/// after a pause: nothing is consumed while one of them is away.
pub async fn run(lane: Lane, shared: Arc<Shared>, stop: CancellationToken) {
    let store = Store::new(&shared.worker, &shared.domains);
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let health = shared.health.of("ingest", &lane.queue);
        match consume(&lane, &shared, &store, &stop, &mut backoff).await {
            Ok(()) => break,
            Err(error) => {
                let delay = backoff.next_delay();
                health.failed(format!("{error:#}"));
                shared.metrics.disconnected(&lane.queue);
                warn!(
                    event = "ingest.interrupted",
                    queue = lane.queue,
                    error = format!("{error:#}"),
                    retry_in_ms = delay.as_millis(),
                    "consuming starts anew"
                );
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
    }
}

/// Consumes until told to stop (`Ok`) or until broker or database is lost (`Err`).
async fn consume(
    lane: &Lane,
    shared: &Shared,
    store: &Store,
    stop: &CancellationToken,
    backoff: &mut Backoff,
) -> anyhow::Result<()> {
    // The database first: what is not consumed cannot be returned again and again.
    let mut connection = db::connect(&shared.database, &format!("ingest {}", lane.queue))
        .await
        .context("database")?;
    let prefetch = shared.settings.batch_max.saturating_mul(2);
    let mut source = Source::open(&shared.broker, &shared.domains, &lane.queue, prefetch)
        .await
        .context("broker")?;
    shared.metrics.connected(&lane.queue);
    shared.health.of("ingest", &lane.queue).succeeded();
    info!(
        event = "ingest.started",
        queue = lane.queue,
        prefetch,
        "consuming"
    );
    loop {
        pause_while_behind(lane, shared, &mut connection, stop).await?;
        let Some(batch) = next_batch(&mut source, shared, stop).await? else {
            source.close().await;
            return Ok(());
        };
        if !stage(lane, shared, store, &mut connection, &batch, stop).await? {
            return Ok(()); // told to stop while the database was away: the broker takes them back
        }
        acknowledge(&batch).await?;
        backoff.reset();
        shared.health.of("ingest", &lane.queue).succeeded();
    }
}

/// Collects a batch: up to the limits of count, bytes and time, or until the queue falls quiet.
/// `None` when told to stop.
async fn next_batch(
    source: &mut Source,
    shared: &Shared,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Vec<Delivery>>> {
    let settings = &shared.settings;
    let first = tokio::select! {
        () = stop.cancelled() => return Ok(None),
        first = source.consumer.next() => first,
    };
    let mut next = Some(first);
    let mut batch = Vec::new();
    let mut bytes = 0;
    let deadline = tokio::time::Instant::now() + settings.batch_wait;
    loop {
        let delivery = match next.take() {
            Some(Some(Ok(delivery))) => delivery,
            Some(Some(Err(error))) => return Err(error).context("the broker closed the channel"),
            // Without an error: the queue was deleted, or its leader is gone.
            Some(None) => bail!("the broker cancelled the consumer"),
            None => break,
        };
        bytes += delivery.data.len();
        batch.push(delivery);
        if batch.len() >= usize::from(settings.batch_max) || bytes >= settings.batch_bytes {
            break;
        }
        next = match source.consumer.next().now_or_never() {
            Some(ready) => Some(ready),
            None => {
                let quiet = tokio::time::Instant::now() + QUIET;
                tokio::time::timeout_at(deadline.min(quiet), source.consumer.next())
                    .await
                    .ok()
            }
        };
    }
    Ok(Some(batch))
}

/// Decodes a batch and writes it; retries while the database says that this may help. `false`
/// when told to stop before it was written.
async fn stage(
    lane: &Lane,
    shared: &Shared,
    store: &Store,
    connection: &mut PgConnection,
    batch: &[Delivery],
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let begun = Instant::now();
    for sorted in sort(lane, batch) {
        let decoded = begun.elapsed();
        let mut backoff = Backoff::default();
        let written = loop {
            match store.write(connection, &lane.queue, &sorted, batch).await {
                Ok(written) => break written,
                Err(error) => {
                    let failure = Failure::of(&error);
                    shared.metrics.retried(&lane.queue, failure);
                    if begun.elapsed() > HOLD {
                        return Err(error).context("the batch goes back to the queue");
                    }
                    warn!(event = "batch.retried", queue = lane.queue, messages = batch.len(),
                        failure = failure.as_str(), error = %error, remedy = failure.remedy(),
                        "batch not staged, its messages wait");
                    shared
                        .health
                        .of("ingest", &lane.queue)
                        .failed(format!("database: {error}"));
                    if !reconnect(lane, shared, connection, &mut backoff, stop).await {
                        return Ok(false);
                    }
                }
            }
        };
        debug!(
            event = "batch.staged",
            queue = lane.queue,
            batch_id = written.batch_id,
            messages = batch.len(),
            duration_s = begun.elapsed().as_secs_f64(),
            "batch staged"
        );
        shared.metrics.staged(
            &lane.queue,
            &sorted,
            &written,
            batch,
            decoded,
            begun.elapsed(),
        );
        shared.wake(sorted.domain.name);
    }
    Ok(true)
}

/// Decodes a batch; dead letters are told apart by the domain whose queue gave them up.
fn sort(lane: &Lane, batch: &[Delivery]) -> Vec<Sorted> {
    let context = Context::now();
    if let Some(domain) = lane.domain {
        let mut sorted = Sorted::new(domain);
        for (position, delivery) in batch.iter().enumerate() {
            sorted.add(position, delivery, &lane.queue, &context);
        }
        return vec![sorted];
    }
    let mut by_domain: Vec<Sorted> = catalog().iter().map(Sorted::new).collect();
    for (position, delivery) in batch.iter().enumerate() {
        let key = delivery.routing_key.as_str();
        let origin = properties::first_death_queue(&delivery.properties);
        let index = by_domain.iter().position(|sorted| {
            let name = sorted.domain.name;
            origin.as_deref() == Some(queue_of(name).as_str())
                || key
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        // A letter of nobody is filed under the first domain rather than lost.
        if let Some(sorted) = by_domain.get_mut(index.unwrap_or(0)) {
            sorted.add_dead(position, delivery, &lane.queue);
        }
    }
    by_domain.retain(|sorted| !sorted.rejected.is_empty());
    by_domain
}

/// A new connection, after a pause; tries until there is one. `false` when told to stop.
async fn reconnect(
    lane: &Lane,
    shared: &Shared,
    connection: &mut PgConnection,
    backoff: &mut Backoff,
    stop: &CancellationToken,
) -> bool {
    loop {
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
        // The old connection may be in the middle of anything: it is dropped, not reused.
        match db::connect(&shared.database, &format!("ingest {}", lane.queue)).await {
            Ok(new) => {
                *connection = new;
                return true;
            }
            Err(error) => debug!(%error, "database not back yet"),
        }
    }
}

/// Waits while more rows are staged than promotion should be behind.
async fn pause_while_behind(
    lane: &Lane,
    shared: &Shared,
    connection: &mut PgConnection,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    const STAGED: &str = "select coalesce(sum(e.staged), 0)::bigint from core.batches b \
        join core.batch_entities e using (batch_id) where b.domain = $1 and b.state = 'staged'";
    let Some(domain) = lane.domain else {
        return Ok(());
    };
    while !stop.is_cancelled() {
        let staged: i64 = sqlx::query_scalar(STAGED)
            .bind(domain.name)
            .fetch_one(&mut *connection)
            .await
            .context("database")?;
        shared
            .metrics
            .paused(&lane.queue, staged > shared.settings.staged_max);
        if staged <= shared.settings.staged_max {
            break;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(shared.settings.poll_every) => {}
        }
    }
    Ok(())
}

/// Acknowledges the batch with one frame, through the last delivery's own acker: it knows
/// whether its channel is still the one that delivered.
async fn acknowledge(batch: &[Delivery]) -> anyhow::Result<()> {
    let Some(last) = batch.last() else {
        return Ok(());
    };
    let sent = last
        .acker
        .ack(BasicAckOptions { multiple: true })
        .await
        .context("acknowledging")?;
    if !sent {
        bail!("the channel was lost before the acknowledgement; the broker delivers again");
    }
    Ok(())
}
