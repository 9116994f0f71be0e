//! Listens for notifications and wakes the loops of the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_messaging::STEADY;
use acequia_store::db;
use acequia_store::failure::{Backoff, describe};
use acequia_store::wakes::CHANNEL;
use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::context::WorkerContext;

/// Time between two questions that show whether the listening connection lives.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// Time limit of the answer.
const PROBE_WITHIN: Duration = Duration::from_secs(10);

/// Listens until cancelled. Without a listener the loops find work by polling.
pub async fn listen(context: Arc<WorkerContext>, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    let mut was_lost = false;
    while !stop.is_cancelled() {
        let attempt = tokio::select! {
            () = stop.cancelled() => return,
            attempt = db::listen(&context.database, CHANNEL) => attempt,
        };
        match context.metrics.loops.connected("listen", attempt) {
            Ok((mut listener, _open)) => {
                if std::mem::take(&mut was_lost) {
                    info!(
                        event = "wakes.back",
                        "announcements of work are heard again"
                    );
                }
                context.wakes.wake_all();
                let heard_from = Instant::now();
                let ended = tokio::select! {
                    () = stop.cancelled() => return,
                    ended = hear(&mut listener, &context) => ended,
                };
                was_lost = true;
                if heard_from.elapsed() >= STEADY {
                    backoff.reset();
                }
                let error = ended.err().map(|error| describe(&error));
                warn!(
                    event = "wakes.lost",
                    error, "notifications are not received: loops poll, which takes longer"
                );
            }
            Err(error) => debug!(error = describe(&error), "nobody listens yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// Receives announcements until the connection is lost.
async fn hear(listener: &mut PgListener, context: &WorkerContext) -> sqlx::Result<()> {
    loop {
        match tokio::time::timeout(PROBE_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(heard))) => context.wakes.heard(heard.payload()),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            // There was no notification, or the connection is dead.
            Err(_) => {
                db::probe(listener, PROBE_WITHIN).await?;
            }
        }
    }
}
