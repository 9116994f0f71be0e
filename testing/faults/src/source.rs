//! The messages of the load, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use acequia_contracts::fixtures;
use acequia_publisher::{Ids, Outgoing, Route, messages};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use uuid::{Builder, Uuid};

use crate::kinds::{DOMAIN, KINDS, OTHER, Row, kind};
use crate::load::{Flow, Shared, lock};
use crate::oracle::{Sent, Verdict};

/// Messages in a thousand that break their contract.
const BAD: u32 = 30;

/// The endless stream of messages: a generated school and the meters of two homes, by turns, repeated again
/// and again with new ids, later event times and other values.
pub(crate) struct Source {
    shared: Arc<Shared>,
    rng: ChaCha8Rng,
    /// Of each domain.
    worlds: [Vec<Outgoing>; 2],
    bad: Vec<(Arc<Route>, &'static [u8])>,
    recent: VecDeque<Outgoing>,
    gap: Duration,
    due: Instant,
    copies: u32,
    told: usize,
}

impl Source {
    pub(crate) fn new(flow: Flow, shared: Arc<Shared>) -> anyhow::Result<Self> {
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
        // Days enough for anomalies of both ways of judging.
        let options = [
            "--seed",
            &seed,
            "--clients",
            "2",
            "--days",
            "16",
            "--suspicious",
            "100",
            "--shuffle",
        ];
        let homes = messages(OTHER, &options, Ids::Fresh)?;
        let bad = KINDS
            .iter()
            .filter_map(|kind| Some((kind, Arc::new(Route::topic(kind.domain, Some(kind.name))?))))
            .flat_map(|(kind, route)| {
                let samples = fixtures::invalid(kind.domain, kind.name).into_iter();
                samples.map(move |sample| (route.clone(), sample.body))
            })
            .collect();
        Ok(Self {
            shared,
            rng: ChaCha8Rng::seed_from_u64(flow.seed),
            worlds: [school, homes],
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
                line: None,
                route: route.clone(),
                id: Some(id),
                body: body.to_vec(),
            };
            return Some((outgoing, Verdict::Bad));
        }
        let world = &self.worlds[self.told % self.worlds.len()];
        let turn = self.told / self.worlds.len();
        let (place, round) = (turn % world.len(), turn / world.len());
        self.told += 1;
        let mut outgoing = world[place].clone();
        outgoing.id = Some(id);
        if round > 0 {
            outgoing.body = later(&outgoing.body, place, round)?;
        }
        let entity = outgoing.route.routing_key().rsplit('.').next()?;
        let row = Row::of_body(kind(entity)?, &outgoing.body)?;
        Some((outgoing, Verdict::Good(row)))
    }
}

/// The same message in a later round.
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
    if let Some(kwh) = body.get("consumo_kwh").and_then(Value::as_f64) {
        let watt_hours = (kwh * 1000.0) as usize + (place * 7 + round * 13) % 500;
        body["consumo_kwh"] = (watt_hours as f64 / 1000.0).into();
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
