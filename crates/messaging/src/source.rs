//! The source of a lane: connection, topology and consumer as one unit, which is reopened
//! after any loss.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use acequia_net::topology::{ANSWER_WITHIN, DEAD_QUEUE, Mismatch, answer};
use acequia_net::{SecretUrl, broker};
use anyhow::Context;
use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use prometheus::Histogram;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::ack_handle::DeliveryForwarder;
use crate::broker_probe::{Watch, ready_messages};
use crate::declarations::Declarations;
use crate::disconnect::OtherArguments;
use crate::look::Looks;
use crate::{AckHandle, Flow};

/// A queue, and the limits of its consumer.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// The queue.
    pub queue: String,
    /// Whether the queue counts how often it delivers a message.
    pub counts_deliveries: bool,
    /// Bytes of bodies that may be in flight; at twice as many the connection is cut.
    pub in_flight_bytes: usize,
    /// Maximum number of bytes of bodies in a batch.
    pub batch_bytes: usize,
    /// Longest wait for a batch to fill once its first message is there.
    pub batch_wait: Duration,
    /// A lane without progress for this long counts as stalled; its queue is looked at three times as often.
    pub stall_after: Duration,
    /// Reads when a message was published, given the present time.
    pub published_at: fn(&BasicProperties, DateTime<Utc>) -> Option<DateTime<Utc>>,
}

/// Metrics of a consumer.
#[derive(Debug, Clone)]
pub struct Instruments {
    /// The messages in flight.
    pub flow: Flow,
    /// Response times of the broker.
    pub broker_pings: Histogram,
    /// Observations of all lanes.
    pub looks: Arc<Looks>,
    /// Whether an operator has paused the stream: messages stay in the queue.
    pub paused: watch::Receiver<bool>,
}

/// A consumer with the connection and channel that it lives on.
pub struct Source {
    pub(crate) settings: ConsumerSettings,
    looks: Arc<Looks>,
    pub(crate) acks: AckHandle,
    tag: String,
    /// Ends with the source: it holds the connection, which would live on with its messages.
    forwarder: Option<AbortOnDropHandle<()>>,
    /// Ends with the source, as the forwarder does.
    watch: Option<AbortOnDropHandle<()>>,
    pub(crate) arrivals: mpsc::UnboundedReceiver<anyhow::Result<Vec<Delivery>>>,
    /// Messages that have arrived and belong to a later batch.
    pub(crate) ahead: VecDeque<Delivery>,
    /// Messages of the last batch.
    pub(crate) collected: u32,
    /// Messages that waited when it began.
    found: u32,
    /// Messages that may be in flight.
    window: u16,
    /// Whether the stream is paused.
    pub(crate) paused: watch::Receiver<bool>,
    /// Whether there is a consumer; there is none during a pause.
    pub(crate) consuming: bool,
}

impl Source {
    /// Connects under a name that the broker shows, declares all queues of the process unless another lane has, and starts to
    /// consume with `window` messages in flight, unless it is paused.
    ///
    /// # Errors
    /// When any of these fails or the broker does not answer.
    pub async fn open(
        broker: &SecretUrl,
        name: &str,
        declarations: &Declarations,
        settings: ConsumerSettings,
        instruments: Instruments,
        window: u16,
    ) -> anyhow::Result<Self> {
        let connected = broker::connect(broker, name).await?;
        let others = declarations.by(&connected.connection).await?;
        consumable(&settings.queue, &others)?;
        let channel = answer(connected.connection.create_channel()).await?;
        let watched = answer(connected.connection.create_channel()).await?;
        let Instruments {
            flow,
            broker_pings,
            looks,
            paused,
        } = instruments;
        let acks = AckHandle::new(channel, connected, flow);
        let mut source = Self {
            settings,
            looks: looks.clone(),
            acks: acks.clone(),
            tag: String::new(),
            forwarder: None,
            watch: None,
            arrivals: mpsc::unbounded_channel().1,
            ahead: VecDeque::new(),
            collected: 0,
            found: 0,
            window,
            paused,
            consuming: false,
        };
        source.acks.consuming(false);
        source.acks.flow().reset();
        source.found = source.waiting().await?;
        if !source.is_paused() {
            source.consume(window).await?;
        }
        let watch = Watch {
            channel: watched,
            queue: source.settings.queue.clone(),
            took: broker_pings,
            acks,
            looks,
        };
        source.watch = Some(AbortOnDropHandle::new(tokio::spawn(watch.run())));
        Ok(source)
    }

    /// Starts a consumer that may have `window` messages in flight.
    async fn consume(&mut self, window: u16) -> anyhow::Result<()> {
        let qos = BasicQosOptions::default();
        let channel = self.acks.channel();
        answer(channel.basic_qos(window, qos))
            .await
            .context("prefetch")?;
        let (queue, options) = (self.settings.queue.as_str(), BasicConsumeOptions::default());
        let start = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let consumer = answer(start)
            .await
            .with_context(|| format!("consuming from {queue}"))?;
        self.tag = consumer.tag().to_string();
        let (arrive, arrivals) = mpsc::unbounded_channel();
        self.arrivals = arrivals;
        self.acks.flow().allowed(window);
        self.acks.consuming(true);
        (self.consuming, self.window) = (true, window);
        let forwarder = DeliveryForwarder {
            acks: self.acks.clone(),
            limit: self.settings.in_flight_bytes.saturating_mul(2),
        };
        self.forwarder = Some(AbortOnDropHandle::new(tokio::spawn(
            forwarder.run(consumer, arrive),
        )));
        Ok(())
    }

    /// Returns once it is paused, or is not any more.
    pub(crate) async fn until(paused: &mut watch::Receiver<bool>, is: bool) {
        if paused.wait_for(|paused| *paused == is).await.is_err() {
            std::future::pending::<()>().await; // nobody decides any more
        }
    }

    /// Whether the stream is paused.
    pub(crate) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Changes the number of messages that may be in flight. Those that have arrived stay, in
    /// their order.
    ///
    /// # Errors
    /// When the broker does not answer, or the consumer is lost meanwhile.
    pub async fn resize(&mut self, window: u16) -> anyhow::Result<()> {
        if !self.consuming {
            self.window = window;
            return Ok(());
        }
        self.cancel().await?;
        self.consume(window).await
    }

    /// Ends the consumer. Messages that have arrived stay, in their order.
    ///
    /// # Errors
    /// As [`Source::resize`].
    pub(crate) async fn pause(&mut self) -> anyhow::Result<()> {
        self.cancel().await?;
        self.acks.flow().allowed(0);
        self.acks.consuming(false);
        self.consuming = false;
        Ok(())
    }

    /// Starts a consumer again.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn resume(&mut self) -> anyhow::Result<()> {
        self.consume(self.window).await
    }

    /// Ends the consumer.
    async fn cancel(&mut self) -> anyhow::Result<()> {
        let options = BasicCancelOptions::default();
        let tag = self.tag.as_str();
        answer(self.acks.channel().basic_cancel(tag.into(), options))
            .await
            .context("ending the consumer")?;
        // The stream ends behind the last message that was delivered. Not one may be left out:
        // an acknowledgement covers every message before it.
        let drained = async {
            while let Some(arrival) = self.arrivals.recv().await {
                self.ahead.extend(arrival?);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(ANSWER_WITHIN, drained)
            .await
            .context("the cancelled consumer did not end")?
    }

    /// Messages that are ready in the queue.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn waiting(&self) -> anyhow::Result<u32> {
        ready_messages(self.acks.channel(), &self.settings.queue).await
    }

    /// Messages that were ready in the queue when consuming began.
    #[must_use]
    pub const fn found(&self) -> u32 {
        self.found
    }

    /// The way back to the broker.
    #[must_use]
    pub const fn acks(&self) -> &AckHandle {
        &self.acks
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.acks.flow().reset();
        // Aborted before the last look is taken back.
        self.watch = None;
        self.looks.lost(&self.settings.queue);
    }
}

/// Whether a lane may consume although queues have other arguments than they should. Another lane's
/// queue is none of its business. Its own may lack the dead-lettering that the promise rests on; dead
/// letters are safer in quarantine than in a queue of whatever kind.
fn consumable(queue: &str, others: &[Mismatch]) -> anyhow::Result<()> {
    let Some(other) = others.iter().find(|other| other.queue == queue) else {
        return Ok(());
    };
    let difference = &other.difference;
    if queue == DEAD_QUEUE {
        warn!(
            event = "queue.other_arguments",
            queue,
            difference,
            remedy = other.remedy(),
            "the queue was declared with other arguments"
        );
        return Ok(());
    }
    Err(anyhow::Error::new(OtherArguments(format!(
        "queue {queue} was declared with other arguments ({difference}). {}",
        other.remedy()
    ))))
}
