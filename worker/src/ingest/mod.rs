//! The ingest loop: from a queue to staging, one transaction and one acknowledgement a batch.

mod identity;
mod pass_on;
mod properties;
mod quarantine;
mod sort;
mod source;
mod stage;
mod store;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use anyhow::Context as _;
use sqlx::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::source::{Outlet, Source};
use self::stage::{Load, Writer};
use self::window::Window;
use crate::amqp::{DEAD_QUEUE, queue_of};
use crate::db;
use crate::failure::Backoff;
use crate::run::Shared;

pub use identity::{Identity, NO_DAY, PUBLISHED_AT, published_at};
pub use sort::Sorted;
pub use store::{Counts, Purpose, Store, UNKNOWN, Written};

/// A consumer that lives so long was no failed attempt: the next one begins without delay. A lane
/// whose queue is empty has no other success to show.
const STEADY: Duration = Duration::from_secs(1);

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

    /// The domain, if the queue is the one that a reference system's publishers use. Such queues
    /// do not count deliveries.
    fn legacy_of(&self) -> Option<&'static Domain> {
        self.domain
            .filter(|domain| domain.legacy_queue == Some(self.queue.as_str()))
    }
}

/// Runs a lane until it is told to stop. Losing broker or database leads back to the start,
/// after a pause: nothing is consumed while one of them is away.
pub async fn run(lane: Lane, shared: Arc<Shared>, stop: CancellationToken) {
    let store = Store::new(&shared.worker, &shared.domains);
    let health = shared.health.of("ingest", &lane.queue);
    let settings = &shared.settings;
    // Three batches: one is written while the next is decoded and another one is on its way.
    let mut window = Window::new(
        settings.batch_max.saturating_mul(3),
        settings.in_flight_bytes,
    );
    let mut backoff = Backoff::default();
    let writer = Writer {
        lane: &lane,
        shared: &shared,
        store: &store,
        stop: &stop,
        health: &health,
    };
    while !stop.is_cancelled() {
        window.restart();
        if let Err(error) = consume(&writer, &mut window, &mut backoff).await {
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

/// Consumes until told to stop (`Ok`) or until broker or database is lost (`Err`).
async fn consume(
    writer: &Writer<'_>,
    window: &mut Window,
    backoff: &mut Backoff,
) -> anyhow::Result<()> {
    let Writer {
        lane,
        shared,
        health,
        ..
    } = writer;
    // The database first: what is not consumed cannot be returned again and again.
    let mut connection = db::connect(&shared.database, &format!("ingest {}", lane.queue))
        .await
        .context("database")?;
    let budget = shared.settings.in_flight_bytes;
    let mut source = Source::open(&shared.broker, &shared.domains, lane, window.size(), budget)
        .await
        .context("broker")?;
    shared.metrics.connected(&lane.queue);
    health.succeeded();
    info!(event = "ingest.started", queue = lane.queue, "consuming");
    let begun = Instant::now();
    let (hand_over, loads) = mpsc::channel(1);
    let outlet = source.outlet().clone();
    let (collected, (written, acknowledged)) = tokio::join!(
        collect(writer, window, &mut source, hand_over),
        write(writer, &mut connection, &outlet, loads)
    );
    if acknowledged || begun.elapsed() >= STEADY {
        backoff.reset();
    }
    // Whatever it ends with: what is not acknowledged goes back to the queue now, not when the
    // broker notices.
    outlet.close().await;
    written.and(collected)
}

/// A decoded batch, and the permit that goes back when it is acknowledged.
type Handed = (Load, OwnedSemaphorePermit);

/// Batch after batch, from the queue to whoever writes them, until told to stop. One is collected
/// and decoded while the one before it is written.
async fn collect(
    writer: &Writer<'_>,
    window: &mut Window,
    source: &mut Source,
    hand_over: mpsc::Sender<Handed>,
) -> anyhow::Result<()> {
    let Writer { lane, stop, .. } = writer;
    let settings = &writer.shared.settings;
    let written = Arc::new(Semaphore::new(1));
    let mut seen = (0, false);
    loop {
        let most = usize::from(settings.batch_max.min(window.size()));
        let batch = tokio::select! {
            batch = source.next_batch(settings, most, &written, stop) => batch?,
            () = hand_over.closed() => return Ok(()), // the other side says why
        };
        let Some(batch) = batch else {
            return Ok(());
        };
        let now = (batch.largest(), batch.suspicious);
        // A suspect is looked at when nothing else could suffer from it.
        let alone = if batch.suspicious {
            Some(written.clone().acquire_owned().await?)
        } else {
            None
        };
        let load = Load::decode(lane, batch).await;
        let permit = match alone {
            Some(permit) => permit,
            None => written.clone().acquire_owned().await?,
        };
        window.saw(seen.0);
        if window.adapt(seen.1) {
            source.resize(window.size()).await?;
        }
        seen = now;
        if hand_over.send((load, permit)).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes and acknowledges batch after batch, until there is none. The second value says whether
/// one was acknowledged.
async fn write(
    writer: &Writer<'_>,
    connection: &mut PgConnection,
    outlet: &Outlet,
    mut loads: mpsc::Receiver<Handed>,
) -> (anyhow::Result<()>, bool) {
    let mut acknowledged = false;
    let outcome = async {
        let lane = writer.lane;
        loop {
            pause_while_behind(lane, writer.shared, connection, writer.stop).await?;
            let Some((load, permit)) = loads.recv().await else {
                return Ok(());
            };
            writer.health.working();
            if load.batch.again
                && let Some(domain) = lane.legacy_of()
            {
                let queue = queue_of(domain.name);
                outlet.pass_on(&load.batch, &lane.queue, &queue).await?;
            } else if !writer.stage(outlet, connection, &load).await? {
                return Ok(()); // told to stop while the database was away
            }
            crate::failpoint::after_commit();
            outlet.acknowledge(load.batch).await?;
            acknowledged = true;
            writer.health.succeeded();
            drop(permit);
        }
    };
    (outcome.await, acknowledged)
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
