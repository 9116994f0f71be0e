//! A steady publisher whose messages are known one by one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acequia_publisher::{Outgoing, Publisher, Route, Settings, Summary};
use anyhow::Context;
use chrono::{SecondsFormat, Utc};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::kinds::{DOMAIN, Row, kind};
use crate::oracle::{Sent, Verdict};
use crate::source::Source;

/// Copies in a thousand messages.
const COPIES: u32 = 30;
/// Students that stand for a question to the platform: has it taken this one?
const FIRST_PROBE: u64 = 1_000_000;

/// State shared by the scenario and the thread that makes the messages.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sent: Mutex<Vec<Sent>>,
    pub(crate) urgent: Mutex<VecDeque<(Outgoing, Verdict)>>,
    pub(crate) ended: AtomicBool,
    pub(crate) paused: AtomicBool,
    pub(crate) copies: AtomicU64,
    confirmed: AtomicU64,
    progress: Mutex<String>,
    probes: AtomicU64,
}

/// A publisher at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    task: Option<JoinHandle<Summary>>,
}

/// The flow of messages.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Seed of the messages.
    pub seed: u64,
    /// Messages per second.
    pub rate: f64,
    /// Copies in a thousand.
    pub copies: u32,
}

impl Flow {
    /// The usual mix.
    #[must_use]
    pub const fn new(seed: u64, rate: f64) -> Self {
        Self {
            seed,
            rate,
            copies: COPIES,
        }
    }
}

impl Load {
    /// Begins to publish.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn start(url: &str, flow: Flow) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            sent: Mutex::default(),
            urgent: Mutex::default(),
            ended: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            copies: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            progress: Mutex::default(),
            probes: AtomicU64::new(FIRST_PROBE),
        });
        let source = Source::new(flow, shared.clone())?;
        let settings = Settings {
            // A queue that is not there yet is waited for.
            attempts: 1000,
            confirm_timeout: Duration::from_secs(20),
            retry_for: None,
            window: 500,
            ..Settings::default()
        };
        let mut publisher =
            Publisher::connect_with(acequia_publisher::broker_url(url)?, settings).await?;
        let state = shared.clone();
        let task = tokio::spawn(async move {
            let summary = publisher
                .send_until(source, std::future::pending(), |summary| {
                    state.confirmed.store(summary.confirmed, Ordering::Relaxed);
                    *lock(&state.progress) = summary.to_string();
                })
                .await;
            publisher.close().await;
            summary
        });
        Ok(Self {
            shared,
            task: Some(task),
        })
    }

    /// Messages that the broker has confirmed.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.shared.confirmed.load(Ordering::Relaxed)
    }

    /// Different messages handed to the publisher.
    #[must_use]
    pub fn different(&self) -> usize {
        lock(&self.shared.sent).len()
    }

    /// Messages handed to the publisher, copies included.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let sent = lock(&self.shared.sent).len() as u64;
        sent + self.copies()
    }

    /// The publisher's own report of its progress.
    #[must_use]
    pub fn progress(&self) -> String {
        lock(&self.shared.progress).clone()
    }

    /// Copies sent on purpose.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.shared.copies.load(Ordering::Relaxed)
    }

    /// Sends no new messages, or goes on; probes are sent all the same.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    /// Puts a student that no other message refers to before everything that is not sent yet, and
    /// returns its number.
    ///
    /// # Errors
    /// None in practice: its route is well formed.
    pub fn probe(&self) -> anyhow::Result<i32> {
        let number = self.shared.probes.fetch_add(1, Ordering::Relaxed);
        let body = format!(
            r#"{{"entity":"alumno","id_alumno":{number},"nombre":"Probe","edad":20,"genero":"F","ts":"{}"}}"#,
            now()
        );
        self.send(body.into_bytes(), true)?;
        Ok(i32::try_from(number)?)
    }

    /// Sends a student's message of one's own; `good` says whether it ends in the core.
    ///
    /// # Errors
    /// When a good one cannot be read.
    pub fn send(&self, body: Vec<u8>, good: bool) -> anyhow::Result<Uuid> {
        let route = Route::topic(DOMAIN, Some("alumno")).context("a route")?;
        let verdict = if good {
            let kind = kind("alumno").context("the kind")?;
            Verdict::Good(Row::of_body(kind, &body).context("a student")?)
        } else {
            Verdict::Bad
        };
        let id = Uuid::now_v7();
        let outgoing = Outgoing {
            line: None,
            route: Arc::new(route),
            id: Some(id),
            body,
        };
        lock(&self.shared.urgent).push_back((outgoing, verdict));
        Ok(id)
    }

    /// Sends no more, waits until the broker has everything, and returns what was sent.
    ///
    /// # Errors
    /// When the publisher gave a message up.
    pub async fn finish(&mut self) -> anyhow::Result<(Vec<Sent>, u64, Summary)> {
        self.shared.ended.store(true, Ordering::Relaxed);
        let task = self.task.take().context("finished before")?;
        let summary = tokio::time::timeout(Duration::from_secs(180), task)
            .await
            .context("the publisher did not get rid of its messages in three minutes")??;
        anyhow::ensure!(summary.is_complete(), "the publisher gave up: {summary:?}");
        let sent = lock(&self.shared.sent).clone();
        let copies = self.copies();
        Ok((sent, copies, summary))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}
