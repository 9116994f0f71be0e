//! The ingest loop: from a queue to staging, one transaction and one acknowledgement a batch.

mod identity;
mod lost;
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
use tokio_util::sync::CancellationToken;

use self::source::Source;
use self::stage::Writer;
use self::window::Window;
use crate::amqp::{DEAD_QUEUE, queue_of};
use crate::failure::Backoff;
use crate::metrics::Open;
use crate::run::Shared;

pub use identity::{Identity, NO_DAY, PUBLISHED_AT, published_at};
pub use lost::Lost;
pub use sort::Sorted;
pub use source::Ended;
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
    // Twice a batch: one is on its way while the other is written.
    let mut window = Window::new(
        settings.batch_max.saturating_mul(2),
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
            shared
                .metrics
                .ingest
                .interrupted(&lane.queue, &error, delay);
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
    let mut connection = writer.connect().await.context("database")?;
    let mut source = Source::open(shared, lane, window.size())
        .await
        .inspect_err(|_| shared.metrics.ingest.not_started(&lane.queue))
        .context("broker")?;
    shared.metrics.ingest.started(&lane.queue);
    health.succeeded();
    let begun = Instant::now();
    let outcome = flow(writer, window, backoff, &mut connection, &mut source).await;
    if begun.elapsed() >= STEADY {
        backoff.reset();
    }
    // Whatever it ends with: what is not acknowledged goes back to the queue now, not when the
    // broker notices.
    source.close().await;
    outcome
}

/// Batch after batch, from the queue to staging, until told to stop.
async fn flow(
    writer: &Writer<'_>,
    window: &mut Window,
    backoff: &mut Backoff,
    connection: &mut (PgConnection, Open),
    source: &mut Source,
) -> anyhow::Result<()> {
    let Writer {
        lane,
        shared,
        stop,
        health,
        ..
    } = writer;
    loop {
        pause_while_behind(lane, shared, &mut connection.0, stop).await?;
        let Some(batch) = source.next_batch(&shared.settings, stop).await? else {
            return Ok(());
        };
        shared.metrics.ingest.taken(&lane.queue, batch.ended);
        health.working();
        if batch.again
            && let Some(domain) = lane.legacy_of()
        {
            source
                .pass_on(&batch, &lane.queue, &queue_of(domain.name))
                .await?;
        } else if !writer.stage(source, connection, &batch.deliveries).await? {
            return Ok(()); // told to stop while the database was away
        }
        crate::failpoint::after_commit();
        let (largest, suspicious) = (batch.largest(), batch.suspicious);
        source.acknowledge(batch).await?;
        backoff.reset();
        health.succeeded();
        window.saw(largest);
        if window.adapt(suspicious) {
            source.resize(window.size()).await?;
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
            .ingest
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
