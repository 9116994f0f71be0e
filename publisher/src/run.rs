//! One run: publishes messages, a window of them at a time, until the result of each is certain.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use acequia_net::{COALESCE_FOR, SecretUrl};
use acequia_telemetry::Traces;
use chrono::Utc;
use futures_util::FutureExt as _;
use tokio::select;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{info, warn};

use crate::backlog::{Backlog, Next};
use crate::confirm_tracker::{InFlight, PublishResult};
use crate::link::Link;
use crate::loss::Loss;
use crate::metrics::OptionalMetrics;
use crate::outgoing::Outgoing;
use crate::pauses::Pauses;
use crate::publish_window::PublishWindow;
use crate::publisher::Settings;
use crate::summary::Summary;

/// Time limit for messages in flight after a shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// Refusals without a confirm between them for so long make a new connection: after the death of
/// a queue's leader RabbitMQ 3.10 was seen to refuse everything on a channel, though not on a new
/// connection.
const REFUSED_FOR: Duration = Duration::from_secs(3);
/// While more publishes than this are open their answers are taken together, not one by one.
const CROWD: usize = 100;
/// Messages given up, with not one confirmed, after which the rest is not tried.
const HOPELESS: u64 = 1000;

const UNROUTABLE: &str = "no queue takes it; start `worker run`, which declares the queues";
const INTERRUPTED: &str = "interrupted";

pub(crate) struct Run<'a> {
    url: &'a SecretUrl,
    settings: &'a Settings,
    traces: Option<&'a Traces>,
    backlog: Backlog,
    /// Since when the broker has not answered although it should.
    stalled: Option<Instant>,
    /// Since when the broker has refused messages and confirmed none.
    refused: Option<Instant>,
    /// The broker's reason for blocking the publisher.
    blocked: Option<String>,
    /// When messages on their way are given up after a shutdown.
    grace_ends: Option<Instant>,
    /// Pauses between attempts to connect.
    pauses: Pauses,
    /// Routing keys whose unroutable messages have been reported.
    reported: HashSet<String>,
    summary: Summary,
    /// The summary as the metrics have it.
    counted: Summary,
    metrics: OptionalMetrics,
    /// Receiver of the messages that are given up.
    rejects: Option<Sender<Arc<Outgoing>>>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        url: &'a SecretUrl,
        settings: &'a Settings,
        traces: Option<&'a Traces>,
        source: Receiver<Outgoing>,
        metrics: OptionalMetrics,
        rejects: Option<Sender<Arc<Outgoing>>>,
    ) -> Self {
        Self {
            url,
            settings,
            traces,
            backlog: Backlog::new(source, settings),
            stalled: None,
            refused: None,
            blocked: None,
            grace_ends: None,
            pauses: Pauses::default(),
            reported: HashSet::new(),
            summary: Summary::default(),
            counted: Summary::default(),
            metrics,
            rejects,
        }
    }

    /// Runs to the end; gives back the connection unless it is broken.
    pub(crate) async fn finish(
        mut self,
        link: Option<Link>,
        shutdown: impl Future<Output = ()>,
        mut progress: impl FnMut(&Summary),
    ) -> (Summary, Option<Link>) {
        let started = Instant::now();
        let mut shutdown = pin!(shutdown.fuse());
        let mut tick = interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut show = |summary: &mut Summary| {
            summary.lasted(started.elapsed());
            progress(summary);
        };

        let traces = self.traces.cloned();
        let mut window =
            link.map(|link| PublishWindow::new(link, self.metrics.clone(), traces.clone()));
        let stopped = loop {
            let Some(open) = &mut window else {
                select! {
                    biased;
                    () = &mut shutdown => break Some(INTERRUPTED.to_owned()),
                    connected = self.connect() => match connected {
                        Ok(link) => window = Some(PublishWindow::new(link, self.metrics.clone(), traces.clone())),
                        Err(why) => break Some(why),
                    },
                }
                continue;
            };
            while let Some(next) = self.backlog.next(open.open()) {
                self.publish(open, next);
            }
            if self.backlog.is_exhausted() && open.open() + self.backlog.waiting() == 0 {
                break self.grace_ends.map(|_| INTERRUPTED.to_owned());
            }
            let time = self.backlog.next_time();
            select! {
                // The rare ones first: the others may always be ready.
                biased;
                () = &mut shutdown, if self.grace_ends.is_none() => {
                    self.backlog.stop();
                    self.grace_ends = Some(Instant::now() + GRACE);
                }
                _ = tick.tick() => {
                    show(&mut self.summary);
                    self.listen(open);
                    self.measure(Some(open.open()));
                    if let Some(why) = self.why_stop() {
                        break Some(why);
                    }
                }
                () = open.ready() => if open.open() > CROWD {
                    sleep(COALESCE_FOR).await;
                },
                message = self.backlog.wait(), if self.backlog.may_take(open.open()) => {
                    if let Some(message) = message {
                        self.publish(open, Next::New(message));
                    }
                }
                () = sleep_until(time.unwrap_or_else(Instant::now)), if time.is_some() => {}
            }
            let overdue = self.blocked.is_none() && open.is_overdue(Instant::now());
            let loss = match open.take(|in_flight, result| self.settle(in_flight, result)) {
                Err(error) => Loss::from(&error),
                Ok(()) if overdue => Loss::Silence,
                Ok(())
                    if self
                        .refused
                        .is_some_and(|since| since.elapsed() > REFUSED_FOR) =>
                {
                    Loss::Refusal
                }
                Ok(()) => continue,
            };
            if let Some(broken) = window.take()
                && let Err(why) = self.lose(broken, loss).await
            {
                break Some(why);
            }
        };
        let link = self.end(window, stopped);
        self.measure(link.as_ref().map(|_| 0));
        show(&mut self.summary);
        (self.summary, link)
    }

    /// Brings the metrics up to date; `open` are the publishes without an answer on the
    /// connection, if there is one.
    fn measure(&mut self, open: Option<usize>) {
        let blocked = self.blocked.is_some();
        self.metrics.with(|metrics| {
            metrics.look(open.unwrap_or(0), open.is_some(), blocked);
            metrics.count(&self.summary, &self.counted);
            self.counted.clone_from(&self.summary);
        });
    }

    fn publish(&mut self, window: &mut PublishWindow, next: Next) {
        let in_flight = match next {
            Next::New(message) => {
                self.summary.last_line = message.line.or(self.summary.last_line);
                InFlight {
                    message: Arc::new(message),
                    published_at: Utc::now().timestamp_micros(),
                    attempts: 0,
                }
            }
            Next::Again(in_flight) => {
                self.summary.retried += 1;
                in_flight
            }
        };
        window.publish(in_flight, self.settings.confirm_timeout);
    }

    /// Acts on what became of a publish.
    fn settle(&mut self, mut in_flight: InFlight, result: PublishResult) {
        let reason = match result {
            PublishResult::Unknown => return self.backlog.at_once(in_flight),
            PublishResult::Confirmed => {
                self.refused = None;
                self.answered();
                let message = &in_flight.message;
                return self
                    .summary
                    .confirm(&message.route.label, message.body.len());
            }
            PublishResult::Returned => {
                self.summary.returned += 1;
                self.report_unroutable(in_flight.message.route.routing_key());
                UNROUTABLE
            }
            PublishResult::Nacked => {
                self.summary.nacked += 1;
                self.refused.get_or_insert_with(Instant::now);
                "the broker refused it"
            }
        };
        self.answered();
        in_flight.attempts += 1;
        if in_flight.attempts < self.settings.attempts {
            self.backlog.after_pause(in_flight);
        } else {
            self.fail(&in_flight, reason);
        }
    }

    fn answered(&mut self) {
        // A broker that has stopped to take messages still answers the last ones it took.
        self.stalled = self.blocked.as_ref().map(|_| Instant::now());
        self.pauses = Pauses::default();
    }

    fn fail(&mut self, in_flight: &InFlight, reason: &str) {
        self.summary.fail(&in_flight.message, reason);
        if let Some(rejects) = &self.rejects {
            // The receiver is gone when the program ends.
            let _ = rejects.send(Arc::clone(&in_flight.message));
        }
    }

    /// Reports each route once, immediately, so that somebody can start a worker meanwhile.
    fn report_unroutable(&mut self, key: &str) {
        if self.reported.contains(key) {
            return;
        }
        if self.reported.is_empty() {
            warn!(
                event = "publisher.returned",
                "a message for `{key}` came back: {UNROUTABLE}"
            );
        } else {
            warn!(
                event = "publisher.returned",
                "a message for `{key}` came back, too"
            );
        }
        self.reported.insert(key.to_owned());
    }

    /// Handles the broker's notices of blocking and unblocking.
    fn listen(&mut self, window: &mut PublishWindow) {
        match window.news() {
            Some(Some(reason)) => {
                warn!(
                    event = "publisher.blocked",
                    "the broker takes no messages at the moment: {reason}"
                );
                self.stalled.get_or_insert_with(Instant::now);
                self.blocked = Some(reason);
            }
            Some(None) => {
                info!(
                    event = "publisher.unblocked",
                    "the broker takes messages again"
                );
                self.stalled = None;
                self.blocked = None;
                window.extend(Instant::now() + self.settings.confirm_timeout);
            }
            None => {}
        }
    }

    /// Reason to end the run now, if there is one.
    fn why_stop(&self) -> Option<String> {
        let now = Instant::now();
        let too_long = |since: Instant| {
            let most = self.settings.retry_for;
            most.is_some_and(|most| now - since > most)
        };
        if self.grace_ends.is_some_and(|end| end < now) {
            Some(INTERRUPTED.to_owned())
        } else if self.stalled.is_some_and(too_long) {
            Some(match &self.blocked {
                Some(reason) => format!("the broker takes no messages: {reason}"),
                None => "the broker has confirmed nothing for too long".to_owned(),
            })
        } else if self.summary.confirmed == 0 && self.summary.failed >= HOPELESS {
            Some("none of the first messages got through".to_owned())
        } else {
            None
        }
    }

    /// Takes a broken window apart and decides whether to go on.
    async fn lose(&mut self, window: PublishWindow, loss: Loss) -> Result<(), String> {
        warn!(event = "publisher.interrupted", "{loss}");
        self.metrics.with(|metrics| metrics.lost(&loss));
        self.stalled.get_or_insert_with(Instant::now);
        self.blocked = None;
        let mut unknown = 0;
        let link = window.interrupt(|in_flight, result| {
            unknown += u32::from(result == PublishResult::Unknown);
            self.settle(in_flight, result);
        });
        link.close().await;
        self.measure(None);
        self.refused = None;
        match loss {
            Loss::Connection(_) | Loss::Silence | Loss::Refusal => Ok(()),
            Loss::Forbidden(why) => Err(why),
            Loss::Channel(why) => {
                if let Some(in_flight) = self.backlog.convict(unknown == 1) {
                    self.fail(&in_flight, &why);
                }
                Ok(())
            }
        }
    }

    /// Tries to connect until it works or there is no point in going on.
    async fn connect(&mut self) -> Result<Link, String> {
        self.stalled.get_or_insert_with(Instant::now);
        loop {
            sleep(self.pauses.next()).await;
            let attempt = Link::open(self.url, self.settings.exchange).await;
            self.metrics
                .with(|metrics| metrics.attempted(attempt.is_ok()));
            match attempt {
                Ok(link) => {
                    info!(event = "publisher.connected", "connected again");
                    self.summary.reconnects += 1;
                    return Ok(link);
                }
                Err(error) if self.why_stop().is_some() => return Err(error.to_string()),
                Err(error) => info!(event = "publisher.waiting", "{error}"),
            }
        }
    }

    /// Gives up the remaining messages.
    fn end(&mut self, window: Option<PublishWindow>, stopped: Option<String>) -> Option<Link> {
        let link = window
            .map(|window| window.interrupt(|in_flight, result| self.settle(in_flight, result)));
        let reason = stopped.as_deref().unwrap_or(INTERRUPTED);
        for in_flight in self.backlog.give_up() {
            self.fail(&in_flight, reason);
        }
        // Publishes without an answer may still get one: that connection is not used again.
        let clean = stopped.is_none();
        self.summary.stopped = stopped;
        link.filter(|_| clean)
    }
}
