//! Months and ranges of an autumn in which clocks are changed, with the seasonal way of judging.

use std::collections::BTreeMap;

use acequia_api::auth::Role;
use chrono::{DateTime, FixedOffset, NaiveDate, Timelike as _, Utc};
use clap::Command;
use serde_json::{Value, json};

use super::oracle::Oracle;
use super::{Sent, send, texts, wh};
use crate::support::Platform;

/// Forty days of twenty clients, five of them with something to be found; the last one lives on the islands.
const OPTIONS: [&str; 8] = [
    "--clients",
    "20",
    "--days",
    "40",
    "--suspicious",
    "25",
    "--start",
    "2024-09-25",
];

fn generated() -> Vec<Sent> {
    let generator = acequia_contracts::domain("consumo")
        .unwrap()
        .generator
        .unwrap();
    let options = generator
        .options(Command::new("test").no_binary_name(true))
        .get_matches_from(OPTIONS);
    let made = generator.generate(&options, 7).unwrap();
    made.map(|message| Sent {
        id: uuid::Uuid::now_v7(),
        entity: message.entity,
        body: message.body,
    })
    .collect()
}

/// An hour as it was sent.
#[derive(Debug, Clone)]
struct Hour {
    local: DateTime<FixedOffset>,
    wh: i64,
    suspicious: bool,
}

type Readings = BTreeMap<String, Vec<Hour>>;

fn readings(messages: &[Sent]) -> Readings {
    let mut readings = Readings::new();
    for sent in messages.iter().filter(|sent| sent.entity == "lectura") {
        let body = sent.json();
        let client = body["propietario_id"].as_str().unwrap().to_owned();
        readings.entry(client).or_default().push(Hour {
            local: DateTime::parse_from_rfc3339(body["timestamp"].as_str().unwrap()).unwrap(),
            wh: wh(&body["consumo_kwh"]),
            suspicious: body["es_sospechoso"] == true,
        });
    }
    for hours in readings.values_mut() {
        hours.sort_by_key(|hour| hour.local);
    }
    readings
}

/// An anomaly of the seasonal way of judging, as the oracle has it.
#[derive(Debug, Clone)]
struct Found {
    client: String,
    at: DateTime<Utc>,
    scope: String,
    date: NaiveDate,
    wh: i64,
    kinds: Vec<String>,
    score: String,
    severity: String,
}

fn found(messages: &[Sent]) -> Vec<Found> {
    let lines = Oracle::of(messages).anomalies();
    lines
        .iter()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|parts| parts[1] == "estacional")
        .map(|parts| Found {
            client: parts[0].to_owned(),
            at: format!("{}T{}:00", parts[2], parts[3]).parse().unwrap(),
            scope: parts[4].to_owned(),
            date: parts[5].parse().unwrap(),
            wh: parts[7].parse().unwrap(),
            kinds: parts[8].split(',').map(ToOwned::to_owned).collect(),
            score: parts[9].to_owned(),
            severity: parts[10].to_owned(),
        })
        .collect()
}

fn score(value: &Value) -> String {
    format!("{:.2}", value.as_f64().unwrap())
}

/// To the nearest whole number, half of one upwards.
fn rounded(number: i64, by: i64) -> i64 {
    (number * 2 + by) / (by * 2)
}

/// A month of a client as an answer has it, beside its readings and anomalies.
fn month_is(said: &Value, client: &str, month: &str, hours: &[Hour], found: &[Found]) {
    let own: Vec<_> = hours
        .iter()
        .filter(|hour| hour.local.format("%Y-%m").to_string() == month)
        .collect();
    let count = i64::try_from(own.len()).unwrap();
    let total: i64 = own.iter().map(|hour| hour.wh).sum();
    assert_eq!(said["_id"], format!("{client}_{month}"));
    assert_eq!(
        (&said["propietario_id"], &said["mes_str"]),
        (&json!(client), &json!(month))
    );
    assert_eq!(
        (&said["mes"], &said["num_registros"]),
        (&json!(format!("{month}-01")), &json!(count))
    );
    assert_eq!(wh(&said["consumo_total"]), total, "{said}");
    assert_eq!(
        wh(&said["consumo_promedio"]),
        rounded(total, count),
        "{said}"
    );
    assert_eq!(
        wh(&said["consumo_minimo"]),
        own.iter().map(|hour| hour.wh).min().unwrap()
    );
    assert_eq!(
        wh(&said["consumo_maximo"]),
        own.iter().map(|hour| hour.wh).max().unwrap()
    );
    let mean = total as f64 / count as f64;
    let squares: f64 = own.iter().map(|hour| (hour.wh as f64 - mean).powi(2)).sum();
    let deviation = (squares / (count - 1) as f64).sqrt() / 1000.0;
    assert!(
        (said["consumo_desviacion"].as_f64().unwrap() - deviation).abs() < 0.00051,
        "{said}: {deviation}"
    );
    let slot = |name: &str, of: fn(u32) -> bool| {
        let chosen: Vec<_> = own
            .iter()
            .filter(|hour| of(hour.local.hour()))
            .map(|hour| hour.wh)
            .collect();
        let count = i64::try_from(chosen.len()).unwrap();
        assert_eq!(
            wh(&said[name]),
            rounded(chosen.iter().sum(), count),
            "{name}: {said}"
        );
    };
    slot("consumo_noche_promedio", |hour| hour < 6 || hour == 23);
    slot("consumo_punta_promedio", |hour| (18..23).contains(&hour));
    slot("consumo_valle_promedio", |hour| (6..18).contains(&hour));
    let days: std::collections::BTreeSet<_> =
        own.iter().map(|hour| hour.local.date_naive()).collect();
    assert_eq!(
        (&said["dias"], &said["dias_sin_lectura"]),
        (&json!(days.len()), &json!(0))
    );
    assert_eq!(
        said["tiene_comportamiento_sospechoso"],
        json!(own.iter().any(|hour| hour.suspicious))
    );

    let mine: Vec<_> = found
        .iter()
        .filter(|one| one.client == client && one.date.format("%Y-%m").to_string() == month)
        .collect();
    let of = |severity: &str| mine.iter().filter(|one| one.severity == severity).count();
    assert_eq!(said["anomalias_detectadas"], mine.len());
    assert_eq!(
        (
            &said["anomalias_criticas"],
            &said["anomalias_altas"],
            &said["anomalias_medias"]
        ),
        (
            &json!(of("crítica")),
            &json!(of("alta")),
            &json!(of("media"))
        )
    );
    let scores: Vec<i64> = mine
        .iter()
        .map(|one| one.score.replace('.', "").parse().unwrap())
        .collect();
    assert_eq!(
        score(&said["max_score_anomalia"]),
        format!(
            "{:.2}",
            scores.iter().max().copied().unwrap_or(0) as f64 / 100.0
        )
    );
    assert_eq!(
        wh(&said["avg_score_anomalia"]),
        rounded(scores.iter().sum::<i64>() * 10, count),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn months_and_ranges_are_what_the_messages_say() {
    let messages = generated();
    let (readings, found) = (readings(&messages), found(&messages));
    assert!(
        found.len() > 20 && found.iter().any(|one| one.scope == "dia"),
        "{}",
        found.len()
    );
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    send(&platform, &messages).await;
    worker.stop().await;
    let token = platform.token(Role::Analyst, Some(&["consumo"])).await;
    let get = async |path: &str| platform.get(&token, path).await.is(200);

    let months = ["2024-09", "2024-10", "2024-11"];
    for (client, hours) in &readings {
        for spelling in ["a%C3%B1o=2024", "anio=2024"] {
            let said = get(&format!("/api/consumos/mensuales/{client}?{spelling}")).await;
            let said = said.as_array().unwrap();
            assert_eq!(said.len(), 3, "{client}");
            for (said, month) in said.iter().zip(months) {
                month_is(said, client, month, hours, &found);
            }
        }
        let month = get(&format!("/api/estadisticas/mensual/{client}?mes=2024-10")).await;
        month_is(&month, client, "2024-10", hours, &found);
        platform
            .get(
                &token,
                &format!("/api/estadisticas/mensual/{client}?mes=2024-08"),
            )
            .await
            .is_problem(404, "not_found");
        assert_eq!(
            get(&format!("/api/consumos/mensuales/{client}?anio=2023")).await,
            json!([])
        );

        // The day of 25 hours, whole: the second 2 o'clock has another offset.
        let path = format!(
            "/api/consumos/rango?propietario_id={client}&fecha_inicio=2024-10-27&fecha_fin=2024-10-27"
        );
        let said = get(&path).await;
        let day = hours.iter().filter(|hour| {
            hour.local.date_naive() == NaiveDate::from_ymd_opt(2024, 10, 27).unwrap()
        });
        let expected: Vec<_> = day
            .map(|hour| (hour.local.to_rfc3339(), hour.wh, hour.local.hour()))
            .collect();
        assert_eq!(expected.len(), 25);
        let said: Vec<_> = said
            .as_array()
            .unwrap()
            .iter()
            .map(|hour| {
                let hora = u32::try_from(hour["hora"].as_u64().unwrap()).unwrap();
                (
                    hour["timestamp"].as_str().unwrap().to_owned(),
                    wh(&hour["consumo_kwh"]),
                    hora,
                )
            })
            .collect();
        assert_eq!(said, expected, "{client}");
    }
    compared(&platform, &token, &readings, &found).await;
    listed(&platform, &token, &found).await;
    api.stop().await;
}

async fn compared(platform: &Platform, token: &str, readings: &Readings, found: &[Found]) {
    let all = platform
        .get(token, "/api/dashboard/comparativa-mensual?mes=2024-10")
        .await
        .is(200);
    let of_month = |hours: &[Hour]| -> i64 {
        let own = hours
            .iter()
            .filter(|hour| hour.local.format("%Y-%m").to_string() == "2024-10");
        own.map(|hour| hour.wh).sum()
    };
    let mut sums: Vec<_> = readings
        .iter()
        .map(|(client, hours)| (-of_month(hours), client))
        .collect();
    sums.sort();
    let total: i64 = -sums.iter().map(|(sum, _)| sum).sum::<i64>();
    assert_eq!(
        (&all["mes"], &all["total_clientes"]),
        (&json!("2024-10"), &json!(20))
    );
    assert_eq!(wh(&all["consumo_total_mes"]), total);
    assert_eq!(wh(&all["consumo_promedio"]), rounded(total, 20));
    let clients = all["clientes"].as_array().unwrap();
    assert_eq!(clients.len(), 20);
    for (said, (_, client)) in clients.iter().zip(&sums) {
        month_is(said, client, "2024-10", &readings[*client], found);
    }
    let few = platform
        .get(
            token,
            "/api/dashboard/comparativa-mensual?mes=2024-10&limit=2",
        )
        .await
        .is(200);
    assert_eq!(
        texts(&few["clientes"], "_id"),
        texts(&all["clientes"], "_id")[..2]
    );
    assert_eq!(
        (&few["total_clientes"], &few["consumo_total_mes"]),
        (&all["total_clientes"], &all["consumo_total_mes"])
    );
}

async fn listed(platform: &Platform, token: &str, found: &[Found]) {
    let mut expected = found.to_vec();
    expected.sort_by_key(|one| {
        (
            std::cmp::Reverse(one.at),
            one.client.clone(),
            one.scope.clone(),
        )
    });
    assert!(expected.len() < 1_000);
    for path in [
        "/api/anomalias/ultimas?limit=1000",
        "/api/anomalias/ultimas?limit=1000&modo=estacional",
    ] {
        let said = platform.get(token, path).await.is(200);
        let said = said.as_array().unwrap();
        assert_eq!(said.len(), expected.len());
        for (said, one) in said.iter().zip(&expected) {
            let at =
                DateTime::parse_from_rfc3339(said["timestamp_consumo"].as_str().unwrap()).unwrap();
            assert_eq!(
                (&said["propietario_id"], at.to_utc()),
                (&json!(one.client), one.at),
                "{said}"
            );
            // The clock is the client's: a day begins at its midnight.
            assert_eq!(at.date_naive(), one.date, "{said}");
            assert_eq!(said["ambito"], one.scope);
            match one.scope.as_str() {
                "dia" => assert_eq!((at.hour(), &said["hora"]), (0, &Value::Null), "{said}"),
                _ => assert_eq!(said["hora"], at.hour(), "{said}"),
            }
            assert_eq!(
                (wh(&said["consumo_kwh"]), score(&said["score_anomalia"])),
                (one.wh, one.score.clone()),
                "{said}"
            );
            assert_eq!(
                (&said["tipos_anomalia"], &said["severidad"]),
                (&json!(one.kinds), &json!(one.severity)),
                "{said}"
            );
        }
    }
    // Nothing of it is of the last hours.
    let now = platform
        .get(token, "/api/estadisticas/resumen?horas=720")
        .await
        .is(200);
    assert_eq!(
        (&now["total_anomalias"], &now["tipos_mas_frecuentes"]),
        (&json!(0), &json!([]))
    );
    let top = platform
        .get(token, "/api/dashboard/top-anomalias?limit=100")
        .await
        .is(200);
    let mut clients: Vec<_> = found.iter().map(|one| one.client.as_str()).collect();
    clients.sort_unstable();
    clients.dedup();
    let mut said: Vec<_> = texts(&top["clientes"], "_id");
    said.sort_unstable();
    assert_eq!(said, clients);
}
