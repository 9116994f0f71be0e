//! The ingest loop: from a queue to staging, one transaction and one acknowledgement a batch.

mod flow;
mod spans;
mod stage;
pub mod writers;

use std::sync::Arc;
use std::time::Instant;

use acequia_messaging::{
    ConsumerSettings, DisconnectReason, Instruments, Refused, STEADY, Sizes, Source, Window,
    WritePermit, is_of_the_queue,
};
use acequia_store::failure::Backoff;
use acequia_store::staging::{self, Store};
use acequia_telemetry::RateLimitedLog;
use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::flow::{collect, write};
use self::stage::Writer;
use crate::context::WorkerContext;
use crate::queue_consumer::QueueConsumer;

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
        reject_log: RateLimitedLog::default(),
    };
    while !stop.is_cancelled() {
        window.restart();
        if let Err(error) = consume(&writer, &mut window, &mut backoff).await {
            context.declarations.forget().await;
            let delay = backoff.next_delay();
            if error.is::<Refused>() {
                health.refused(format!("{error:#}"));
            } else {
                health.failed(format!("{error:#}"));
            }
            context
                .metrics
                .ingest
                .interrupted(&lane.queue, reason(&error), &error, delay);
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
    let opened = open(context, lane, window.size())
        .await
        .inspect_err(|_| context.metrics.ingest.not_started(&lane.queue));
    let mut source = match opened {
        Err(error) if is_of_the_queue(&error) => {
            return Err(error.context(Refused));
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

/// A consumer of the lane's queue.
async fn open(
    context: &WorkerContext,
    lane: &QueueConsumer,
    window: u16,
) -> anyhow::Result<Source> {
    let settings = &context.settings;
    let name = format!("acequia-worker {}", lane.queue);
    let consumer = ConsumerSettings {
        queue: lane.queue.clone(),
        counts_deliveries: lane.legacy_of().is_none(),
        in_flight_bytes: settings.in_flight_bytes,
        batch_bytes: settings.batch_bytes,
        batch_wait: settings.batch_wait,
        stall_after: settings.stall_after,
        published_at: staging::published_at,
    };
    let instruments = Instruments {
        flow: context.metrics.ingest.flow(&lane.queue),
        broker_pings: context.metrics.ingest.broker_pings(&lane.queue),
        looks: context.looks.clone(),
        paused: context.pauses.of(lane),
    };
    Source::open(
        &context.broker,
        &name,
        &context.declarations,
        consumer,
        instruments,
        window,
    )
    .await
}

/// The reason for a lane's interruption, one of [`INTERRUPTED_BY`](acequia_messaging::INTERRUPTED_BY).
fn reason(error: &anyhow::Error) -> &'static str {
    if error.is::<sqlx::Error>() {
        return "database";
    }
    DisconnectReason::reason(error)
}

#[cfg(test)]
mod tests {
    use acequia_messaging::INTERRUPTED_BY;
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_reason_is_of_the_database_or_of_the_broker() {
        let lost = anyhow::Error::new(sqlx::Error::WorkerCrashed).context("database");
        assert_eq!(reason(&lost.context("more")), "database");
        assert_eq!(reason(&DisconnectReason::Starved.into()), "starved");
        assert_eq!(reason(&anyhow!("text")), "other");
        assert!(INTERRUPTED_BY.contains(&"database"));
    }
}
