//! Order and repetition do not matter: the same readings, corrections and clients in any order, in batches and
//! promotions of any size, give the same days, the same anomalies and the same marts.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::{Feed, Sent, generated};
use crate::support::Platform;

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

/// Sixteen days of ten clients, later and earlier versions of some readings, and a second version of some clients,
/// one of whom has moved to the islands.
fn messages(dice: &mut StdRng) -> Vec<Sent> {
    let mut messages = generated("--clients 20 --days 16 --suspicious 40% --seed 5");
    let mut corrections = Vec::new();
    for sent in &messages {
        if dice.random_range(0..40) > 0 {
            continue;
        }
        let mut body: Value = serde_json::from_slice(&sent.body).unwrap();
        let newer = dice.random_range(0..2) == 0;
        let ts = ["2024-01-01T00:00:00Z", "2024-10-30T00:00:00Z"][usize::from(newer)];
        body["ts"] = ts.into();
        if sent.entity == "lectura" {
            body["consumo_kwh"] = dice.random_range(0..9).into();
        } else {
            body["zona"] = "Atlantic/Canary".into();
        }
        corrections.push(Sent::new(sent.entity, &body));
    }
    messages.extend(corrections);
    messages
}

async fn outcome(platform: &Platform) -> Vec<String> {
    assert_eq!(platform.difference().await, 0);
    timeless(platform.texts(OUTCOME).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_gives_the_same_days_and_anomalies() {
    let mut dice = StdRng::seed_from_u64(17);
    let mut messages = messages(&mut dice);
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    feed.send(&messages).await;
    let expected = outcome(&platform).await;
    for kind in ["anomalia ", "dia ", "lectura "] {
        assert!(
            expected.iter().any(|row| row.starts_with(kind)),
            "no {kind}"
        );
    }
    let kinds = "select count(distinct t) from consumo.anomalias, unnest(tipos) t where modo = 'estacional'";
    assert!(
        platform.number(kinds).await >= 3,
        "too little was found to tell anything"
    );

    for round in 0..3 {
        messages.shuffle(&mut dice);
        let copies: Vec<_> = messages
            .iter()
            .filter(|_| dice.random_range(0..10) == 0)
            .cloned()
            .collect();
        let mut sent = [messages.as_slice(), &copies].concat();
        // Near their order in one round, as they come in practice; in any order in the others.
        if round == 0 {
            sent.sort_by_key(|message| message.id.as_u128() >> 74);
        }
        let platform = Platform::new().await;
        let mut feed = Feed::new(&platform).await;
        let mut rest = sent.as_slice();
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(dice.random_range(1..2500).min(rest.len()));
            feed.stage(batch).await;
            rest = more;
            if dice.random_range(0..2) == 0 {
                feed.promote(dice.random_range(1..3000)).await;
            }
        }
        feed.promote(20_000).await;
        let found = outcome(&platform).await;
        let different: Vec<_> = found
            .iter()
            .zip(&expected)
            .filter(|(found, right)| found != right)
            .take(3)
            .collect();
        assert!(
            found == expected,
            "round {round}: {} rows, expected {}: {different:#?}",
            found.len(),
            expected.len()
        );
    }
}

/// What a late reading changes is judged again, and a correction takes an anomaly back.
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
    // Older than what is there: no effect.
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
