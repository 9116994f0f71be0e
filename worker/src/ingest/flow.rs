//! The two halves of a lane: one collects and decodes a batch while the other writes the previous one.

use std::time::Duration;

use acequia_messaging::{AckHandle, Source, Window, WritePermit};
use acequia_net::topology::queue_of;
use acequia_store::promotion;
use acequia_store::staging::CAME_BY;
use anyhow::Context as _;
use sqlx::PgConnection;
use tokio::sync::{SemaphorePermit, mpsc};

use super::spans;
use super::stage::{Load, Writer};

/// A decoded batch, and the permit that goes back when it is acknowledged.
pub type Handed<'a> = (Load, SemaphorePermit<'a>);

/// Collects batches and hands them over to the writer, until cancelled. One is collected
/// and decoded while the previous one is written.
pub async fn collect<'a>(
    writer: &Writer<'_>,
    window: &mut Window,
    source: &mut Source,
    permit: &'a WritePermit,
    hand_over: mpsc::Sender<Handed<'a>>,
) -> anyhow::Result<()> {
    let lane = writer.lane;
    let settings = &writer.context.settings;
    let mut before_was_poison_candidate = false;
    loop {
        let most = usize::from(settings.batch_max.min(window.size()));
        let batch = tokio::select! {
            batch = source.next_batch(most, permit, writer.stop, writer.health) => batch?,
            () = hand_over.closed() => return Ok(()), // the other side says why
        };
        let Some(batch) = batch else {
            return Ok(());
        };
        writer
            .context
            .metrics
            .ingest
            .taken(&lane.queue, batch.ended.as_str());
        window.saw(batch.sizes());
        let poison_candidate = batch.poison_candidate;
        // A poison-message candidate is decoded only while no other batch is in flight.
        let alone = if poison_candidate {
            Some(permit.take().await?)
        } else {
            None
        };
        let load = Load::decode(lane, &writer.context.clock, batch).await;
        let permit = match alone {
            Some(permit) => permit,
            None => permit.take().await?,
        };
        if window.adapt(before_was_poison_candidate) {
            source.resize(window.size()).await?;
        }
        before_was_poison_candidate = poison_candidate;
        if hand_over.send((load, permit)).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes and acknowledges batch after batch, until there is none. The second value says whether
/// one was acknowledged.
pub async fn write(
    writer: &Writer<'_>,
    acks: &AckHandle,
    mut loads: mpsc::Receiver<Handed<'_>>,
) -> (anyhow::Result<()>, bool) {
    let mut acknowledged = false;
    let outcome = async {
        let lane = writer.lane;
        loop {
            pause_while_behind(writer).await?;
            let Some((mut load, permit)) = loads.recv().await else {
                return Ok(());
            };
            writer.health.working();
            if load.batch.again
                && let Some(domain) = lane.legacy_of()
            {
                let queue = queue_of(domain.name);
                acks.republish(&load.batch, CAME_BY, &lane.queue, &queue)
                    .await?;
            } else if !spans::stage(writer, acks, &mut load).await? {
                return Ok(()); // told to stop while the database was away
            }
            acequia_store::failpoint::after_commit();
            acks.acknowledge(load.batch).await?;
            acknowledged = true;
            for batch in load.written {
                writer.context.acknowledged.add(batch);
            }
            writer.health.succeeded();
            drop(permit);
        }
    };
    (outcome.await, acknowledged)
}

/// Time between two looks whether promotion is still behind.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Waits while more rows are staged than promotion should be behind.
async fn pause_while_behind(writer: &Writer<'_>) -> anyhow::Result<()> {
    let Writer {
        lane,
        context,
        stop,
        ..
    } = writer;
    let Some(domain) = lane.domain else {
        return Ok(());
    };
    while !stop.is_cancelled() {
        // The look itself is no success of a lane that has not done its messages yet.
        let expects_success = writer.health.expects_success();
        writer.health.working();
        let look = async |connection: &mut PgConnection| {
            promotion::staged_rows(connection, domain.name).await
        };
        let staged = writer.ask(look).await.context("database")?;
        if !expects_success {
            writer.health.succeeded();
        }
        context
            .metrics
            .ingest
            .paused(&lane.queue, staged > context.settings.staged_max);
        if staged <= context.settings.staged_max {
            break;
        }
        // Promotion is behind, not this lane; its own health says so.
        writer.health.succeeded();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    Ok(())
}
