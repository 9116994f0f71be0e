//! The publisher as a library.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use acequia_net::SecretUrl;
use acequia_telemetry::Traces;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::backlog::feed;
use crate::link::{ConnectError, Link, broker_url};
use crate::metrics::{Metrics, OptionalMetrics};
use crate::outgoing::Outgoing;
use crate::pauses::Pauses;
use crate::run::Run;
use crate::summary::Summary;

/// Settings for sending messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Messages that may wait for their confirm at the same time.
    pub window: usize,
    /// Attempts per message that the broker refuses or cannot route.
    pub attempts: u32,
    /// Time limit of a confirm.
    pub confirm_timeout: Duration,
    /// Time to go on without a broker that confirms anything; without a value, no limit.
    pub retry_for: Option<Duration>,
    /// Messages per second, at most.
    pub rate: Option<f64>,
    /// Whether the platform's exchange is needed; not for legacy routes alone.
    pub exchange: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 1000,
            attempts: 8,
            confirm_timeout: Duration::from_secs(30),
            retry_for: Some(Duration::from_secs(60)),
            rate: None,
            exchange: true,
        }
    }
}

/// Sends messages over one connection and makes a new one when it is lost.
///
/// Delivery is at least once: after a lost connection a message whose fate is unknown is sent
/// again with the same id, by which the worker recognises it.
#[derive(Debug)]
pub struct Publisher {
    url: SecretUrl,
    settings: Settings,
    traces: Option<Traces>,
    /// None after a run that ended without connection.
    link: Option<Link>,
    metrics: OptionalMetrics,
    rejects: Option<Sender<Arc<Outgoing>>>,
}

impl Publisher {
    /// Connects with the default settings: tries for a minute.
    ///
    /// # Errors
    /// When the URL is wrong, or the broker cannot be reached or refuses.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::connect_with(broker_url(url)?, Settings::default()).await
    }

    /// Connects; tries for as long as a lost connection is tried to be made again (`retry_for`).
    ///
    /// # Errors
    /// When the broker cannot be reached for so long, or refuses.
    pub async fn connect_with(url: SecretUrl, settings: Settings) -> Result<Self, ConnectError> {
        Self::connect_observed(url, settings, &OptionalMetrics::default()).await
    }

    pub(crate) async fn connect_observed(
        url: SecretUrl,
        settings: Settings,
        metrics: &OptionalMetrics,
    ) -> Result<Self, ConnectError> {
        let (begun, mut pauses) = (Instant::now(), Pauses::default());
        let link = loop {
            let attempt = Link::open(&url, settings.exchange).await;
            metrics.with(|metrics| metrics.attempted(attempt.is_ok()));
            match attempt {
                Ok(link) => break link,
                Err(error)
                    if !error.may_pass()
                        || settings
                            .retry_for
                            .is_some_and(|limit| begun.elapsed() >= limit) =>
                {
                    return Err(error);
                }
                Err(error) => info!(event = "publisher.waiting", "{error}"),
            }
            sleep(pauses.next()).await;
        };
        Ok(Self {
            url,
            settings,
            traces: None,
            link: Some(link),
            metrics: OptionalMetrics::default(),
            rejects: None,
        })
    }

    /// Makes a span for each attempt to publish a message, whose context goes with the message.
    #[must_use]
    pub fn with_traces(mut self, traces: Option<Traces>) -> Self {
        self.traces = traces;
        self
    }

    /// Counts in these metrics from now on.
    #[must_use]
    pub fn observed(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = OptionalMetrics(Some(metrics));
        self
    }

    /// Sends the messages that are given up there, too.
    #[must_use]
    pub fn rejecting(mut self, rejects: Option<Sender<Arc<Outgoing>>>) -> Self {
        self.rejects = rejects;
        self
    }

    /// Sends all messages and returns the summary. It ends when the result of each is
    /// certain: no message is lost without being counted as failed.
    ///
    /// The iterator runs on a thread of its own and may block.
    pub async fn send_all<I>(&mut self, messages: I) -> Summary
    where
        I: IntoIterator<Item = Outgoing>,
        I::IntoIter: Send + 'static,
    {
        self.send_until(messages, pending(), |_| {}).await
    }

    /// Like [`Publisher::send_all`], but stops early: when `shutdown` is ready no more messages
    /// are taken, and those on their way have five seconds. Tells about progress ten times a
    /// second.
    pub async fn send_until<I>(
        &mut self,
        messages: I,
        shutdown: impl Future<Output = ()>,
        progress: impl FnMut(&Summary),
    ) -> Summary
    where
        I: IntoIterator<Item = Outgoing>,
        I::IntoIter: Send + 'static,
    {
        let source = feed(messages.into_iter(), self.settings.window);
        let metrics = self.metrics.clone();
        let run = Run::new(
            &self.url,
            &self.settings,
            self.traces.as_ref(),
            source,
            metrics,
            self.rejects.clone(),
        );
        let (summary, link) = run.finish(self.link.take(), shutdown, progress).await;
        self.link = link;
        summary
    }

    /// Closes the connection.
    pub async fn close(self) {
        if let Some(link) = self.link {
            link.close().await;
        }
    }
}
