//! Order and repetition do not matter: the same readings, corrections and clients in any order, in batches and
//! promotions of any size, give the days and the anomalies of the oracle, and the same marts.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::oracle::Oracle;
use super::{Feed, Sent, generated};
use crate::support::Platform;

/// The tables in the notation of the oracle.
const DAYS: &str = "
select concat_ws(' ', propietario_id, fecha, horas, wh::text, n, suma, minimo, maximo, noche_n, noche_suma, punta_n, punta_suma, esperadas,
    sospechosas, desacuerdos)
from consumo.dias";
const ANOMALIES: &str = "
select concat_ws(' ', propietario_id, modo, instante, ambito, fecha, coalesce(hora::text, '-'), (consumo_kwh * 1000)::bigint,
    array_to_string(tipos, ','), score, severidad, case when es_sospechoso then 'true' else 'false' end)
from consumo.anomalias";

/// Everything that must not depend on the order, as text.
const OUTCOME: &str = "
select 'lectura ' || row_to_json(x)::text from (
    select propietario_id, instante, hora, consumo_kwh, es_sospechoso, anomalia_esperada, tipo_anomalia, event_at, message_id
    from consumo.lecturas order by 1, 2) x
union all
select 'dia ' || row_to_json(x)::text from (select * from consumo.dias order by 1, 2) x
union all
select 'anomalia ' || row_to_json(x)::text from (
    select propietario_id, modo, instante, ambito, fecha, hora, consumo_kwh, tipos, score, severidad, es_sospechoso, evidencia
    from consumo.anomalias order by 1, 2, 3, 4) x
union all
select 'mes ' || row_to_json(x)::text from (
    select m.*, null as timestamp from marts.consumo_mensual m order by 1, 2) x
order by 1";

/// Without the mart's column that says when it was computed.
fn timeless(rows: Vec<String>) -> Vec<String> {
    rows.into_iter()
        .map(|row| match row.strip_prefix("mes ") {
            Some(json) => {
                let mut mart: Value = serde_json::from_str(json).unwrap();
                mart.as_object_mut().unwrap().remove("timestamp");
                mart.to_string()
            }
            None => row,
        })
        .collect()
}

/// Thirty days of six clients, over the night on which clocks go back: some readings are missing, and now and then a
/// whole day; some have later and earlier versions, with peaks among them; some clients have a second version, and some
/// of these have moved to the islands.
fn messages(rng: &mut StdRng) -> Vec<Sent> {
    let options = "--clients 6 --days 30 --start 2024-10-01 --suspicious 70% --seed";
    let mut messages = generated(&format!("{options} {}", rng.random_range(0..1000)));
    let lost: Vec<_> = (0..4)
        .map(|_| {
            let client = rng.random_range(1..=6);
            let day = rng.random_range(1..=30);
            (
                format!("CLI_{client:05}"),
                format!("2024-10-{day:02}"),
                rng.random_range(0..24),
            )
        })
        .collect();
    messages.retain(|sent| {
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        let of = |client: &str, day: &str, from: i64| {
            body["propietario_id"] == client
                && body["timestamp"].as_str().unwrap().starts_with(day)
                && body["hora"].as_i64() >= Some(from)
        };
        sent.entity == "cliente"
            || rng.random_range(0..100) > 0
                && !lost
                    .iter()
                    .any(|(client, day, from)| of(client, day, *from))
    });
    let mut corrections = Vec::new();
    for sent in &messages {
        if rng.random_range(0..40) > 0 && sent.entity == "lectura" {
            continue;
        }
        let mut body: Value = serde_json::from_slice(&sent.body).unwrap();
        let newer = rng.random_range(0..2) == 0;
        let ts = ["2024-01-01T00:00:00Z", "2024-11-30T00:00:00Z"][usize::from(newer)];
        body["ts"] = ts.into();
        if sent.entity == "lectura" {
            body["consumo_kwh"] = rng.random_range(0..9).into();
            body["es_sospechoso"] = (rng.random_range(0..2) == 0).into();
        } else {
            body["zona"] = ["Europe/Madrid", "Atlantic/Canary"][rng.random_range(0..2)].into();
        }
        corrections.push(Sent::new(sent.entity, &body));
    }
    messages.extend(corrections);
    messages
}

async fn outcome(platform: &Platform) -> Vec<String> {
    assert_eq!(platform.unaccounted().await, 0);
    timeless(platform.texts(OUTCOME).await)
}

async fn sorted(platform: &Platform, query: &str) -> Vec<String> {
    let mut rows = platform.texts(query).await;
    rows.sort();
    rows
}

fn assert_same(what: &str, found: &[String], expected: &[String]) {
    let (one, other) = (BTreeSet::from_iter(found), BTreeSet::from_iter(expected));
    let lacks: Vec<_> = other.difference(&one).collect();
    let more: Vec<_> = one.difference(&other).collect();
    assert!(
        found == expected,
        "{what}: {} rows, expected {}; first that lack {:#?}, first too many {:#?}",
        found.len(),
        expected.len(),
        &lacks[..lacks.len().min(3)],
        &more[..more.len().min(3)]
    );
}

/// The anomalies are those of the oracle.
pub(super) async fn anomalies_are(platform: &Platform, oracle: &Oracle) {
    let found = sorted(platform, ANOMALIES).await;
    assert_same("anomalies", &found, &oracle.anomalies());
}

/// Sends messages and copies of some of them, in batches and promotions of random sizes.
async fn send_at_random(platform: &Platform, messages: &[Sent], rng: &mut StdRng) {
    let copies: Vec<_> = messages
        .iter()
        .filter(|_| rng.random_range(0..10) == 0)
        .cloned()
        .collect();
    let mut sent = [messages, &copies].concat();
    sent.shuffle(rng);
    // Near their order in half of the cases, as they come in practice; in any order in the others.
    if rng.random_range(0..2) == 0 {
        sent.sort_by_key(|message| message.id.as_u128() >> 74);
    }
    let mut feed = Feed::new(platform).await;
    let mut rest = sent.as_slice();
    while !rest.is_empty() {
        let (batch, more) = rest.split_at(rng.random_range(1..1500).min(rest.len()));
        feed.stage(batch).await;
        rest = more;
        if rng.random_range(0..2) == 0 {
            feed.promote(rng.random_range(1..2000)).await;
        }
    }
    feed.promote(20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_gives_the_days_and_anomalies_of_the_oracle() {
    let mut kinds = BTreeSet::new();
    for seed in 1..=4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let messages = messages(&mut rng);
        let oracle = Oracle::of(&messages);
        let anomalies = oracle.anomalies();
        kinds.extend(
            anomalies
                .iter()
                .filter(|row| row.contains("estacional"))
                .map(|row| row.split(' ').nth(8).unwrap().to_owned()),
        );
        let platform = Platform::new().await;
        Feed::new(&platform).await.send(&messages).await;
        let expected = outcome(&platform).await;
        for round in 0..3 {
            let platform = if round == 0 {
                &platform
            } else {
                &Platform::new().await
            };
            if round > 0 {
                send_at_random(platform, &messages, &mut rng).await;
            }
            let what = |of: &str| format!("{of} of seed {seed}, order {round}");
            assert_same(&what("days"), &sorted(platform, DAYS).await, &oracle.days());
            assert_same(
                &what("anomalies"),
                &sorted(platform, ANOMALIES).await,
                &anomalies,
            );
            assert_same(&what("everything"), &outcome(platform).await, &expected);
        }
    }
    for kind in [
        "pico_anomalo",
        "plantacion_cannabis",
        "consumo_constante_anomalo",
        "consumo_caida_anomalo",
    ] {
        assert!(
            kinds.iter().any(|kinds| kinds.contains(kind)),
            "no {kind} among {kinds:?}"
        );
    }
}

/// A late reading causes a new judgement, and a correction takes an anomaly back.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_takes_back_what_it_explains() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let at = |hour: u32| format!("2024-02-01T{hour:02}:00:00Z");
    let mut readings: Vec<_> = (0..12)
        .map(|hour| Sent::reading("CLI_00001", &at(hour), hour + 1, 1000, &at(20)))
        .collect();
    readings.push(Sent::reading("CLI_00001", &at(12), 13, 12_000, &at(20)));
    feed.send(&readings).await;
    let found = "select count(*) from consumo.anomalias where modo = 'original'";
    assert_eq!(platform.number(found).await, 1);
    // Older than the stored version: no effect.
    feed.send(&[Sent::reading("CLI_00001", &at(12), 13, 1000, &at(19))])
        .await;
    assert_eq!(platform.number(found).await, 1);
    feed.send(&[Sent::reading("CLI_00001", &at(12), 13, 1000, &at(21))])
        .await;
    assert_eq!(platform.number(found).await, 0);
}

/// Marts are made from days: the readings of a closed month may leave the database. One that comes late for it is
/// taken all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_month_may_leave() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    feed.send(&generated(
        "--clients 3 --days 20 --start 2024-09-20 --suspicious 0",
    ))
    .await;
    let late = Sent::reading(
        "CLI_00001",
        "2024-09-25T10:00:00Z",
        12,
        7777,
        "2024-11-01T00:00:00Z",
    );
    let months = "select m.propietario_id || ' ' || m.mes_str || ' ' || m.num_registros || ' ' || m.consumo_total
        from marts.consumo_mensual m order by 1";
    let before = platform.texts(months).await;
    assert_eq!(before.len(), 6);
    platform
        .execute(
            "alter table consumo.lecturas detach partition consumo.lecturas_m202409;
             drop table consumo.lecturas_m202409",
        )
        .await;
    assert_eq!(platform.texts(months).await, before);
    let hour = "select (consumo_kwh * 1000)::bigint from marts.consumo_horario
        where propietario_id = 'CLI_00001' and instante = '2024-09-25T10:00:00Z'";
    let earlier = platform.number(hour).await;
    feed.send(&[late]).await;
    assert_eq!(platform.number(hour).await, 7777);
    let total = "select (sum(suma))::bigint from consumo.dias where propietario_id = 'CLI_00001'";
    let hours = "select (sum(consumo_kwh) * 1000)::bigint from marts.consumo_horario where propietario_id = 'CLI_00001'";
    assert_eq!(platform.number(total).await, platform.number(hours).await);
    assert_ne!(earlier, 7777);
    assert_eq!(
        platform
            .number("select count(*) from consumo.lecturas_m202409")
            .await,
        1
    );
}
