//! Mode `original` against the reference system's detector, decision by decision. Each case is a client with
//! readings of consecutive hours; the expected verdict on its last one was worked out by hand from the reference's
//! rules: 24 last records with the judged one among them, population deviation,
//! z > 3 scores 0.4, 150 % above the mean 0.3, more than twice the mean at night (23 h to 5 h) 0.3.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Feed, Sent};
use crate::support::Platform;

/// The expected verdict on the last reading: rules, score, severity.
type Verdict = Option<(&'static str, &'static str, &'static str)>;

struct Case {
    name: &'static str,
    /// Watt-hours before the last reading, oldest first.
    before: Vec<i64>,
    last: i64,
    /// Hour of the last reading.
    hour: u32,
    expected: Verdict,
}

fn cases() -> Vec<Case> {
    let flat = |count: usize| vec![1000; count];
    let uneven = |count: usize| {
        [500, 1500]
            .into_iter()
            .cycle()
            .take(count)
            .collect::<Vec<_>>()
    };
    let case = |name, before, last, hour, expected| Case {
        name,
        before,
        last,
        hour,
        expected,
    };
    let (media, alta, critica) = ("media", "alta", "crítica");
    vec![
        case("the first record is its own mean", vec![], 5000, 12, None),
        case("no consumption at all", vec![0; 23], 0, 3, None),
        // z is at most the root of n - 1: with ten records exactly 3, which is not more than 3.
        case(
            "ten records: z stays at 3",
            flat(9),
            11_000,
            12,
            Some(("consumo_elevado", "0.30", media)),
        ),
        case(
            "eleven records: z is 3.16; 0.7 is not more than 0.7",
            flat(10),
            11_000,
            12,
            Some(("pico_anomalo,consumo_elevado", "0.70", alta)),
        ),
        case(
            "the same at night is critical",
            flat(10),
            11_000,
            23,
            Some((
                "pico_anomalo,consumo_elevado,consumo_noche_anomalo",
                "1.00",
                critica,
            )),
        ),
        case(
            "five o'clock is night",
            flat(10),
            11_000,
            5,
            Some((
                "pico_anomalo,consumo_elevado,consumo_noche_anomalo",
                "1.00",
                critica,
            )),
        ),
        case(
            "six o'clock is day",
            flat(10),
            11_000,
            6,
            Some(("pico_anomalo,consumo_elevado", "0.70", alta)),
        ),
        case(
            "ten at night clocks show 22, which is day",
            flat(10),
            11_000,
            22,
            Some(("pico_anomalo,consumo_elevado", "0.70", alta)),
        ),
        case(
            "midnight is night",
            flat(10),
            11_000,
            0,
            Some((
                "pico_anomalo,consumo_elevado,consumo_noche_anomalo",
                "1.00",
                critica,
            )),
        ),
        case(
            "two rules without the peak: 0.6 is alta",
            flat(9),
            11_000,
            3,
            Some(("consumo_elevado,consumo_noche_anomalo", "0.60", alta)),
        ),
        // Mean (9 + 3) / 10 = 1.2: 3 is 150 % above it.
        case("150 % is not above 150 %", flat(9), 3000, 12, None),
        case(
            "a watt-hour more is",
            flat(9),
            3001,
            12,
            Some(("consumo_elevado", "0.30", media)),
        ),
        // Mean (9 + 2.25) / 10 = 1.125.
        case("twice the mean is not above it", flat(9), 2250, 3, None),
        case(
            "a watt-hour more at night is",
            flat(9),
            2251,
            3,
            Some(("consumo_noche_anomalo", "0.30", media)),
        ),
        // Mean (23 + 2.2) / 24 = 1.05: 2.2 is above 2.1, 109 % above the mean, z 4.8.
        case(
            "a small step after a flat night",
            flat(23),
            2200,
            3,
            Some(("pico_anomalo,consumo_noche_anomalo", "0.70", alta)),
        ),
        // Mean (23 + 2.0) / 24 = 1.0417: 2.0 is below 2.083.
        case(
            "not twice the mean",
            flat(23),
            2000,
            3,
            Some(("pico_anomalo", "0.40", media)),
        ),
        // Deviation about 0.55: z 2.1.
        case(
            "an uneven night: no peak",
            uneven(23),
            2200,
            3,
            Some(("consumo_noche_anomalo", "0.30", media)),
        ),
        case("the same by day is nothing", uneven(23), 2200, 13, None),
        // Mean (23 * 1 + 2.6) / 24 is 1.0667: 144 % above.
        case(
            "144 % above the mean",
            flat(23),
            2600,
            13,
            Some(("pico_anomalo", "0.40", media)),
        ),
        // Mean 1.0717, 2.72: 153.8 %; a reading 24 records ago does not count any more.
        case(
            "a record that is 25 records old is forgotten",
            [vec![100_000], flat(23)].concat(),
            2720,
            13,
            Some(("pico_anomalo,consumo_elevado", "0.70", alta)),
        ),
        case(
            "a record that is 24 records old is not",
            [vec![100_000], flat(22)].concat(),
            2720,
            13,
            None,
        ),
        // The reference's own evening: 2.0 kWh after a day of 0.5 and a night of 0.1.
        case(
            "every evening is suspicious",
            [vec![100; 6], vec![500; 12]].concat(),
            2000,
            18,
            Some(("pico_anomalo,consumo_elevado", "0.70", alta)),
        ),
        case("a drop is nothing", flat(23), 0, 3, None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_references_decisions_are_reproduced() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let cases = cases();
    let mut readings = Vec::new();
    let start: DateTime<Utc> = "2024-02-01T00:00:00Z".parse().unwrap();
    for (number, case) in cases.iter().enumerate() {
        let client = format!("CLI_{number:05}");
        let count = i64::try_from(case.before.len()).unwrap();
        // Ends at the wanted hour of Madrid's winter clock; with a gap of two days in front of the newest ten:
        // records are counted, not hours.
        let end = start + TimeDelta::days(10) + TimeDelta::hours(i64::from(case.hour) - 1);
        for (place, wh) in (0..).zip(case.before.iter().chain([&case.last])) {
            let back = count - place;
            let gap = if back > 10 { 48 } else { 0 };
            let at = end - TimeDelta::hours(back + gap);
            let hour = u32::try_from((i64::from(case.hour) - back).rem_euclid(24)).unwrap();
            readings.push(Sent::reading(
                &client,
                &at.to_rfc3339(),
                hour,
                *wh,
                "2024-03-01T00:00:00Z",
            ));
        }
    }
    feed.send(&readings).await;
    for (number, case) in cases.iter().enumerate() {
        let found = platform
            .texts(&format!(
                "select concat_ws(' ', array_to_string(a.tipos, ','), a.score, a.severidad) from consumo.anomalias a
                 where a.modo = 'original' and a.propietario_id = 'CLI_{number:05}'
                   and a.instante = (select max(l.instante) from consumo.lecturas l where l.propietario_id = a.propietario_id)"
            ))
            .await;
        let expected = case
            .expected
            .map(|(rules, score, severity)| format!("{rules} {score} {severity}"));
        assert_eq!(found, Vec::from_iter(expected), "{}", case.name);
    }
}
