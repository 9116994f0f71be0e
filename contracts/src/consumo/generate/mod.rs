//! Synthetic readings, hour by hour over all clients, as meters would send them.

mod clock;
mod household;
mod reference;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{
    DateTime, Datelike as _, Days, NaiveDate, SecondsFormat, TimeDelta, Timelike as _, Utc,
};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, value_parser};

use self::clock::Clock;
use self::household::Household;
use crate::generate::{Generator, SeededRng, Synthetic};

/// The domain's source of synthetic messages.
#[derive(Debug)]
pub struct Consumo;

/// Hours that a continuous run makes at most: ten years.
const HOURS_AT_MOST: u32 = 10 * 366 * 24;

/// The anomaly that an hour holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Nothing,
    Plantacion,
    Pico,
    Constante,
    Caida,
}

impl Truth {
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Plantacion => Some("plantacion_cannabis"),
            Self::Pico => Some("pico_anomalo"),
            Self::Constante => Some("consumo_constante_anomalo"),
            Self::Caida => Some("consumo_caida_anomalo"),
        }
    }
}

/// Consumption and truth of an hour.
#[derive(Debug, Clone, Copy)]
struct Hour {
    wh: i64,
    truth: Truth,
}

impl Hour {
    const fn usual(wh: i64) -> Self {
        Self {
            wh,
            truth: Truth::Nothing,
        }
    }
}

impl Generator for Consumo {
    fn options(&self, command: Command) -> Command {
        command
            .arg(number("clients", "50", 1..=1_000_000, "Clients"))
            .arg(number("days", "1", 1..=3660, "Days, by the clients' clocks"))
            .arg(
                Arg::new("suspicious")
                    .long("suspicious")
                    .value_name("PCT")
                    .default_value("10")
                    .value_parser(percent)
                    .help("Percent of the clients of whom there is something to be found; at least one unless 0"),
            )
            .arg(
                Arg::new("profile")
                    .long("profile")
                    .default_value("realistic")
                    .value_parser(PossibleValuesParser::new(["realistic", "reference"]))
                    .help("Households with days, weeks and seasons, or the reference system's three levels"),
            )
            .arg(
                Arg::new("start")
                    .long("start")
                    .value_name("DATE")
                    .value_parser(first_day)
                    .help("First day, as 2024-09-02 or 45d for 45 days ago; by default 2024-09-02, or so that continuous hours begin today"),
            )
            .arg(
                Arg::new("mode")
                    .long("mode")
                    .default_value("once")
                    .value_parser(PossibleValuesParser::new(["once", "continuous"]))
                    .help("Stop after the days, or go on with an hour of all clients every interval"),
            )
            .arg(number(
                "interval",
                "60",
                1..=1440,
                "Minutes between two hours of a continuous run; with less than 60 start in the past",
            ))
    }

    fn generate(
        &self,
        options: &ArgMatches,
        seed: u64,
    ) -> Result<Box<dyn Iterator<Item = Synthetic> + Send>, clap::Error> {
        let count = |name: &str| options.get_one::<u32>(name).copied().unwrap_or_default();
        let is = |name: &str, value: &str| {
            options
                .get_one::<String>(name)
                .is_some_and(|text| text == value)
        };
        let (clients, days) = (count("clients"), count("days"));
        let share = options
            .get_one::<f64>("suspicious")
            .copied()
            .unwrap_or_default();
        let continuous = is("mode", "continuous");
        let start = options.get_one::<NaiveDate>("start").copied();
        let start = start.unwrap_or_else(|| {
            if continuous {
                Utc::now().date_naive() - Days::new(days.into())
            } else {
                NaiveDate::from_ymd_opt(2024, 9, 2).unwrap_or_default()
            }
        });
        Ok(Box::new(Readings::new(Plan {
            clients,
            suspicious: suspicious(clients, share),
            days,
            start,
            realistic: is("profile", "realistic"),
            pause: continuous.then(|| Duration::from_secs(u64::from(count("interval")) * 60)),
            seed,
        })))
    }
}

/// A date, or a number of days ago (`30d`).
fn first_day(text: &str) -> Result<NaiveDate, String> {
    let ago = text.strip_suffix('d').and_then(|days| days.parse().ok());
    match ago {
        Some(days) => Utc::now().date_naive().checked_sub_days(Days::new(days)),
        None => text.parse().ok(),
    }
    // Readings of other days would be refused.
    .filter(|day| (2000..2100).contains(&day.year()))
    .ok_or_else(|| {
        "must be a date from 2000-01-01 to 2099-12-31, as 2024-09-02, or days ago, as 45d"
            .to_owned()
    })
}

fn number(
    name: &'static str,
    default: &'static str,
    range: std::ops::RangeInclusive<i64>,
    what: &'static str,
) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .default_value(default)
        .value_parser(value_parser!(u32).range(range))
        .help(what)
}

/// A percentage, with or without its sign.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("must be a percentage from 0 to 100".to_owned()),
    }
}

/// How many of the clients, the last ones by their numbers.
fn suspicious(clients: u32, percent: f64) -> u32 {
    let share = (f64::from(clients) * percent / 100.0).round() as u32;
    if percent > 0.0 {
        share.clamp(1, clients)
    } else {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    clients: u32,
    suspicious: u32,
    days: u32,
    start: NaiveDate,
    realistic: bool,
    /// Between the hours after the days, in a run that goes on.
    pause: Option<Duration>,
    seed: u64,
}

/// A reading before it is a message.
struct Reading {
    at: DateTime<Utc>,
    client: u32,
    hour: Hour,
}

/// The clients, then their readings; a day of all of them at a time is in memory.
struct Readings {
    plan: Plan,
    households: Vec<Household>,
    clients: u32,
    day: u32,
    left: usize,
    ready: std::vec::IntoIter<Reading>,
    last: Option<DateTime<Utc>>,
}

impl Readings {
    fn new(plan: Plan) -> Self {
        let first = plan.clients - plan.suspicious;
        let households = (0..plan.clients)
            .map(|client| {
                let mut rng = SeededRng::new(plan.seed, u64::from(client) + 1);
                Household::new(client.checked_sub(first), plan.days, &mut rng)
            })
            .collect();
        let days = plan.start.iter_days().take(plan.days as usize);
        let per_clock = |clock: Clock| {
            days.clone()
                .map(move |day| clock.hours(day).count())
                .sum::<usize>()
        };
        let (madrid, canarias) = (per_clock(Clock::Madrid), per_clock(Clock::Canarias));
        let islanders = (0..plan.clients)
            .filter(|&client| clock_of(client) == Clock::Canarias)
            .count();
        let mainland = plan.clients as usize - islanders;
        let more = plan
            .pause
            .map_or(0, |_| plan.clients as usize * HOURS_AT_MOST as usize);
        Self {
            plan,
            households,
            clients: 0,
            day: 0,
            left: plan.clients as usize + mainland * madrid + islanders * canarias + more,
            ready: Vec::new().into_iter(),
            last: None,
        }
    }

    /// The readings of the next day, by time.
    fn day(&self) -> Vec<Reading> {
        let Plan {
            seed,
            start,
            clients,
            suspicious,
            ..
        } = self.plan;
        let date = start + Days::new(self.day.into());
        let mut readings = Vec::with_capacity(clients as usize * 25);
        for (client, household) in (0..).zip(&self.households) {
            let clock = clock_of(client);
            let instants: Vec<_> = clock.hours(date).collect();
            let hours: Vec<_> = instants.iter().map(|at| clock.shows(*at).hour()).collect();
            let mut rng = SeededRng::new(seed, (u64::from(self.day) + 1) << 32 | u64::from(client));
            let made = if self.plan.realistic {
                household.day(self.day, date, &hours, &mut rng)
            } else {
                reference::day(client >= clients - suspicious, &hours, &mut rng)
            };
            let made = instants.into_iter().zip(made);
            readings.extend(made.map(|(at, hour)| Reading { at, client, hour }));
        }
        readings.sort_by_key(|reading| (reading.at, reading.client));
        readings
    }

    fn reading(&self, Reading { at, client, hour }: &Reading) -> Synthetic {
        let local = clock_of(*client).shows(*at);
        let sent = *at + TimeDelta::seconds(3600 + i64::from(client % 120));
        let (code, h) = (client + 1, local.hour());
        let (kwh, wh) = (hour.wh / 1000, hour.wh % 1000);
        let timestamp = local.to_rfc3339_opts(SecondsFormat::Secs, false);
        let ts = sent.to_rfc3339_opts(SecondsFormat::Secs, true);
        let suspicious = *client >= self.plan.clients - self.plan.suspicious;
        let expected = hour.truth != Truth::Nothing;
        let truth = hour
            .truth
            .name()
            .map_or("null".to_owned(), |name| format!("\"{name}\""));
        message(
            "lectura",
            sent,
            format!(
                r#""propietario_id":"CLI_{code:05}","timestamp":"{timestamp}","hora":{h},"consumo_kwh":{kwh}.{wh:03},"es_sospechoso":{suspicious},"anomalia_esperada":{expected},"tipo_anomalia":{truth},"timestamp_procesado":"{ts}""#
            ),
            &ts,
        )
    }

    fn client(&self, client: u32) -> Synthetic {
        const NAMES: [&str; 12] = [
            "Ana", "Luis", "Carmen", "José", "Íñigo", "Lucía", "Pablo", "Marta", "Sergio", "Elena",
            "Hugo", "Noa",
        ];
        const SURNAMES: [&str; 12] = [
            "García", "Peña", "Núñez", "Vidal", "Ibáñez", "Soler", "Ramos", "Crespo", "Lara",
            "Ortiz", "Marín", "Vega",
        ];
        const DISTRICTS: [&str; 6] = ["Centro", "Norte", "Sur", "Este", "Oeste", "Puerto"];
        let mut rng = SeededRng::new(self.plan.seed, 1 << 31 | u64::from(client));
        let (name, first, second) = (rng.pick(&NAMES), rng.pick(&SURNAMES), rng.pick(&SURNAMES));
        let (district, code) = (rng.pick(&DISTRICTS), client + 1);
        let tariff = if rng.percent(90) { "2.0TD" } else { "3.0TD" };
        let zone = clock_of(client).name();
        let at = self.plan.start.and_time(chrono::NaiveTime::MIN).and_utc() - TimeDelta::days(30);
        let ts = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        message(
            "cliente",
            at,
            format!(
                r#""propietario_id":"CLI_{code:05}","nombre":"{name} {first} {second}","tarifa":"{tariff}","distrito":"{district}","zona":"{zone}""#
            ),
            &ts,
        )
    }
}

/// One client in twenty lives on the islands.
const fn clock_of(client: u32) -> Clock {
    if client % 20 == 19 {
        Clock::Canarias
    } else {
        Clock::Madrid
    }
}

impl Iterator for Readings {
    type Item = Synthetic;

    fn next(&mut self) -> Option<Synthetic> {
        self.left = self.left.checked_sub(1)?;
        if self.clients < self.plan.clients {
            self.clients += 1;
            return Some(self.client(self.clients - 1));
        }
        if self.ready.len() == 0 {
            self.ready = self.day().into_iter();
            self.day += 1;
        }
        let reading = self.ready.next()?;
        let begins = self
            .last
            .replace(reading.at)
            .is_some_and(|last| last < reading.at);
        if let Some(pause) = self
            .plan
            .pause
            .filter(|_| begins && self.day > self.plan.days)
        {
            // The publisher takes messages from a thread of their own.
            std::thread::sleep(pause);
        }
        Some(self.reading(&reading))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// A message with the given fields of its body.
fn message(entity: &'static str, at: DateTime<Utc>, fields: String, ts: &str) -> Synthetic {
    Synthetic {
        entity,
        at,
        body: format!(r#"{{"entity":"{entity}",{fields},"ts":"{ts}"}}"#).into_bytes(),
    }
}
