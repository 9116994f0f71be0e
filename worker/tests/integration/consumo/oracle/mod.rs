//! Expected readings, days and anomalies, computed by plain loops over the messages that were sent. It is one half of
//! a comparison: nothing of it is taken from the SQL.

mod day;
mod seasonal;

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Timelike as _, Utc};
use serde_json::Value;
use uuid::Uuid;

use self::day::{night, peak};
use self::seasonal::{base, seasonal, week_of};
use super::Sent;

/// The autumn of 2024 by the clocks of Spain: an hour less from the last Sunday of October, 01:00 UTC.
const WINTER: &str = "2024-10-27T01:00:00Z";

#[derive(Debug, Clone, Default)]
struct Reading {
    hora: i64,
    wh: i64,
    suspicious: bool,
    expected: bool,
}

/// A day of a client; hours by their place from its beginning.
#[derive(Debug, Clone)]
struct Day {
    begin: DateTime<Utc>,
    length: i64,
    /// Place, hour on the clock, reading.
    hours: Vec<(usize, usize, Reading)>,
}

/// The newest version of everything that was said.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    readings: BTreeMap<String, BTreeMap<DateTime<Utc>, Reading>>,
    /// Hours ahead of UTC in winter.
    zones: BTreeMap<String, i64>,
}

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

impl Oracle {
    pub(super) fn of(messages: &[Sent]) -> Self {
        // The newest last.
        let mut told: Vec<(DateTime<Utc>, Uuid, &Sent, Value)> = messages
            .iter()
            .map(|sent| {
                let body: Value = serde_json::from_slice(&sent.body).unwrap();
                (instant(&body["ts"]), sent.id, sent, body)
            })
            .collect();
        told.sort_by_key(|(at, id, ..)| (*at, *id));
        let mut oracle = Self::default();
        for (_, _, sent, body) in told {
            let client = body["propietario_id"].as_str().unwrap().to_owned();
            if sent.entity == "cliente" {
                let zone = match body["zona"].as_str() {
                    None | Some("Europe/Madrid") => 1,
                    Some("Atlantic/Canary") => 0,
                    Some(other) => panic!("a zone that the oracle does not know: {other}"),
                };
                oracle.zones.insert(client, zone);
                continue;
            }
            let at = instant(&body["timestamp"]);
            let kind = body["tipo_anomalia"].as_str();
            let reading = Reading {
                hora: body["hora"].as_i64().unwrap(),
                wh: (body["consumo_kwh"].as_f64().unwrap() * 1000.0).round() as i64,
                suspicious: body["es_sospechoso"].as_bool().unwrap_or(false),
                expected: body["anomalia_esperada"]
                    .as_bool()
                    .unwrap_or(kind.is_some()),
            };
            let hour = at.with_minute(0).unwrap().with_second(0).unwrap();
            let readings = oracle.readings.entry(client).or_default();
            readings.insert(hour, reading);
        }
        oracle
    }

    fn ahead(&self, client: &str, at: DateTime<Utc>) -> TimeDelta {
        let winter: DateTime<Utc> = WINTER.parse().unwrap();
        let zone = self.zones.get(client).copied().unwrap_or(1);
        TimeDelta::hours(zone + i64::from(at < winter))
    }

    fn midnight(&self, client: &str, date: NaiveDate) -> DateTime<Utc> {
        let utc = date.and_time(chrono::NaiveTime::MIN).and_utc();
        // Clocks are changed hours after midnight.
        utc - self.ahead(client, utc - TimeDelta::hours(1))
    }

    fn days_of(&self, client: &str) -> BTreeMap<NaiveDate, Day> {
        let mut days = BTreeMap::new();
        for (at, reading) in &self.readings[client] {
            let local = *at + self.ahead(client, *at);
            let date = local.date_naive();
            let begin = self.midnight(client, date);
            let day = days.entry(date).or_insert_with(|| Day {
                begin,
                length: (self.midnight(client, date + Days::new(1)) - begin).num_hours(),
                hours: Vec::new(),
            });
            let place = usize::try_from((*at - begin).num_hours()).unwrap();
            day.hours
                .push((place, local.hour() as usize, reading.clone()));
        }
        days
    }

    /// Readings and watt-hours of each client and day.
    pub(super) fn sums(&self) -> BTreeMap<(String, NaiveDate), (i64, i64)> {
        let of_client = |client: &String| {
            let days = self.days_of(client).into_iter();
            let client = client.clone();
            days.map(move |(date, day)| ((client.clone(), date), (day.n(), day.sum(|_| true))))
                .collect::<Vec<_>>()
        };
        self.readings.keys().flat_map(of_client).collect()
    }

    /// The days as `consumo.dias` has them, in words.
    pub(super) fn days(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for client in self.readings.keys() {
            for (date, day) in self.days_of(client) {
                let count = |what: &dyn Fn(&usize, &Reading) -> bool| {
                    day.hours.iter().filter(|(_, h, r)| what(h, r)).count()
                };
                let values = day.hours.iter().map(|(.., r)| r.wh);
                let (least, most) = (values.clone().min().unwrap(), values.max().unwrap());
                let places: Vec<_> = (0..25)
                    .map(|place| {
                        let hour = day.hours.iter().find(|hour| hour.0 == place);
                        hour.map_or("NULL".to_owned(), |(.., r)| r.wh.to_string())
                    })
                    .collect();
                rows.push(format!(
                    "{client} {date} {} {{{}}} {} {} {least} {most} {} {} {} {} {} {} {}",
                    day.length,
                    places.join(","),
                    day.hours.len(),
                    day.sum(|_| true),
                    count(&|h, _| night(*h)),
                    day.sum(night),
                    count(&|h, _| peak(*h)),
                    day.sum(peak),
                    count(&|_, r| r.expected),
                    count(&|_, r| r.suspicious),
                    count(&|h, r| usize::try_from(r.hora).unwrap() != *h),
                ));
            }
        }
        rows.sort();
        rows
    }

    /// The anomalies as `consumo.anomalias` has them, in words.
    pub(super) fn anomalies(&self) -> Vec<String> {
        let mut found = Vec::new();
        for client in self.readings.keys() {
            let days = self.days_of(client);
            self.original(client, &days, &mut found);
            let mut bases = BTreeMap::new();
            for date in days.keys() {
                let week = week_of(client, *date);
                let base = bases.entry(week).or_insert_with(|| base(week, &days));
                if base.days >= 7 {
                    seasonal(client, *date, &days, base, &mut found);
                }
            }
        }
        found.sort();
        found
    }

    /// The 24 last records, the judged one among them.
    fn original(&self, client: &str, days: &BTreeMap<NaiveDate, Day>, found: &mut Vec<String>) {
        let records: Vec<_> = self.readings[client].iter().collect();
        for (last, (at, reading)) in records.iter().enumerate() {
            let window = &records[(last + 1).saturating_sub(24)..=last];
            let values = || window.iter().map(|(_, reading)| reading.wh as f64);
            let n = window.len() as f64;
            let mean = values().sum::<f64>() / n;
            let square = values().map(|v| v * v).sum::<f64>() / n - mean * mean;
            let deviation = square.max(0.0).sqrt();
            let v = reading.wh as f64;
            if mean <= 0.0 || v <= mean {
                continue;
            }
            let rules = [
                (
                    "pico_anomalo",
                    4_u32,
                    (v - mean) / (deviation + 0.001) > 3.0,
                ),
                ("consumo_elevado", 3, (v - mean) / mean * 100.0 > 150.0),
                (
                    "consumo_noche_anomalo",
                    3,
                    night(usize::try_from(reading.hora).unwrap()) && v > 2.0 * mean,
                ),
            ];
            let hold = || rules.iter().filter(|(.., holds)| *holds);
            let score: u32 = hold().map(|(_, tenths, _)| tenths).sum();
            if score == 0 {
                continue;
            }
            let names: Vec<_> = hold().map(|(name, ..)| *name).collect();
            let date = (**at + self.ahead(client, **at)).date_naive();
            assert!(days.contains_key(&date));
            found.push(anomaly(
                (client, "original", **at, "hora", date),
                Some(usize::try_from(reading.hora).unwrap()),
                reading.wh,
                &names,
                f64::from(score) / 10.0,
                reading.suspicious,
            ));
        }
    }
}

fn anomaly(
    (client, mode, at, scope, date): (&str, &str, DateTime<Utc>, &str, NaiveDate),
    hour: Option<usize>,
    wh: i64,
    kinds: &[&str],
    score: f64,
    suspicious: bool,
) -> String {
    let severity = match (score * 100.0).round() as i64 {
        71.. => "crítica",
        51.. => "alta",
        _ => "media",
    };
    let hour = hour.map_or("-".to_owned(), |hour| hour.to_string());
    format!(
        "{client} {mode} {} {scope} {date} {hour} {wh} {} {score:.2} {severity} {suspicious}",
        at.format("%F %T+00"),
        kinds.join(",")
    )
}
