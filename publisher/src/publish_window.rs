//! The publishes that are under way on one channel.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use acequia_telemetry::{KeyValue, Span, SpanKind, Start, Traces, inject};
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Confirmation};
use tokio::time::Instant;
use uuid::Uuid;

use crate::confirm_tracker::{ConfirmTracker, InFlight, PublishResult, Returned, Verdict};
use crate::link::Link;
use crate::metrics::OptionalMetrics;
use crate::outgoing::Outgoing;

/// A publish: its frames have been queued, the broker's answer is awaited.
struct Pending {
    answer: Pin<Box<MaybeDone<BoxFuture<'static, lapin::Result<Confirmation>>>>>,
    sent: Instant,
    deadline: Instant,
    /// Ends with it.
    span: Option<Span>,
}

/// A channel with its publishes, oldest first. One task uses it: tags and frames of two tasks
/// could get into different orders.
pub(crate) struct PublishWindow {
    link: Link,
    pending: VecDeque<Pending>,
    tracker: ConfirmTracker,
    metrics: OptionalMetrics,
    traces: Option<Traces>,
}

impl fmt::Debug for PublishWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishWindow")
            .field("open", &self.open())
            .finish()
    }
}

impl PublishWindow {
    pub(crate) fn new(link: Link, metrics: OptionalMetrics, traces: Option<Traces>) -> Self {
        Self {
            link,
            traces,
            pending: VecDeque::new(),
            tracker: ConfirmTracker::default(),
            metrics,
        }
    }

    /// Publishes without an answer.
    pub(crate) fn open(&self) -> usize {
        self.tracker.open()
    }

    /// Publishes a message whose confirm must come within this time.
    pub(crate) fn publish(&mut self, in_flight: InFlight, within: Duration) {
        let sent = Instant::now();
        let channel = self.link.channel.clone();
        let message = Arc::clone(&in_flight.message);
        let span = self.traces.as_ref().map(|traces| span(traces, &message));
        let properties = properties(&message, in_flight.published_at, span.as_ref());
        let answer: BoxFuture<'static, _> = Box::pin(async move {
            let route = &message.route;
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let (exchange, key) = (route.exchange.clone(), route.routing_key.clone());
            channel
                .basic_publish(exchange, key, options, &message.body, properties)
                .await?
                .await
        });
        // The first poll takes the tag and queues the frames. Waiting until they are on the
        // socket would cost a round trip between two threads for each message.
        let mut answer = Box::pin(maybe_done(answer));
        let _ = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        self.pending.push_back(Pending {
            answer,
            sent,
            deadline: sent + within,
            span,
        });
        self.tracker.push(in_flight);
    }

    /// Waits for the answer to the oldest publish; never returns if there is none.
    pub(crate) async fn ready(&mut self) {
        poll_fn(|cx| match self.pending.front_mut() {
            Some(oldest) => oldest.answer.as_mut().poll(cx),
            None => Poll::Pending,
        })
        .await;
    }

    /// Takes the answers that are there, oldest first.
    ///
    /// # Errors
    /// When channel or connection are broken. The window must be interrupted then.
    pub(crate) fn take(
        &mut self,
        mut tell: impl FnMut(InFlight, PublishResult),
    ) -> lapin::Result<()> {
        while let Some(oldest) = self.pending.front_mut() {
            match answer(oldest) {
                None => break,
                Some(Err(error)) => return Err(error),
                Some(Ok(confirmation)) => {
                    let sent = oldest.sent;
                    let span = self.pending.pop_front().and_then(|pending| pending.span);
                    if let Some(mut span) = span
                        && !matches!(&confirmation, Confirmation::Ack(None))
                    {
                        span.fail("refused, or no queue took it".to_owned());
                    }
                    if confirmation.is_ack() {
                        self.metrics
                            .with(|metrics| metrics.confirmed(sent.elapsed()));
                    }
                    self.tracker.settle(verdict(confirmation), &mut tell);
                }
            }
        }
        Ok(())
    }

    /// Whether the oldest confirm should have come by now.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.pending
            .front()
            .is_some_and(|oldest| oldest.deadline < now)
    }

    /// Gives all confirms until then.
    pub(crate) fn extend(&mut self, deadline: Instant) {
        for pending in &mut self.pending {
            pending.deadline = deadline;
        }
    }

    /// See [`Link::news`].
    pub(crate) fn news(&mut self) -> Option<Option<String>> {
        self.link.news()
    }

    /// Ends the window and reports the result of every message to `tell`.
    pub(crate) fn interrupt(mut self, tell: impl FnMut(InFlight, PublishResult)) -> Link {
        let answers = self.pending.iter_mut().map(|pending| {
            let answer = answer(pending)?;
            answer.ok().map(verdict)
        });
        let answers = answers.collect();
        self.tracker.interrupt(answers, tell);
        self.link
    }
}

/// The answer, if it is there. An error stays where it is.
fn answer(pending: &mut Pending) -> Option<lapin::Result<Confirmation>> {
    let mut context = Context::from_waker(Waker::noop());
    if pending.answer.as_mut().poll(&mut context).is_pending() {
        return None;
    }
    if let Some(Err(error)) = pending.answer.as_mut().output_mut() {
        return Some(Err(error.clone()));
    }
    pending.answer.as_mut().take_output()
}

fn verdict(confirmation: Confirmation) -> Verdict {
    Verdict {
        acked: confirmation.is_ack(),
        returned: confirmation.take_message().map(|message| Returned {
            id: message.properties.message_id().as_ref().and_then(uuid),
            body: message.delivery.data,
        }),
    }
}

fn uuid(text: &ShortString) -> Option<Uuid> {
    text.as_str().parse().ok()
}

/// The span of one attempt, from the frames to the confirm.
fn span(traces: &Traces, message: &Outgoing) -> Span {
    let route = &message.route;
    let (exchange, key) = (route.exchange.as_str(), route.routing_key.as_str());
    let mut attributes = vec![
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.operation.name", "publish"),
        KeyValue::new("messaging.operation.type", "send"),
        KeyValue::new("messaging.destination.name", format!("{exchange}:{key}")),
        KeyValue::new("messaging.rabbitmq.destination.routing_key", key.to_owned()),
    ];
    if let Some(id) = message.id {
        attributes.push(KeyValue::new("messaging.message.id", id.to_string()));
    }
    traces.start(Start {
        name: format!(
            "publish {}",
            if exchange.is_empty() { key } else { exchange }
        ),
        kind: SpanKind::Producer,
        at: SystemTime::now(),
        parent: None,
        links: Vec::new(),
        attributes,
    })
}

/// The AMQP properties. A legacy message has only what the reference's publisher sets.
fn properties(message: &Outgoing, published_at: i64, span: Option<&Span>) -> BasicProperties {
    let persistent = BasicProperties::default().with_delivery_mode(2);
    if message.route.is_legacy() {
        return persistent;
    }
    let mut headers = FieldTable::default();
    headers.insert(
        acequia_contracts::envelope::PUBLISHED_AT.into(),
        AMQPValue::LongLongInt(published_at),
    );
    if let Some(span) = span {
        inject(&span.context(), &mut headers);
    }
    let mut properties = persistent
        .with_content_type("application/json".into())
        .with_app_id("acequia-publisher".into())
        .with_timestamp(published_at.unsigned_abs() / 1_000_000)
        .with_headers(headers);
    if let Some(id) = message.id {
        properties = properties.with_message_id(id.to_string().into());
    }
    if let Some(kind) = &message.route.kind {
        properties = properties.with_type(kind.clone());
    }
    properties
}
