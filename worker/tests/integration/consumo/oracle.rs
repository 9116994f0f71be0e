//! What readings, days and anomalies must be, told by plain loops over the messages that were sent. It is one half of
//! a comparison: nothing of it is taken from the SQL.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta, Timelike as _, Utc};
use serde_json::Value;
use uuid::Uuid;

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

/// The usual values of a client.
#[derive(Debug, Default)]
struct Base {
    days: usize,
    medians: BTreeMap<usize, i64>,
    spreads: BTreeMap<usize, i64>,
    high: i64,
    night: Option<i64>,
    night_spread: Option<i64>,
    total: Option<i64>,
    variation: Option<f32>,
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

impl Day {
    fn sum(&self, of: impl Fn(usize) -> bool) -> i64 {
        let hours = self.hours.iter().filter(|(_, hour, _)| of(*hour));
        hours.map(|(.., reading)| reading.wh).sum()
    }

    fn n(&self) -> i64 {
        i64::try_from(self.hours.len()).unwrap()
    }

    fn nights(&self) -> i64 {
        i64::try_from(self.hours.iter().filter(|(_, h, _)| night(*h)).count()).unwrap()
    }

    /// Mean hour of the night, if there is enough of it.
    fn night(&self) -> Option<i64> {
        (self.nights() >= 5).then(|| self.sum(night) / self.nights())
    }

    /// Mean hour, if there is enough of the day.
    fn mean(&self) -> Option<i64> {
        (self.n() >= 20).then(|| self.sum(|_| true) / self.n())
    }

    fn variation(&self) -> f64 {
        let n = self.n() as f64;
        let mean = self.sum(|_| true) as f64 / n;
        let squares: f64 = self.hours.iter().map(|(.., r)| (r.wh as f64).powi(2)).sum();
        (squares / n - mean * mean).max(0.0).sqrt() / mean.max(1.0)
    }
}

const fn night(hour: usize) -> bool {
    hour < 6 || hour == 23
}

fn peak(hour: usize) -> bool {
    (18..=22).contains(&hour)
}

/// The least value that a share of all does not exceed.
fn quantile<T: Copy + PartialOrd>(values: impl IntoIterator<Item = T>, share: f64) -> Option<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    let place = ((share * values.len() as f64).ceil() as usize).saturating_sub(1);
    values.get(place).copied()
}

/// 1.4826 times, in whole watt-hours.
fn spread(deviation: i64) -> i64 {
    (deviation * 14_826 + 5000) / 10_000
}

/// First day of the client's own week that a day is in.
fn week_of(client: &str, date: NaiveDate) -> NaiveDate {
    let number: i64 = client[client.len() - 3..].parse().unwrap();
    let since = (date - NaiveDate::from_ymd_opt(1990, 1, 1).unwrap()).num_days();
    date - TimeDelta::days((since + number) % 7)
}

/// What six weeks before a day tell, without the days on which clocks are changed.
fn base(from: NaiveDate, days: &BTreeMap<NaiveDate, Day>) -> Base {
    let before: Vec<_> = days
        .range(from - TimeDelta::days(42)..from)
        .filter(|(_, day)| day.length == 24)
        .collect();
    if before.len() < 7 {
        return Base::default();
    }
    let count = before.len();
    let hours = || {
        before.iter().flat_map(move |(date, day)| {
            let hours = day.hours.iter();
            hours.map(move |(_, h, reading)| (slot(count, **date, *h), *h, reading.wh))
        })
    };
    let mut by_slot: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    hours().for_each(|(slot, _, wh)| by_slot.entry(slot).or_default().push(wh));
    let medians: BTreeMap<usize, i64> = by_slot
        .into_iter()
        .map(|(slot, values)| (slot, quantile(values, 0.5).unwrap()))
        .collect();
    let mut by_hour: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for (slot, h, wh) in hours() {
        let deviation = (wh - medians[&slot]).abs();
        by_hour.entry(h).or_default().push(deviation);
    }
    let days = || before.iter().map(|(_, day)| day);
    let night = quantile(days().filter_map(|day| day.night()), 0.5);
    Base {
        days: count,
        spreads: by_hour
            .into_iter()
            .map(|(h, values)| (h, spread(quantile(values, 0.5).unwrap())))
            .collect(),
        high: quantile(hours().map(|(.., wh)| wh), 0.98).unwrap(),
        night,
        night_spread: night.and_then(|night| {
            let off = days()
                .filter_map(|day| day.night())
                .map(|one| (one - night).abs());
            quantile(off, 0.5).map(spread)
        }),
        total: quantile(days().filter_map(|day| day.mean()), 0.5),
        variation: quantile(
            days()
                .filter(|day| day.n() >= 20)
                .map(|day| day.variation()),
            0.5,
        )
        .map(|variation| variation as f32),
        medians,
    }
}

/// From three weeks on, each hour of the week is by itself.
fn slot(days: usize, date: NaiveDate, hour: usize) -> usize {
    let weekday = date.weekday().num_days_from_monday() as usize;
    if days >= 21 {
        weekday * 24 + hour
    } else {
        hour
    }
}

fn seasonal(
    client: &str,
    date: NaiveDate,
    days: &BTreeMap<NaiveDate, Day>,
    base: &Base,
    found: &mut Vec<String>,
) {
    let day = &days[&date];
    let median = |hour: usize| base.medians.get(&slot(base.days, date, hour)).copied();
    for (place, hour, reading) in &day.hours {
        let Some(median) = median(*hour) else {
            continue;
        };
        let spread = base.spreads[hour].max(median / 10).max(20);
        let limit = 2.5 * base.high as f64;
        if reading.wh as f64 > limit
            && reading.wh > median + 8 * spread
            && reading.wh > median + 500
        {
            let at = day.begin + TimeDelta::hours(i64::try_from(*place).unwrap());
            found.push(anomaly(
                (client, "estacional", at, "hora", date),
                Some(*hour),
                reading.wh,
                &["pico_anomalo"],
                scored(reading.wh as f64 / limit),
                reading.suspicious,
            ));
        }
    }

    let near = |days_back: i64| days.get(&(date - TimeDelta::days(days_back)));
    let all =
        |of: i64, holds: &dyn Fn(&Day) -> bool| (0..of).all(|back| near(back).is_some_and(holds));
    let night_limit = base.night.map(|night| {
        let spread = base.night_spread.unwrap_or(0);
        night + (4 * spread).max(night * 6 / 10).max(150)
    });
    let planted = night_limit
        .is_some_and(|limit| all(3, &|day| day.night().is_some_and(|night| night > limit)));
    let varies = base
        .variation
        .is_some_and(|variation| f64::from(variation) > 0.15);
    let constant = varies
        && all(2, &|day| {
            day.mean().is_some_and(|mean| mean >= 30) && day.variation() < 0.06
        });
    let low = base
        .total
        .is_some_and(|total| all(3, &|day| day.mean().is_some_and(|mean| mean < total / 2)));
    let dropped = low && !constant && shape(day, median) > 0.5;

    let mean = day.sum(|_| true) as f64 / day.n() as f64;
    let rules = [
        ("plantacion_cannabis", planted, {
            let night = day.night().unwrap_or(0) as f64;
            night / night_limit.unwrap_or(1) as f64
        }),
        (
            "consumo_constante_anomalo",
            constant,
            0.06 / day.variation().max(0.01),
        ),
        ("consumo_caida_anomalo", dropped, {
            let total = base.total.unwrap_or(0) as f64;
            total / 2.0 / mean.floor().max(1.0)
        }),
    ];
    let hold = || rules.iter().filter(|(_, holds, _)| *holds);
    let names: Vec<_> = hold().map(|(name, ..)| *name).collect();
    if let Some(times) = quantile(hold().map(|(.., times)| *times), 1.0) {
        found.push(anomaly(
            (client, "estacional", day.begin, "dia", date),
            None,
            day.sum(|_| true),
            &names,
            scored(times),
            day.hours.iter().any(|(.., reading)| reading.suspicious),
        ));
    }
}

/// How much the day is like the usual one, by Pearson.
fn shape(day: &Day, median: impl Fn(usize) -> Option<i64>) -> f64 {
    let pairs: Vec<(f64, f64)> = day
        .hours
        .iter()
        .filter_map(|(_, hour, reading)| Some((reading.wh as f64, median(*hour)? as f64)))
        .collect();
    let n = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        pairs
            .iter()
            .map(|pair| of(pair.0 - x, pair.1 - y))
            .sum::<f64>()
    };
    let r = sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    (r * 10_000.0).round() / 10_000.0
}

/// 0.4 at the limit of a rule, 0.7 at twice the limit.
fn scored(times: f64) -> f64 {
    let score = ((1.0 - 0.6 / times) * 100.0).round() / 100.0;
    score.clamp(0.4, 1.0)
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
