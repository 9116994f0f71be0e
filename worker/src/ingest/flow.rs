//! The two halves of a lane: one collects and decodes a batch while the other writes the one before.

use std::sync::Arc;

use anyhow::Context as _;
use sqlx::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Lane;
use super::outlet::Outlet;
use super::source::Source;
use super::stage::{Load, Writer};
use super::window::Window;
use crate::amqp::queue_of;
use crate::metrics::Open;
use crate::run::Shared;

/// A decoded batch, and the permit that goes back when it is acknowledged.
pub type Handed = (Load, OwnedSemaphorePermit);

/// Batch after batch, from the queue to whoever writes them, until told to stop. One is collected
/// and decoded while the one before it is written.
pub async fn collect(
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
        writer.shared.metrics.ingest.taken(&lane.queue, batch.ended);
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
pub async fn write(
    writer: &Writer<'_>,
    connection: &mut (PgConnection, Open),
    outlet: &Outlet,
    mut loads: mpsc::Receiver<Handed>,
) -> (anyhow::Result<()>, bool) {
    let mut acknowledged = false;
    let outcome = async {
        let lane = writer.lane;
        loop {
            pause_while_behind(lane, writer.shared, &mut connection.0, writer.stop).await?;
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
