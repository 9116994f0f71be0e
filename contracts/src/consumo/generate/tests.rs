//! Properties of the synthetic readings.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use clap::Command;
use serde_json::Value;

use super::{Consumo, first_day, percent, suspicious};
use crate::generate::{Generator, Synthetic};
use crate::{Context, domain};

fn generate(options: &str, seed: u64) -> Vec<Synthetic> {
    let command = Consumo.options(Command::new("test").no_binary_name(true));
    let matches = command.try_get_matches_from(options.split_whitespace());
    let messages = Consumo.generate(&matches.unwrap(), seed).unwrap();
    let (least, most) = messages.size_hint();
    let messages: Vec<_> = messages.collect();
    assert_eq!((least, most), (messages.len(), Some(messages.len())));
    messages
}

fn readings(options: &str) -> Vec<Value> {
    let messages = generate(options, 1);
    let readings = messages
        .iter()
        .filter(|message| message.entity == "lectura");
    readings
        .map(|message| serde_json::from_slice(&message.body).unwrap())
        .collect()
}

#[test]
fn the_first_day_is_a_date_or_days_ago() {
    let date = "2024-09-02".parse().unwrap();
    assert_eq!(first_day("2024-09-02"), Ok(date));
    let today = || chrono::Utc::now().date_naive();
    let (before, ago, after) = (today(), first_day("45d").unwrap(), today());
    let days = chrono::Days::new(45);
    assert!((before..=after).contains(&(ago + days)), "{ago}");
    for wrong in ["", "d", "-1d", "45", "yesterday", "99999999999d"] {
        assert!(first_day(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_message_keeps_its_contract_and_is_the_same_for_the_same_seed() {
    let context = Context {
        now: "2024-12-01T00:00:00Z".parse().unwrap(),
    };
    for profile in ["realistic", "reference"] {
        let options = format!("--clients 20 --days 60 --suspicious 20% --profile {profile}");
        let messages = generate(&options, 3);
        for message in &messages {
            let entity = domain("consumo").unwrap().find(message.entity).unwrap();
            let body = std::str::from_utf8(&message.body).unwrap();
            let envelope = entity.decode(body, &context, &mut entity.new_columns());
            assert_eq!(envelope.unwrap().ts, Some(message.at), "{body}");
        }
        assert_eq!(messages, generate(&options, 3));
        assert_ne!(messages, generate(&options, 4));
    }
}

#[test]
fn every_client_has_every_hour_once_and_days_of_25_hours_too() {
    let readings = readings("--clients 20 --days 60");
    let mut hours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for reading in &readings {
        let client = hours.entry(reading["propietario_id"].as_str().unwrap());
        assert!(
            client
                .or_default()
                .insert(reading["timestamp"].as_str().unwrap())
        );
        let clock = reading["timestamp"].as_str().unwrap();
        assert_eq!(
            clock[11..13].parse::<u64>().unwrap(),
            reading["hora"].as_u64().unwrap()
        );
    }
    assert_eq!(hours.len(), 20);
    assert!(hours.values().all(|hours| hours.len() == 60 * 24 + 1));
    let twice = |offset| format!("2024-10-27T02:00:00{offset}");
    assert!(hours["CLI_00001"].contains(twice("+02:00").as_str()));
    assert!(hours["CLI_00001"].contains(twice("+01:00").as_str()));
}

#[test]
fn the_reference_profile_has_the_reference_shares() {
    let readings = readings("--clients 200 --days 5 --profile reference --suspicious 50");
    let share = |night: bool, kind: &str| {
        let of: Vec<_> = readings
            .iter()
            .filter(|reading| reading["es_sospechoso"] == true)
            .filter(|reading| matches!(reading["hora"].as_u64(), Some(0..=5 | 23)) == night)
            .collect();
        let found = of
            .iter()
            .filter(|reading| reading["tipo_anomalia"] == kind)
            .count();
        found as f64 / of.len() as f64
    };
    for (night, kind, expected) in [
        (true, "plantacion_cannabis", 0.30),
        (true, "pico_anomalo", 0.20),
        (true, "consumo_constante_anomalo", 0.15),
        (false, "plantacion_cannabis", 0.0),
        (false, "pico_anomalo", 0.50),
        (false, "consumo_constante_anomalo", 0.15),
    ] {
        let found = share(night, kind);
        assert!((found - expected).abs() < 0.03, "{kind} {night}: {found}");
    }
    let mean = readings
        .iter()
        .filter(|reading| reading["es_sospechoso"] == false)
        .map(|reading| reading["consumo_kwh"].as_f64().unwrap());
    let (sum, count) = mean.fold((0.0, 0.0), |(sum, count), kwh| (sum + kwh, count + 1.0));
    // (7 * 0.1 + 5 * 2.0 + 12 * 0.5) / 24
    assert!((sum / count - 0.696_f64).abs() < 0.02, "{}", sum / count);
}

#[test]
fn the_truth_is_in_the_suspicious_only_and_of_every_kind() {
    let readings = readings("--clients 80 --days 40 --suspicious 10");
    let kinds: BTreeSet<_> = readings
        .iter()
        .filter(|reading| reading["anomalia_esperada"] == true)
        .map(|reading| {
            assert_eq!(reading["es_sospechoso"], true);
            reading["tipo_anomalia"].as_str().unwrap()
        })
        .collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    let clients: BTreeSet<_> = readings
        .iter()
        .filter(|reading| reading["es_sospechoso"] == true)
        .map(|reading| reading["propietario_id"].as_str().unwrap())
        .collect();
    assert_eq!(clients.len(), 8);
}

#[test]
fn a_share_is_read_with_and_without_its_sign() {
    assert_eq!(percent("10%"), percent("10"));
    assert!(percent("101").is_err() && percent("x").is_err());
    assert_eq!(
        (suspicious(50, 10.0), suspicious(5, 1.0), suspicious(5, 0.0)),
        (5, 1, 0)
    );
}
