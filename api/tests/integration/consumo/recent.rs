//! Routes about the last hours, with the reference system's own rules, for clients in several zones.

mod anomalies;

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_api::auth::Role;
use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Timelike as _, Utc};
use serde_json::{Value, json};

use self::anomalies::anomalies_are;
use super::{Sent, contract, send, wh};
use crate::support::Platform;

/// Clients with their zones; of the last one no contract comes, so its clock is that of Madrid.
const CLIENTS: [(&str, Option<&str>); 4] = [
    ("CLI_00001", Some("UTC")),
    ("CLI_00002", Some("America/Bogota")),
    ("CLI_00003", Some("Atlantic/Canary")),
    ("CLI_00004", None),
];
/// A client with a contract and no reading, and one that has been silent for days.
const SILENT: [&str; 2] = ["CLI_00005", "CLI_00006"];
const HOURS: i64 = 72;

/// Whether an instant is in the summer time of the European Union.
fn summer(at: DateTime<Utc>) -> bool {
    let change = |month| {
        let last = NaiveDate::from_ymd_opt(at.year(), month, 31).unwrap();
        let back = i64::from(last.weekday().num_days_from_sunday());
        (last - TimeDelta::days(back))
            .and_hms_opt(1, 0, 0)
            .unwrap()
            .and_utc()
    };
    change(3) <= at && at < change(10)
}

/// Hours that a client's clock is ahead of UTC.
fn ahead(client: &str, at: DateTime<Utc>) -> i64 {
    let zone = CLIENTS.iter().find(|(name, _)| *name == client);
    match zone.and_then(|(_, zone)| *zone) {
        Some("UTC") => 0,
        Some("America/Bogota") => -5,
        Some("Atlantic/Canary") => i64::from(summer(at)),
        _ => 1 + i64::from(summer(at)),
    }
}

#[derive(Debug, Clone)]
struct Hour {
    at: DateTime<Utc>,
    hora: i64,
    wh: i64,
    suspicious: bool,
    found: Option<Found>,
}

#[derive(Debug, Clone)]
struct Found {
    kinds: Vec<&'static str>,
    tenths: i64,
    severity: &'static str,
}

/// The rules of the reference system: the 24 last records, the judged one among them.
fn judge(window: &[Hour]) -> Option<Found> {
    let judged = window.last()?;
    let n = window.len() as f64;
    let kwh = |hour: &Hour| hour.wh as f64 / 1000.0;
    let mean = window.iter().map(kwh).sum::<f64>() / n;
    let variance = window
        .iter()
        .map(|hour| (kwh(hour) - mean).powi(2))
        .sum::<f64>()
        / n;
    let x = kwh(judged);
    let night = judged.hora < 6 || judged.hora == 23;
    let rules = [
        (
            "pico_anomalo",
            4,
            (x - mean) / (variance.sqrt() + 1e-6) > 3.0,
        ),
        ("consumo_elevado", 3, (x - mean) / mean * 100.0 > 150.0),
        ("consumo_noche_anomalo", 3, night && x > 2.0 * mean),
    ];
    let hold: Vec<_> = rules.into_iter().filter(|(.., holds)| *holds).collect();
    let tenths = hold.iter().map(|(_, tenths, _)| tenths).sum();
    let severity = match tenths {
        0 => return None,
        8.. => "crítica",
        6.. => "alta",
        _ => "media",
    };
    Some(Found {
        kinds: hold.into_iter().map(|(name, ..)| name).collect(),
        tenths,
        severity,
    })
}

/// Three days of each client, up to the present hour.
fn days(now: DateTime<Utc>) -> BTreeMap<&'static str, Vec<Hour>> {
    let mut days = BTreeMap::new();
    for (number, (client, _)) in (1..).zip(CLIENTS) {
        let mut hours: Vec<Hour> = Vec::new();
        for age in (0..HOURS).rev() {
            let at = now - TimeDelta::hours(age);
            let hora = i64::from((at + TimeDelta::hours(ahead(client, at))).hour());
            let usual = 300 + (age * 37 + number * 11) % 100;
            hours.push(Hour {
                at,
                hora,
                // Alone at night: critical. Alone by day: high. Three beside each other: medium.
                wh: match (number, hora) {
                    (1 | 2, 3) | (3, 12) | (4, 12..=14) => 6_000 + number,
                    _ => usual,
                },
                suspicious: number == 2,
                found: None,
            });
        }
        for last in 0..hours.len() {
            hours[last].found = judge(&hours[(last + 1).saturating_sub(24)..=last]);
        }
        days.insert(client, hours);
    }
    days
}

fn messages(days: &BTreeMap<&'static str, Vec<Hour>>, now: DateTime<Utc>) -> Vec<Sent> {
    let mut messages: Vec<_> = CLIENTS[..3]
        .iter()
        .map(|(client, zone)| contract(client, *zone))
        .collect();
    messages.push(contract(SILENT[0], None));
    let mut reading = |client: &str, hour: &Hour| {
        let kwh: serde_json::Number =
            serde_json::from_str(&format!("{}.{:03}", hour.wh / 1000, hour.wh % 1000)).unwrap();
        messages.push(Sent::new(
            "lectura",
            &json!({"propietario_id": client, "timestamp": hour.at, "hora": hour.hora, "consumo_kwh": kwh,
                "es_sospechoso": hour.suspicious, "ts": hour.at}),
        ));
    };
    for (client, hours) in days {
        hours.iter().for_each(|hour| reading(client, hour));
    }
    let mut old = days["CLI_00004"][0].clone();
    old.at = now - TimeDelta::days(5);
    reading(SILENT[1], &old);
    messages
}

fn this_hour() -> DateTime<Utc> {
    let now = Utc::now();
    now.date_naive()
        .and_hms_opt(now.hour(), 0, 0)
        .unwrap()
        .and_utc()
}

fn instant(value: &Value) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(value.as_str().unwrap())
        .unwrap()
        .to_utc()
}

/// Compares an hour of an answer with the expected one.
fn compare(said: &Value, client: &str, hour: &Hour) {
    let local = DateTime::parse_from_rfc3339(said["timestamp"].as_str().unwrap()).unwrap();
    assert_eq!(local.to_utc(), hour.at, "{said}");
    assert_eq!(
        i64::from(local.offset().local_minus_utc()),
        ahead(client, hour.at) * 3600,
        "{said}"
    );
    assert_eq!(
        (&said["propietario_id"], &said["hora"]),
        (&json!(client), &json!(hour.hora))
    );
    assert_eq!(wh(&said["consumo_kwh"]), hour.wh, "{said}");
    let (kinds, tenths, severity) = match &hour.found {
        Some(found) => (found.kinds.clone(), found.tenths, found.severity),
        None => (Vec::new(), 0, "normal"),
    };
    assert_eq!(
        said["anomalia_detectada"],
        json!(hour.found.is_some()),
        "{said} {hour:?}"
    );
    assert_eq!(
        (&said["tipos_anomalia"], &said["severidad"]),
        (&json!(kinds), &json!(severity)),
        "{said}"
    );
    assert_eq!(
        (said["score_anomalia"].as_f64().unwrap() * 10.0).round() as i64,
        tenths,
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_hours_are_what_the_messages_say() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    // Several of these answers are about the last hours of their call: they are of one hour.
    while Utc::now().minute() == 59 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Readings up to the next hour too, should one begin while the test runs.
    let first = this_hour();
    let days = days(first);
    send(&platform, &messages(&days, first)).await;
    let token = platform.token(Role::Analyst, Some(&["consumo"])).await;
    let get = async |path: &str| platform.get(&token, path).await.is(200);
    let within = |hours: i64, hour: &&Hour| hour.at > Utc::now() - TimeDelta::hours(hours);

    for (client, hours) in &days {
        let path = format!("/api/consumos/ultimas24h/{client}?modo=original");
        let said = get(&path).await;
        let said = said.as_array().unwrap();
        let mut expected: Vec<_> = hours.iter().filter(|hour| within(24, hour)).collect();
        expected.reverse();
        // An hour may have ended between the two looks.
        assert!(
            said.len() - expected.len() <= 1 && expected.len() >= 22,
            "{client}: {}",
            said.len()
        );
        for (said, hour) in said.iter().zip(expected) {
            compare(said, client, hour);
        }
        for spelling in ["%C3%BAltimas24h", "%c3%baltimas24h", "últimas24h"] {
            let path = path.replace("ultimas24h", spelling);
            assert!(!get(&path).await.as_array().unwrap().is_empty(), "{path}");
        }
        // Without an offset times are by the client's clock; both ends are included.
        let (from, to) = (&hours[10], &hours[30]);
        let local = |hour: &Hour| {
            (hour.at + TimeDelta::hours(ahead(client, hour.at)))
                .format("%FT%T")
                .to_string()
        };
        let ranges = [
            (local(from), local(to)),
            (
                from.at.format("%FT%TZ").to_string(),
                to.at.format("%FT%T.999Z").to_string(),
            ),
            (from.at.format("%FT%T%%2B00:00").to_string(), local(to)),
        ];
        for (begin, end) in ranges {
            let path = format!(
                "/api/consumos/rango?propietario_id={client}&fecha_inicio={begin}&fecha_fin={end}&modo=original"
            );
            let said = get(&path).await;
            let said = said.as_array().unwrap();
            assert_eq!(said.len(), 21, "{path}");
            said.iter()
                .zip(&hours[10..=30])
                .for_each(|(said, hour)| compare(said, client, hour));
        }
        let statistics = get(&format!("/api/estadisticas/cliente/{client}?modo=original")).await;
        let day: Vec<_> = hours.iter().filter(|hour| within(24, hour)).collect();
        if statistics["lecturas"] == day.len() {
            statistics_are(&statistics, &day);
        } else {
            assert_eq!(statistics["lecturas"], day.len() + 1, "an hour has ended");
        }
    }
    let silent = get(&format!("/api/estadisticas/cliente/{}", SILENT[0])).await;
    assert_eq!(
        (&silent["lecturas"], &silent["consumo_minimo"]),
        (&json!(0), &Value::Null)
    );
    for client in SILENT {
        platform
            .get(&token, &format!("/api/consumos/ultimas24h/{client}"))
            .await
            .is_problem(404, "not_found");
    }
    anomalies_are(&platform, &token, &days).await;
    worker.stop().await;
    api.stop().await;
}

fn statistics_are(said: &Value, day: &[&Hour]) {
    let mean = |hours: Vec<&&Hour>| {
        let sum: i64 = hours.iter().map(|hour| hour.wh).sum();
        let count = i64::try_from(hours.len()).unwrap();
        (sum * 2 + count) / (count * 2)
    };
    let night = |hour: &&&Hour| hour.hora < 6 || hour.hora == 23;
    let found = || day.iter().filter_map(|hour| hour.found.as_ref());
    assert_eq!(
        wh(&said["consumo_promedio_24h"]),
        mean(day.iter().collect()),
        "{said}"
    );
    assert_eq!(
        wh(&said["consumo_noche_promedio"]),
        mean(day.iter().filter(night).collect()),
        "{said}"
    );
    assert_eq!(
        wh(&said["consumo_minimo"]),
        day.iter().map(|hour| hour.wh).min().unwrap()
    );
    assert_eq!(
        wh(&said["consumo_maximo"]),
        day.iter().map(|hour| hour.wh).max().unwrap()
    );
    assert_eq!(said["anomalias_detectadas"], found().count());
    let critical = found().filter(|found| found.severity == "crítica").count();
    assert_eq!(said["anomalias_criticas"], critical);
    assert_eq!(said["es_cliente_sospechoso"], json!(day[0].suspicious));
}
