//! The marts of clients, against plain loops over the messages: consumption, gaps, silence, spread, and
//! anomalies that were taken back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};

use super::alerts::{peak, story};
use super::oracle::Oracle;
use super::{Feed, Sent, body, generated};
use crate::support::Platform;

fn rounded(number: Decimal) -> String {
    let number = number.round_dp_with_strategy(3, RoundingStrategy::MidpointAwayFromZero);
    format!("{number:.3}")
}

fn kwh(wh: i64) -> Decimal {
    Decimal::from(wh) / Decimal::from(1000)
}

/// Six clients over ten days. Of the second nothing comes on two days, of the third nothing after the sixth; of the
/// fourth there is no contract; a seventh has a contract and no reading.
fn messages() -> Vec<Sent> {
    let made = generated("--clients 6 --days 10 --start 2024-09-26 --suspicious 34");
    let ids: BTreeSet<String> = made
        .iter()
        .map(|sent| text(&body(sent)["propietario_id"]))
        .collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let mut kept: Vec<Sent> = made
        .into_iter()
        .filter(|sent| {
            let body = body(sent);
            let client = text(&body["propietario_id"]);
            let date = &text(&body["timestamp"])[..10.min(text(&body["timestamp"]).len())];
            match ids.iter().position(|id| *id == client) {
                Some(1) => !["2024-09-28", "2024-09-29"].contains(&date),
                Some(2) => sent.entity == "cliente" || date < "2024-10-02",
                Some(3) => sent.entity != "cliente",
                _ => true,
            }
        })
        .collect();
    let contract = json!({"propietario_id": "CLI_90001", "nombre": "Nobody Home", "tarifa": "2.0TD",
        "distrito": "Centro", "ts": "2024-09-01T00:00:00Z"});
    kept.push(Sent::new("cliente", &contract));
    kept
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_owned()
}

const CLIENTS: &str = "
select concat_ws(' ', propietario_id, coalesce(nombre, '-'), coalesce(tarifa, '-'), coalesce(primera_lectura::text, '-'),
    coalesce(ultima_lectura::text, '-'), dias, coalesce(dias_sin_lectura::text, '-'), coalesce(dias_en_silencio::text, '-'),
    lecturas, coalesce(consumo_total::text, '-'), coalesce(consumo_por_dia::text, '-'), coalesce(consumo_promedio::text, '-'),
    anomalias)
from marts.consumo_clientes order by propietario_id";

#[tokio::test(flavor = "multi_thread")]
async fn each_client_is_there_with_its_gaps_and_its_silence() {
    let platform = Platform::new().await;
    let messages = messages();
    Feed::new(&platform).await.send(&messages).await;

    let oracle = Oracle::of(&messages);
    let mut contracts = BTreeMap::new();
    for sent in messages.iter().filter(|sent| sent.entity == "cliente") {
        let body = body(sent);
        let (name, tariff) = (text(&body["nombre"]), text(&body["tarifa"]));
        contracts.insert(text(&body["propietario_id"]), (name, tariff));
    }
    let days = oracle.sums();
    let last_day = days.keys().map(|(_, date)| *date).max().unwrap();
    let found = oracle.anomalies();
    let everybody: BTreeSet<String> = contracts
        .keys()
        .cloned()
        .chain(days.keys().map(|(client, _)| client.clone()))
        .collect();
    let mut expected = Vec::new();
    for client in everybody {
        let (name, tariff) = contracts
            .get(&client)
            .cloned()
            .unwrap_or(("-".to_owned(), "-".to_owned()));
        let dates: Vec<NaiveDate> = days
            .keys()
            .filter(|(id, _)| *id == client)
            .map(|(_, date)| *date)
            .collect();
        let Some((first, last)) = dates.first().copied().zip(dates.last().copied()) else {
            expected.push(format!("{client} {name} {tariff} - - 0 - - 0 - - - 0"));
            continue;
        };
        // The last day of all is not over.
        let over = last_day.pred_opt().unwrap().max(last);
        let gaps = first
            .iter_days()
            .take_while(|date| *date <= over)
            .filter(|date| !dates.contains(date))
            .count();
        let silence = last
            .iter_days()
            .skip(1)
            .take_while(|date| *date < last_day)
            .count();
        let of_client = || days.iter().filter(|((id, _), _)| *id == client);
        let readings: i64 = of_client().map(|(_, (n, _))| n).sum();
        let wh: i64 = of_client().map(|(_, (_, wh))| wh).sum();
        let anomalies = found
            .iter()
            .filter(|row| row.starts_with(&format!("{client} estacional ")))
            .count();
        expected.push(format!(
            "{client} {name} {tariff} {first} {last} {} {gaps} {silence} {readings} {} {} {} {anomalies}",
            dates.len(),
            rounded(kwh(wh)),
            rounded(kwh(wh) / Decimal::from(dates.len())),
            rounded(kwh(wh) / Decimal::from(readings)),
        ));
    }
    assert_eq!(platform.texts(CLIENTS).await, expected);
    // There is one of each kind, so the comparison is worth something.
    let silent = "select count(*) from marts.consumo_clientes where ";
    for kind in [
        "lecturas = 0 and nombre is not null",
        "nombre is null and lecturas > 0",
        "dias_en_silencio > 0",
        "dias_sin_lectura > 0 and dias_en_silencio = 0",
    ] {
        let count = platform.number(&format!("{silent}{kind}")).await;
        assert_eq!(count, 1, "{kind}");
    }
}

const SPREAD: &str = "
select concat_ws(' ', mes, coalesce(tarifa, '-'), clientes, promedio, minimo, p10, mediana, p90, maximo)
from marts.consumo_distribucion order by mes, coalesce(tarifa, '-')";

#[tokio::test(flavor = "multi_thread")]
async fn the_spread_is_that_of_the_clients_and_means_say_what_is_behind_them() {
    let platform = Platform::new().await;
    let messages = messages();
    Feed::new(&platform).await.send(&messages).await;

    let mut tariffs = BTreeMap::new();
    for sent in messages.iter().filter(|sent| sent.entity == "cliente") {
        let body = body(sent);
        tariffs.insert(text(&body["propietario_id"]), text(&body["tarifa"]));
    }
    let mut months: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    for ((client, date), (_, wh)) in Oracle::of(&messages).sums() {
        let month = date.format("%Y-%m-01").to_string();
        let sums = months.entry((month, client)).or_default();
        *sums = (sums.0 + 1, sums.1 + wh);
    }
    let mut groups: BTreeMap<(String, String), Vec<Decimal>> = BTreeMap::new();
    for ((month, client), (days, wh)) in months {
        let tariff = tariffs.get(&client).cloned().unwrap_or("-".to_owned());
        let per_day = kwh(wh) / Decimal::from(days);
        groups.entry((month, tariff)).or_default().push(per_day);
    }
    let mut expected = Vec::new();
    for ((month, tariff), mut values) in groups {
        values.sort();
        let n = values.len();
        // The least value that a share of all does not exceed.
        let share = |tenths: usize| rounded(values[(tenths * n).div_ceil(10).max(1) - 1]);
        expected.push(format!(
            "{month} {tariff} {n} {} {} {} {} {} {}",
            rounded(values.iter().sum::<Decimal>() / Decimal::from(n)),
            rounded(values[0]),
            share(1),
            share(5),
            share(9),
            rounded(values[n - 1]),
        ));
    }
    assert!(expected.len() > 2, "{expected:?}");
    assert_eq!(platform.texts(SPREAD).await, expected);

    // Readings by slot and month, counted from the messages' own hours.
    let mut slots: BTreeMap<(String, String, &str), usize> = BTreeMap::new();
    for body in messages
        .iter()
        .filter(|sent| sent.entity == "lectura")
        .map(body)
    {
        let slot = match body["hora"].as_i64().unwrap() {
            0..=5 | 23 => "noche",
            18..=22 => "punta",
            _ => "valle",
        };
        let month = format!("{}-01", &text(&body["timestamp"])[..7]);
        let key = (text(&body["propietario_id"]), month, slot);
        *slots.entry(key).or_default() += 1;
    }
    let expected: Vec<_> = slots
        .into_iter()
        .map(|((client, month, slot), n)| format!("{client} {month} {slot} {n}"))
        .collect();
    let rows = "select concat_ws(' ', propietario_id, mes, franja, lecturas) from marts.consumo_franjas order by 1";
    assert_eq!(platform.texts(rows).await, expected);
    let months = "select count(*) from marts.consumo_mensual
        where num_registros <> noche_lecturas + punta_lecturas + valle_lecturas";
    assert_eq!(platform.number(months).await, 0);
    let months = "select count(*) from marts.consumo_score_mensual s join marts.consumo_mensual m using (propietario_id, mes)
        where s.lecturas = m.num_registros";
    let all = "select count(*) from marts.consumo_mensual";
    assert_eq!(platform.number(months).await, platform.number(all).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anomaly_that_was_taken_back_stays_visible_until_it_is_found_again() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let shown = "select concat_ws(' ', propietario_id, fecha, hora, consumo_kwh, tipos[1]) from marts.consumo_anomalias where principal";
    let taken_back = "select concat_ws(' ', propietario_id, fecha, hora, consumo_kwh, tipos[1]) from marts.consumo_anomalias_retiradas";
    let anomaly = ["CLI_00001 2024-02-11 13 9.000 pico_anomalo".to_owned()];

    feed.send(&story()).await;
    assert_eq!(platform.texts(shown).await, anomaly);
    assert_eq!(platform.texts(taken_back).await, [""; 0]);

    feed.send(&[peak(350, "2024-03-02T00:00:00Z")]).await;
    assert_eq!(platform.texts(shown).await, [""; 0]);
    assert_eq!(platform.texts(taken_back).await, anomaly);
    let order =
        "select count(*) from marts.consumo_anomalias_retiradas where retirada_at > detectada_at";
    assert_eq!(platform.number(order).await, 1);

    feed.send(&[peak(8_000, "2024-03-03T00:00:00Z")]).await;
    let again = ["CLI_00001 2024-02-11 13 8.000 pico_anomalo".to_owned()];
    assert_eq!(platform.texts(shown).await, again);
    assert_eq!(platform.texts(taken_back).await, [""; 0]);

    // The second time it is the second version that is kept.
    feed.send(&[peak(350, "2024-03-04T00:00:00Z")]).await;
    assert_eq!(platform.texts(taken_back).await, again);
}
