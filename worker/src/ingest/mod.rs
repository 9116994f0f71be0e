//! The ingest loop: from a queue to staging, one transaction and one acknowledgement a batch.

mod ack_handle;
mod batch;
mod broker_probe;
mod disconnect;
mod flow;
mod rate_limited_log;
mod republish;
mod source;
mod spans;
mod stage;
mod window;
pub mod writers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_store::failure::Backoff;
use acequia_store::staging::{self, Store};
use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::disconnect::DisconnectReason;
use self::flow::{WritePermit, collect, write};
use self::source::Source;
use self::stage::Writer;
use self::window::{Sizes, Window};
use crate::context::WorkerContext;
use crate::queue_consumer::QueueConsumer;

/// A consumer that ran for at least this long resets the backoff. A lane whose queue is empty has no
/// other success to show.
const STEADY: Duration = Duration::from_secs(1);

/// Runs a lane until `stop` is cancelled. Losing broker or database leads back to the start,
/// after a pause: nothing is consumed while one of them is away.
pub async fn run(lane: QueueConsumer, context: Arc<WorkerContext>, stop: CancellationToken) {
    let store = Store::new(&context.worker, &context.domains);
    let health = context.health.of("ingest", &lane.queue);
    let settings = &context.settings;
    // Three batches: one is written while the next is decoded and another one is on its way.
    let mut window = Window::new(
        settings.batch_max.saturating_mul(3),
        settings.in_flight_bytes,
    );
    let mut backoff = Backoff::default();
    let waits = |note| health.waits(Some(note));
    let writer = Writer {
        lane: &lane,
        context: &context,
        store: &store,
        stop: &stop,
        health: &health,
        slot: context.writers.of(&lane),
        waits: &waits,
        reject_log: rate_limited_log::RateLimitedLog::default(),
    };
    while !stop.is_cancelled() {
        window.restart();
        if let Err(error) = consume(&writer, &mut window, &mut backoff).await {
            let delay = backoff.next_delay();
            if error.is::<disconnect::Refused>() {
                health.refused(format!("{error:#}"));
            } else {
                health.failed(format!("{error:#}"));
            }
            context.metrics.ingest.interrupted(
                &lane.queue,
                DisconnectReason::reason(&error),
                &error,
                delay,
            );
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(delay) => {}
            }
        }
    }
}

/// Consumes until cancelled (`Ok`) or until broker or database is lost (`Err`).
async fn consume(
    writer: &Writer<'_>,
    window: &mut Window,
    backoff: &mut Backoff,
) -> anyhow::Result<()> {
    let Writer {
        lane,
        context,
        health,
        ..
    } = writer;
    // The database first: a message that is not consumed cannot be returned again and again.
    let dead_letters = lane.domain.is_none();
    let ready = async |connection: &mut PgConnection| {
        if dead_letters {
            return staging::quarantine_writable(connection).await;
        }
        connection.ping().await
    };
    writer.ask(ready).await.context("database")?;
    let opened = Source::open(context, lane, window.size())
        .await
        .inspect_err(|_| context.metrics.ingest.not_started(&lane.queue));
    let mut source = match opened {
        Err(error) if disconnect::is_of_the_queue(&error) => {
            return Err(error.context(disconnect::Refused));
        }
        opened => opened.context("broker")?,
    };
    context.metrics.ingest.started(&lane.queue);
    // A lane that consumes has done nothing yet where messages wait, or where it was lost before:
    // should it be lost again and again before the first of them is done, it stands still.
    if source.found() > 0 || backoff.attempts() > 0 {
        health.working();
    } else {
        health.succeeded();
    }
    let begun = Instant::now();
    let permit = WritePermit::new();
    let (hand_over, loads) = mpsc::channel(1);
    let acks = source.acks().clone();
    let (collected, (written, acknowledged)) = tokio::join!(
        collect(writer, window, &mut source, &permit, hand_over),
        write(writer, &acks, loads)
    );
    if acknowledged || begun.elapsed() >= STEADY {
        backoff.reset();
    }
    // Otherwise the window would grow past this size again, and overflow again.
    if acks.overflow() > 0 {
        window.saw(Sizes::of([acks.overflow()]));
    }
    // However the lane ends, unacknowledged messages go back to the queue now, not when the
    // broker notices.
    acks.close().await;
    written.and(collected)
}
