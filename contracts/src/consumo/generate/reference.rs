//! The reference system's distribution: three levels by the hour, and among the suspicious each hour
//! by itself an anomaly or none.

use super::household::is_night;
use super::{Hour, Truth};
use crate::generate::SeededRng;

/// The hours of a day, by the hours of the clock.
pub(super) fn day(suspicious: bool, hours: &[u32], rng: &mut SeededRng) -> Vec<Hour> {
    hours
        .iter()
        .map(|&hour| {
            let base: i64 = match hour {
                _ if is_night(hour) => 100,
                18..=22 => 2000,
                _ => 500,
            };
            let wh = base * (1000 + i64::from(rng.bell(200))).max(100) / 1000;
            let draw = rng.below(1000);
            let times = i64::from(rng.below(1000));
            match draw {
                _ if !suspicious => Hour::usual(wh),
                0..300 if is_night(hour) => Hour {
                    wh: wh * (5000 + times * 10) / 1000,
                    truth: Truth::Plantacion,
                },
                0..500 => Hour {
                    wh: wh * (3000 + times * 5) / 1000,
                    truth: Truth::Pico,
                },
                500..650 => Hour {
                    wh: 1600,
                    truth: Truth::Constante,
                },
                _ => Hour::usual(wh),
            }
        })
        .collect()
}
