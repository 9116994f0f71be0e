//! A steady publisher whose messages are known one by one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use acequia_contracts::fixtures;
use acequia_publisher::{Ids, Outgoing, Publisher, Route, Settings, Summary, messages};
use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::{Builder, Uuid};

use crate::kinds::{DOMAIN, KINDS, Row, kind};
use crate::oracle::{Sent, Verdict};

/// In a thousand: messages that break their contract, and copies of earlier ones.
const BAD: u32 = 30;
const COPIES: u32 = 30;
/// Students that stand for a question to the platform: has it taken this one?
const FIRST_PROBE: u64 = 1_000_000;

/// What the thread that makes the messages shares with the scenario.
#[derive(Debug)]
struct Shared {
    sent: Mutex<Vec<Sent>>,
    urgent: Mutex<VecDeque<(Outgoing, Verdict)>>,
    ended: AtomicBool,
    paused: AtomicBool,
    copies: AtomicU64,
    confirmed: AtomicU64,
    probes: AtomicU64,
}

/// A publisher at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    task: Option<JoinHandle<Summary>>,
}

/// How messages flow.
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
        let mut publisher = Publisher::connect_with(acequia_publisher::broker_url(url)?, settings).await?;
        let state = shared.clone();
        let task = tokio::spawn(async move {
            let summary = publisher
                .send_until(source, std::future::pending(), |summary| {
                    state.confirmed.store(summary.confirmed, Ordering::Relaxed);
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

    /// Copies sent on purpose.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.shared.copies.load(Ordering::Relaxed)
    }

    /// Sends no new messages, or goes on; probes are sent all the same.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    /// Puts a student that nobody else speaks of before everything that is not sent yet, and
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The endless stream of messages: a generated school, told again and again with new ids, later
/// event times and other values.
struct Source {
    shared: Arc<Shared>,
    rng: ChaCha8Rng,
    school: Vec<Outgoing>,
    bad: Vec<(Arc<Route>, &'static [u8])>,
    recent: VecDeque<Outgoing>,
    gap: Duration,
    due: Instant,
    copies: u32,
    told: usize,
}

impl Source {
    fn new(flow: Flow, shared: Arc<Shared>) -> anyhow::Result<Self> {
        let seed = flow.seed.to_string();
        let options = [
            "--seed",
            &seed,
            "--maestros",
            "10",
            "--materias",
            "10",
            "--grupos",
            "40",
            "--alumnos",
            "300",
            "--inscripciones",
            "400",
            "--calificaciones",
            "900",
            "--shuffle",
        ];
        let school = messages(DOMAIN, &options, Ids::Fresh)?;
        let bad = KINDS
            .iter()
            .filter_map(|kind| Some((kind, Arc::new(Route::topic(DOMAIN, Some(kind.name))?))))
            .flat_map(|(kind, route)| {
                let samples = fixtures::invalid(DOMAIN, kind.name).into_iter();
                samples.map(move |sample| (route.clone(), sample.body))
            })
            .collect();
        Ok(Self {
            shared,
            rng: ChaCha8Rng::seed_from_u64(flow.seed),
            school,
            bad,
            recent: VecDeque::new(),
            gap: Duration::from_secs_f64(1.0 / flow.rate),
            due: Instant::now(),
            copies: flow.copies,
            told: 0,
        })
    }

    /// A UUIDv7 of now whose other bits follow from the seed.
    fn id(&mut self) -> Uuid {
        let mut bytes = [0; 10];
        self.rng.fill_bytes(&mut bytes);
        let millis = u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }

    fn make(&mut self) -> Option<(Outgoing, Verdict)> {
        let id = self.id();
        let chance = self.rng.random_range(0..1000);
        if chance < BAD && !self.bad.is_empty() {
            let (route, body) = &self.bad[self.rng.random_range(0..self.bad.len())];
            let outgoing = Outgoing {
                route: route.clone(),
                id: Some(id),
                body: body.to_vec(),
            };
            return Some((outgoing, Verdict::Bad));
        }
        let place = self.told % self.school.len();
        let round = self.told / self.school.len();
        self.told += 1;
        let mut outgoing = self.school[place].clone();
        outgoing.id = Some(id);
        if round > 0 {
            outgoing.body = later(&outgoing.body, place, round)?;
        }
        let entity = outgoing.route.routing_key().rsplit('.').next()?;
        let row = Row::of_body(kind(entity)?, &outgoing.body)?;
        Some((outgoing, Verdict::Good(row)))
    }
}

/// The same message as told in a later round.
fn later(body: &[u8], place: usize, round: usize) -> Option<Vec<u8>> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    let at: DateTime<Utc> = body["ts"].as_str()?.parse().ok()?;
    let at = at + TimeDelta::minutes(i64::try_from(round).ok()?);
    body["ts"] = at.to_rfc3339_opts(SecondsFormat::Millis, true).into();
    if body.get("edad").is_some() {
        body["edad"] = (18 + (place + round) % 40).into();
    }
    if body.get("calificacion").is_some() {
        let hundredths = (place * 7 + round * 13) % 1001;
        body["calificacion"] = (hundredths as f64 / 100.0).into();
    }
    serde_json::to_vec(&body).ok()
}

impl Iterator for Source {
    type Item = Outgoing;

    fn next(&mut self) -> Option<Outgoing> {
        loop {
            let urgent = lock(&self.shared.urgent).pop_front();
            let (outgoing, verdict) = match urgent {
                Some(urgent) => urgent,
                None if self.shared.ended.load(Ordering::Relaxed) => return None,
                None if self.shared.paused.load(Ordering::Relaxed) || self.due > Instant::now() => {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                }
                None => {
                    let late = Instant::now().checked_sub(Duration::from_millis(500))?;
                    self.due = self.due.max(late) + self.gap;
                    if self.rng.random_range(0..1000) < self.copies && !self.recent.is_empty() {
                        let copy = self.rng.random_range(0..self.recent.len());
                        self.shared.copies.fetch_add(1, Ordering::Relaxed);
                        return self.recent.get(copy).cloned();
                    }
                    self.make()?
                }
            };
            lock(&self.shared.sent).push(Sent {
                id: outgoing.id?,
                verdict,
            });
            self.recent.push_back(outgoing.clone());
            if self.recent.len() > 500 {
                self.recent.pop_front();
            }
            return Some(outgoing);
        }
    }
}
