//! A drain of what publishers send on a bad day, against a drain of clean messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use acequia_publisher::{Ids, Outgoing};
use anyhow::ensure;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};

use super::drain::drain;
use crate::environment::BenchEnv;
use crate::load;
use crate::sample::Sample;

/// Share of the enrolments and marks, nine tenths of all messages, that refer to a student who is
/// not there.
const ORPHANS: f64 = 0.1 / 0.9;
/// Numbers of these students lie so much above those of the others.
const FAR: i64 = 100_000_000;
/// Bytes of the largest body.
const LARGEST: f64 = 65_536.0;
/// Sizes are spread from here on: each doubling halves their number.
const SMALLEST: f64 = 60.0;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let (messages, lonely) = messages(bench.size.messages, bench.size.seed)?;
    let count = messages.len();
    let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
    let environment = bench.environment().await?;
    environment.fill(Arc::new(messages)).await?;
    let drained = drain(&environment, 1, count).await?;
    let totals = drained.totals;
    ensure!(
        totals.pending == lonely && totals.quarantined > 0 && totals.duplicates > 0,
        "{lonely} orphans were sent and others that are no good: {totals:?}"
    );
    environment.clear().await?;
    let hostile = drained
        .sample("hostile mix", count)
        .with("mean_bytes", bytes as f64 / count as f64);

    let environment = bench.environment().await?;
    let clean = bench.messages().await?;
    let count = clean.len();
    environment.fill(clean).await?;
    let drained = drain(&environment, 1, count).await?;
    environment.clear().await?;
    Ok(vec![hostile, drained.sample("clean", count)])
}

/// 5 % invalid, 5 % copies, 10 % orphans, from 60 bytes to 64 KB; with the number of orphans whose
/// parents never come. Those of the others come at the very end.
fn messages(count: usize, seed: u64) -> anyhow::Result<(Vec<Outgoing>, i64)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut messages = load::messages(count * 10 / 11, seed, &["--invalid", "5"])?;
    let (mut late, mut lonely) = (BTreeSet::new(), 0);
    for message in messages.iter_mut().filter(|message| is_good(message)) {
        let mut body: Map<String, Value> = serde_json::from_slice(&message.body)?;
        if body.contains_key("id_grupo")
            && rng.random_range(0.0..1.0) < ORPHANS
            && let Some(student) = body.get("id_alumno").and_then(Value::as_i64)
        {
            body.insert("id_alumno".to_owned(), (student + FAR).into());
            if student % 2 == 0 {
                late.insert(student + FAR);
            } else {
                lonely += 1;
            }
        }
        let wanted = (SMALLEST / (1.0 - rng.random::<f64>())).min(LARGEST) as usize;
        let padding = wanted.saturating_sub(message.body.len() + r#","pad":"""#.len());
        if padding > 0 {
            body.insert("pad".to_owned(), "x".repeat(padding).into());
        }
        message.body = serde_json::to_vec(&body)?;
    }
    // A copy comes somewhere behind its original.
    let all = messages.len();
    let mut places: Vec<(usize, usize)> = (0..all).map(|place| (place, place)).collect();
    for _ in 0..all / 20 {
        let original = rng.random_range(0..all);
        places.push((rng.random_range(original..all), original));
    }
    places.sort_unstable();
    let mut messages: Vec<Outgoing> = places
        .into_iter()
        .map(|(_, original)| messages[original].clone())
        .collect();
    messages.extend(students(late)?);
    Ok((messages, lonely))
}

/// Students of these numbers.
fn students(numbers: BTreeSet<i64>) -> anyhow::Result<Vec<Outgoing>> {
    let (name, count) = (load::domain()?.name, numbers.len().to_string());
    let mut options = vec!["--alumnos", &count];
    for other in [
        "--maestros",
        "--materias",
        "--grupos",
        "--inscripciones",
        "--calificaciones",
    ] {
        options.extend([other, "0"]);
    }
    let mut students = acequia_publisher::messages(name, &options, Ids::Fresh)?;
    for (message, number) in students.iter_mut().zip(numbers) {
        let mut body: Map<String, Value> = serde_json::from_slice(&message.body)?;
        body.insert("id_alumno".to_owned(), number.into());
        message.body = serde_json::to_vec(&body)?;
    }
    Ok(students)
}

/// Whether the contract takes a message.
fn is_good(message: &Outgoing) -> bool {
    let Ok(body) = std::str::from_utf8(&message.body) else {
        return false;
    };
    let Ok(domain) = load::domain() else {
        return false;
    };
    let entity = domain.find(message.route.routing_key());
    entity.is_some_and(|entity| {
        let context = acequia_contracts::Context::now();
        entity
            .decode(body, &context, &mut entity.new_columns())
            .is_ok()
    })
}
