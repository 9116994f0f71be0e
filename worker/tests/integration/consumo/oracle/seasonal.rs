//! The seasonal rules: a client's usual days, and the unusual ones.

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate, TimeDelta};

use super::{Day, anomaly};

/// The usual values of a client.
#[derive(Debug, Default)]
pub(super) struct Base {
    pub(super) days: usize,
    medians: BTreeMap<usize, i64>,
    spreads: BTreeMap<usize, i64>,
    high: i64,
    night: Option<i64>,
    night_spread: Option<i64>,
    total: Option<i64>,
    variation: Option<f32>,
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
pub(super) fn week_of(client: &str, date: NaiveDate) -> NaiveDate {
    let number: i64 = client[client.len() - 3..].parse().unwrap();
    let since = (date - NaiveDate::from_ymd_opt(1990, 1, 1).unwrap()).num_days();
    date - TimeDelta::days((since + number) % 7)
}

/// Baseline from the six weeks before a day, without the days on which clocks are changed.
pub(super) fn base(from: NaiveDate, days: &BTreeMap<NaiveDate, Day>) -> Base {
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

pub(super) fn seasonal(
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
