//! Writes a batch, and retries until it is written or the lane stops.

use std::time::{Duration, Instant};

use acequia_contracts::{Code, Context};
use acequia_messaging::{AckHandle, Batch, DisconnectReason};
use acequia_store::acknowledged::Acknowledged;
use acequia_store::clock::Clock;
use acequia_store::db::{self, Attention, Session, attended};
use acequia_store::failure::{Backoff, describe};
use acequia_store::staging::{self, Counts, DecodedBatch, Store, WriteMode, Written};
use acequia_telemetry::health::LoopHealth;
use acequia_telemetry::{RateLimitedLog, Span};
use chrono::Utc;
use lapin::message::Delivery;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::spans;
use super::writers::{Slot, SlotGuard};
use crate::acknowledged::look;
use crate::context::WorkerContext;
use crate::metrics::Ingest;
use crate::queue_consumer::QueueConsumer;

/// How long one attempt may take. The server's own limits end a statement earlier; this is for a
/// server that does not answer at all.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(180);
/// Bytes of bodies that the way to the server carries in a second, at least. A batch that is given up as lost
/// is given twice as long the next time.
const BYTES_A_SECOND: u64 = 1_000_000;

/// Time limit of a statement that a healthy server answers at once.
const QUESTION_WITHIN: Duration = Duration::from_secs(30);

/// Time limit for setting up a new connection and reading its clock.
const SET_UP_WITHIN: Duration = Duration::from_secs(10);

/// The writer of a lane.
pub struct Writer<'a> {
    /// The lane.
    pub lane: &'a QueueConsumer,
    /// The context that the loops share.
    pub context: &'a WorkerContext,
    /// The statements.
    pub store: &'a Store,
    /// Cancelled when the lane must stop.
    pub stop: &'a CancellationToken,
    /// The lane's state.
    pub health: &'a LoopHealth,
    /// The slot of its write connection.
    pub slot: &'a Slot,
    /// Called with the reason why an answer of the database takes long.
    pub waits: &'a (dyn Fn(String) + Sync),
    /// Log lines about refused messages.
    pub reject_log: RateLimitedLog<Code>,
}

impl Writer<'_> {
    /// Writes a decoded batch; retries while the database says that this may help. `false` when
    /// it was asked to stop before the batch was written.
    ///
    /// # Errors
    /// When the database refused for so long that the messages went back to the queue.
    pub async fn stage(&self, acks: &AckHandle, load: &mut Load) -> anyhow::Result<bool> {
        let begun = Instant::now();
        let batch = &load.batch.deliveries;
        for decoded in &load.decoded {
            let Some(written) = self.insist(acks, batch, decoded, begun).await? else {
                return Ok(false);
            };
            self.tell(decoded, &written, begun.elapsed());
            if let Some(span) = &mut load.span {
                span.set(spans::outcome(decoded.domain.name, &written));
            }
            load.written
                .push(acknowledged(&self.lane.queue, decoded, &written));
            let whole = load.decoding + begun.elapsed();
            self.metrics()
                .staged(&self.lane.queue, decoded, &written, whole);
            self.context.wakes.wake("staged", decoded.domain.name);
        }
        let whole = load.decoding + begun.elapsed();
        self.metrics()
            .done(&self.lane.queue, batch, load.decoding, whole);
        Ok(true)
    }

    /// Logs one line for the batch, and one for each reason of refused messages, if that
    /// reason was not logged just before.
    fn tell(&self, decoded: &DecodedBatch, written: &Written, took: Duration) {
        let sum = |pick: fn(&Counts) -> i32| -> i32 {
            written.counts.iter().map(|(_, counts)| pick(counts)).sum()
        };
        info!(
            event = "batch.staged",
            domain = decoded.domain.name,
            queue = self.lane.queue,
            batch_id = written.batch_id,
            messages = sum(|counts| counts.received),
            staged = sum(|counts| counts.staged),
            duplicates = sum(|counts| counts.duplicates),
            quarantined = sum(|counts| counts.quarantined),
            duration_s = took.as_secs_f64(),
            "batch staged"
        );
        for told in self.reject_log.count(&written.codes, Instant::now()) {
            warn!(
                event = "messages.quarantined",
                domain = decoded.domain.name,
                queue = self.lane.queue,
                batch_id = written.batch_id,
                stage = told.code.stage().as_str(),
                code = told.code.as_str(),
                messages = told.messages,
                suppressed = told.suppressed,
                "messages put in quarantine; worker quarantine says more"
            );
        }
    }

    /// Tries until the batch is written (`Some`) or the worker has to stop (`None`).
    async fn insist(
        &self,
        acks: &AckHandle,
        batch: &[Delivery],
        decoded: &DecodedBatch,
        begun: Instant,
    ) -> anyhow::Result<Option<Written>> {
        let mut backoff = Backoff::default();
        let mut write_mode = WriteMode::Commit;
        let bytes: u64 = batch.iter().map(|one| one.data.len() as u64).sum();
        let mut under_way = Duration::from_millis(bytes * 1000 / BYTES_A_SECOND);
        loop {
            let mut guard = self.guard().await;
            let session = match self.connected(&mut guard).await {
                Ok(session) => session,
                Err(error) => {
                    drop(guard);
                    self.health
                        .failed(format!("database: {}", describe(&error)));
                    debug!(error = describe(&error), "database not back yet");
                    if self.pause(&mut backoff).await {
                        continue;
                    }
                    return Ok(None);
                }
            };
            let attention = Attention {
                under_way,
                within: ATTEMPT_WITHIN,
                ..self.attention(session)
            };
            let queue = &self.lane.queue;
            let attempt = self.store.write(session, queue, decoded, batch, write_mode);
            // The outcome of an attempt that is given up is unknown. That does no harm: its
            // connection is dropped with it, and a second copy counts as a duplicate.
            let failed = match attended(&attention, attempt).await {
                Ok(written) if write_mode == WriteMode::Commit => return Ok(Some(written)),
                Ok(_) => return Err(DisconnectReason::Held.into()),
                Err(error) => error,
            };
            *guard = None;
            drop(guard);
            under_way = under_way.saturating_mul(2).min(ATTEMPT_WITHIN);
            self.report(&failed, batch.len());
            if begun.elapsed() > self.context.settings.hold_max && write_mode == WriteMode::Commit {
                // However long the outage, it costs the messages one delivery: consuming starts
                // again when this very batch could be written.
                info!(
                    event = "batch.returned",
                    queue = self.lane.queue,
                    messages = batch.len(),
                    "held for too long, its messages go back to the queue"
                );
                acks.close().await;
                write_mode = WriteMode::DryRun;
            }
            if !self.pause(&mut backoff).await {
                return Ok(None);
            }
        }
    }

    fn report(&self, error: &sqlx::Error, messages: usize) {
        self.metrics().retried(&self.lane.queue, error, messages);
        self.health.failed(format!("database: {}", describe(error)));
    }

    fn metrics(&self) -> &Ingest {
        &self.context.metrics.ingest
    }

    /// The right to write by the domain's connection, which its lanes share.
    async fn guard(&self) -> SlotGuard<'_> {
        if let Ok(guard) = self.slot.try_lock() {
            return guard;
        }
        (self.waits)("another queue of the domain is being written".to_owned());
        let guard = self.slot.lock().await;
        self.health.waits(None);
        guard
    }

    /// The connection, opened if there is none. A new one looks whether the database has what was acknowledged.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub async fn connected<'t>(
        &self,
        guard: &'t mut SlotGuard<'_>,
    ) -> sqlx::Result<&'t mut Session> {
        let (session, _) = match guard.take() {
            Some(open) => guard.insert(open),
            None => {
                let attempt = self.connect().await;
                guard.insert(self.context.metrics.loops.connected("ingest", attempt)?)
            }
        };
        Ok(session)
    }

    async fn connect(&self) -> sqlx::Result<Session> {
        let domain = self.lane.domain.or(self.context.domains.first().copied());
        let name = domain.map_or(self.lane.queue.as_str(), |domain| domain.name);
        let mut session = db::open(&self.context.database, &format!("ingest {name}")).await?;
        let set_up = async {
            staging::keep_plans(&mut session).await?;
            // Before the first message: its dates are judged by this clock.
            self.context.clock.read(&mut session).await
        };
        tokio::time::timeout(SET_UP_WITHIN, set_up)
            .await
            .unwrap_or_else(|_| Err(db::no_answer(SET_UP_WITHIN)))?;
        look(&mut session, &self.context.process()).await?;
        Ok(session)
    }

    /// Watches a short statement of the lane, one that a healthy server answers at once.
    pub fn attention(&self, session: &Session) -> Attention<'_> {
        Attention {
            database: &self.context.database,
            backend: session.backend,
            under_way: Duration::ZERO,
            within: QUESTION_WITHIN,
            tell: self.waits,
        }
    }

    /// Sends a question over the connection, which is dropped when there is no answer.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let mut guard = self.guard().await;
        let session = self.connected(&mut guard).await?;
        let attention = self.attention(session);
        let answer = attended(&attention, question(session)).await;
        if answer.is_err() {
            *guard = None;
        }
        answer
    }

    /// Waits before the next attempt. `false` when the lane must stop.
    async fn pause(&self, backoff: &mut Backoff) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(backoff.next_delay()) => true,
        }
    }
}

/// A batch on its way from the queue to staging.
pub struct Load {
    /// The messages.
    pub batch: Batch,
    /// Their decoded rows; empty for messages that are passed on unseen.
    pub decoded: Vec<DecodedBatch>,
    /// Its committed batches.
    pub written: Vec<Acknowledged>,
    /// Duration of decoding.
    pub decoding: Duration,
    /// Its span, when tracing is on.
    pub span: Option<Span>,
}

impl Load {
    /// Decodes a batch. The domain of a dead letter is that of the queue that gave it up.
    pub async fn decode(lane: &QueueConsumer, clock: &Clock, mut batch: Batch) -> Self {
        let begun = Instant::now();
        let context = Context { now: clock.now() };
        let unreadable = batch.take_unreadable();
        // Redelivered messages of a queue that does not count deliveries are passed on undecoded.
        let decoded = if batch.again && lane.domain.is_some() {
            Vec::new()
        } else {
            let messages = &batch.deliveries;
            staging::decode(&lane.queue, lane.domain, messages, unreadable, &context).await
        };
        Self {
            batch,
            decoded,
            written: Vec::new(),
            decoding: begun.elapsed(),
            span: None,
        }
    }
}

/// The record of a batch, for a look after a failover.
fn acknowledged(queue: &str, decoded: &DecodedBatch, written: &Written) -> Acknowledged {
    let oldest = decoded.good.iter().filter_map(|rows| rows.oldest).min();
    let newest = decoded.good.iter().filter_map(|rows| rows.newest).max();
    let received = written
        .counts
        .iter()
        .map(|(_, counts)| i64::from(counts.received));
    Acknowledged {
        batch_id: written.batch_id,
        identity: written.identity,
        domain: decoded.domain.name,
        queue: queue.to_owned(),
        messages: received.sum(),
        published: oldest.zip(newest),
        at: Utc::now(),
    }
}
