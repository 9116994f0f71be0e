//! The realistic profile: households and shops with their days and weeks, seasons, absences; and,
//! among the suspicious, anomalies. All in whole watt-hours.

use chrono::{Datelike as _, NaiveDate};

use super::{Hour, Truth};
use crate::generate::SeededRng;

/// How the use of a day is spread over its hours, in thousandths of the client's own scale: on
/// working days and at weekends.
#[rustfmt::skip]
const SHAPES: [([u16; 24], [u16; 24]); 5] = [
    // Flat of people who go out to work.
    ([60, 50, 40, 40, 40, 60, 220, 420, 300, 140, 120, 130, 180, 220, 200, 160, 180, 280, 480, 700, 860, 900, 640, 240],
     [140, 90, 60, 50, 40, 40, 60, 140, 300, 460, 520, 540, 600, 700, 620, 460, 400, 440, 560, 720, 840, 860, 700, 360]),
    // Family.
    ([80, 60, 50, 50, 60, 120, 460, 640, 420, 240, 220, 260, 460, 560, 420, 300, 380, 560, 760, 920, 1000, 900, 560, 220],
     [140, 90, 70, 60, 60, 80, 140, 320, 560, 700, 740, 780, 860, 900, 760, 560, 520, 600, 760, 900, 960, 900, 640, 300]),
    // Pensioners.
    ([50, 40, 40, 40, 50, 120, 320, 480, 540, 520, 500, 560, 720, 780, 560, 380, 360, 420, 520, 640, 660, 540, 260, 90],
     [50, 40, 40, 40, 50, 110, 300, 470, 540, 540, 520, 580, 760, 820, 580, 400, 380, 440, 540, 640, 660, 540, 260, 90]),
    // Work from home.
    ([70, 50, 50, 50, 50, 70, 240, 460, 620, 660, 640, 640, 760, 780, 640, 600, 600, 620, 700, 820, 880, 800, 480, 180],
     [120, 80, 60, 50, 50, 50, 90, 220, 420, 560, 580, 600, 660, 720, 600, 460, 440, 480, 580, 740, 820, 780, 560, 280]),
    // Shop.
    ([60, 60, 60, 60, 60, 70, 120, 360, 760, 980, 1000, 1000, 920, 700, 640, 760, 960, 1000, 1000, 900, 520, 180, 90, 70],
     [60, 60, 60, 60, 60, 70, 110, 240, 520, 700, 720, 700, 520, 240, 120, 110, 110, 110, 110, 110, 100, 90, 80, 70]),
];

/// Factor of the middle of each month, in thousandths: heating in winter, a little cooling in summer.
const SEASON: [i64; 12] = [
    1180, 1150, 1070, 990, 940, 960, 1040, 1050, 970, 960, 1050, 1150,
];

/// Days of which a suspicious client is as everybody else, so that there is something to compare
/// with; in shorter periods, the first half.
const CALM_DAYS: u32 = 21;

/// A client for the whole period.
#[derive(Debug)]
pub(super) struct Household {
    shape: usize,
    /// Standby load.
    idle: i64,
    /// Use on top of it in a full hour.
    scale: i64,
    /// First day and length of an absence.
    away: Option<(u32, u32)>,
    /// The anomaly, its first day, and its strength.
    secret: Option<(Truth, u32, i64)>,
}

impl Household {
    /// The client of a number; `suspicious` is its number among the suspicious ones.
    pub(super) fn new(suspicious: Option<u32>, days: u32, rng: &mut SeededRng) -> Self {
        let shape = rng.pick(&[0, 0, 1, 1, 2, 3, 4]);
        let idle = 60 + i64::from(rng.below(120));
        let scale = 350 + i64::from(rng.below(650));
        let away = rng.percent(35).then(|| (rng.below(days), 4 + rng.below(9)));
        let calm = if days > CALM_DAYS + 10 {
            CALM_DAYS
        } else {
            days / 2
        };
        let begin = calm + rng.below(days.saturating_sub(calm + 9));
        let secret = suspicious.map(|number| match number % 4 {
            0 => (Truth::Plantacion, begin, 1500 + i64::from(rng.below(2500))),
            1 => (Truth::Constante, begin, 300 + i64::from(rng.below(500))),
            2 => (Truth::Pico, begin, 4000 + i64::from(rng.below(4000))),
            _ => (Truth::Caida, begin, 150 + i64::from(rng.below(200))),
        });
        Self {
            shape,
            idle,
            scale,
            away: away.filter(|_| secret.is_none()),
            secret,
        }
    }

    /// Its hours on a day, by the hours of its clock.
    pub(super) fn day(
        &self,
        day: u32,
        date: NaiveDate,
        hours: &[u32],
        rng: &mut SeededRng,
    ) -> Vec<Hour> {
        let away = self
            .away
            .is_some_and(|(first, length)| (first..first + length).contains(&day));
        let weekend = date.weekday().num_days_from_monday() >= 5;
        let (working, free) = &SHAPES[self.shape];
        let shape = if weekend { free } else { working };
        let mood = 1000 + i64::from(rng.bell(60));
        let factor = season(date) * mood / 1000;
        let secret = self.secret.filter(|(_, begin, _)| day >= *begin);
        // Which hours of the day have a peak, if it has any.
        let peak = rng.percent(30).then(|| rng.below(24));
        let long = rng.percent(50);
        hours
            .iter()
            .map(|&hour| {
                let noise = 1000 + i64::from(rng.bell(150));
                let appliance = rng.percent(5) && (8..23).contains(&hour);
                let extra = 300 + i64::from(rng.below(600));
                let fridge = 1000 + i64::from(rng.bell(220));
                let wh = if away {
                    self.idle * 8 / 10 * fridge / 1000
                } else {
                    let used = self.scale * i64::from(shape[hour as usize % 24]) / 1000;
                    let appliance = if appliance { extra } else { 0 };
                    (self.idle + used * factor / 1000) * noise / 1000 + appliance
                };
                let (wh, truth) = match secret {
                    Some((Truth::Plantacion, _, load)) if is_night(hour) => (
                        wh + load * (1000 + (fridge - 1000) / 8) / 1000,
                        Truth::Plantacion,
                    ),
                    // A bridged meter turns at the same pace, without end.
                    Some((Truth::Constante, _, level)) => (
                        level * (1000 + (fridge - 1000) / 20) / 1000,
                        Truth::Constante,
                    ),
                    Some((Truth::Pico, _, load))
                        if peak.is_some_and(|peak| hour == peak || (long && hour == peak + 1)) =>
                    {
                        (wh + load * noise / 1000, Truth::Pico)
                    }
                    Some((Truth::Caida, _, share)) => (wh * share / 1000, Truth::Caida),
                    _ => (wh, Truth::Nothing),
                };
                Hour {
                    wh: wh.max(1),
                    truth,
                }
            })
            .collect()
    }
}

pub(super) fn is_night(hour: u32) -> bool {
    hour < 6 || hour == 23
}

/// Between the middles of the months in a straight line.
fn season(date: NaiveDate) -> i64 {
    let (month, day) = (date.month0() as usize, i64::from(date.day()));
    let (from, to, way) = if day >= 15 {
        (month, (month + 1) % 12, day - 15)
    } else {
        ((month + 11) % 12, month, day + 15)
    };
    SEASON[from] + (SEASON[to] - SEASON[from]) * way / 31
}
