//! Every rule of the domain passes when all is well, fails for what it is there for, and passes again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{DOMAIN, Feed, Sent, body, generated};
use crate::support::Platform;

/// The trouble that a rule finds, and its repair.
enum Trouble {
    Said(Vec<Sent>, Vec<Sent>),
    Done(&'static str, &'static str),
}

/// Days of the load, from the 2nd of September on.
const DAYS: u32 = 15;

/// Readings of a day again, as told later.
fn again(readings: &[Sent], day: &str, later: &str, change: impl Fn(&mut Value)) -> Vec<Sent> {
    let of_day = readings.iter().map(body).filter(|body| {
        body["timestamp"]
            .as_str()
            .is_some_and(|at| at.starts_with(day))
    });
    let told = of_day.map(|mut body| {
        body["ts"] = later.into();
        change(&mut body);
        Sent::new("lectura", &body)
    });
    told.collect()
}

const LATER: &str = "2024-10-01T00:00:00Z";
const LATEST: &str = "2024-10-02T00:00:00Z";

fn troubles(readings: &[Sent]) -> Vec<(&'static str, Trouble)> {
    let again =
        |day: &str, later: &str, change: &dyn Fn(&mut Value)| again(readings, day, later, change);
    // A client who came on the 2nd and of whom one hour a day is known, and then the rest.
    let newcomer = |known: &dyn Fn(u32, u32) -> bool| -> Vec<Sent> {
        (2..=15)
            .flat_map(|day| (0..24).map(move |hour| (day, hour)))
            .filter(|(day, hour)| known(*day, *hour))
            .map(|(day, hour)| {
                let at = format!("2024-09-{day:02}T{hour:02}:00:00+02:00");
                Sent::reading("CLI_00900", &at, hour, 300, LATER)
            })
            .collect()
    };
    let hour_of = |kwh: f64, later: &str, tarifa: &str| {
        let client =
            json!({"propietario_id": "CLI_00001", "nombre": "A", "tarifa": tarifa, "ts": later});
        let mut reading = body(&Sent::reading(
            "CLI_00001",
            "2024-09-15T12:00:00+02:00",
            12,
            0,
            later,
        ));
        reading["consumo_kwh"] = kwh.into();
        vec![
            Sent::new("lectura", &reading),
            Sent::new("cliente", &client),
        ]
    };
    let few = again("2024-09-16", LATER, &|body| {
        body["timestamp"] = body["timestamp"]
            .as_str()
            .unwrap()
            .replace("09-16", "09-18")
            .into();
    });
    let next = again("2024-09-16", LATER, &|body| {
        body["timestamp"] = body["timestamp"]
            .as_str()
            .unwrap()
            .replace("09-16", "09-17")
            .into();
    });
    vec![
        (
            "lecturas_complete",
            Trouble::Said(
                newcomer(&|_, hour| hour == 3),
                newcomer(&|_, hour| hour != 3),
            ),
        ),
        (
            "lecturas_contradicted",
            Trouble::Said(
                again("2024-09-10", LATER, &|body| {
                    body["consumo_kwh"] = 0.5.into();
                }),
                // The truth again, and nothing else: what was received stays received.
                vec![],
            ),
        ),
        (
            "lecturas_not_negative",
            Trouble::Done(
                "update consumo.dias set minimo = minimo - 1000000 where (propietario_id, fecha) = ('CLI_00001', '2024-09-14')",
                "update consumo.dias set minimo = minimo + 1000000 where (propietario_id, fecha) = ('CLI_00001', '2024-09-14')",
            ),
        ),
        (
            "lecturas_not_absurd",
            // Consumption that no home reaches is ordinary in a factory.
            Trouble::Said(
                hour_of(60.0, LATER, "2.0TD"),
                hour_of(60.0, LATEST, "3.0TD"),
            ),
        ),
        (
            "lecturas_clock",
            Trouble::Said(
                again("2024-09-11", LATER, &|body| {
                    body["hora"] = ((body["hora"].as_i64().unwrap() + 1) % 24).into();
                }),
                again("2024-09-11", LATEST, &|_| ()),
            ),
        ),
        (
            "deteccion_precision",
            Trouble::Said(
                again("2024-09-15", LATER, &|body| {
                    body["consumo_kwh"] = if body["hora"] == 12 {
                        15.0.into()
                    } else {
                        0.3.into()
                    };
                    body["anomalia_esperada"] = false.into();
                    body["tipo_anomalia"] = Value::Null;
                }),
                again("2024-09-15", LATEST, &|_| ()),
            ),
        ),
        // The day before the last has two readings, then all of them.
        (
            "lecturas_volume",
            Trouble::Said([&few[..], &next[..2]].concat(), next),
        ),
        (
            "anomalias_have_days",
            Trouble::Done(
                "create table public.kept as select * from consumo.dias where fecha = '2024-09-14';
                 delete from consumo.dias where fecha = '2024-09-14'",
                "insert into consumo.dias select * from public.kept",
            ),
        ),
        (
            "consumo_recency",
            Trouble::Done(
                "update core.batches set received_at = received_at - interval '2 days'",
                "update core.batches set received_at = received_at + interval '2 days'",
            ),
        ),
        (
            "consumo_conservation",
            Trouble::Done(
                "alter table core.batch_entities drop constraint every_message_is_accounted_for;
                 alter table core.settled_totals drop constraint every_message_is_accounted_for;
                 update core.batch_entities set received = received + 1",
                "update core.batch_entities set received = received - 1",
            ),
        ),
        (
            "consumo_alerts_leave",
            Trouble::Done(
                "update core.outbox set created_at = created_at - interval '11 minutes'",
                "update core.outbox set published_at = now()",
            ),
        ),
    ]
}

async fn outcome(platform: &Platform, rule: &str) -> String {
    let results = acequia_store::quality::check(
        &mut platform.connect().await,
        DOMAIN,
        std::time::Duration::from_secs(60),
    )
    .await;
    let results = results.unwrap();
    let found = results.into_iter().find(|result| result.rule == rule);
    found.unwrap().outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_fails_for_its_reason_and_passes_again() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let messages = generated(&format!("--clients 12 --days {DAYS} --suspicious 34"));
    feed.send(&messages).await;
    let results = acequia_store::quality::check(
        &mut platform.connect().await,
        DOMAIN,
        std::time::Duration::from_secs(60),
    )
    .await;
    for result in results.unwrap() {
        assert_eq!(result.outcome, "pass", "{result:?}");
    }
    let readings: Vec<_> = messages
        .into_iter()
        .filter(|sent| sent.entity == "lectura")
        .collect();
    let mut tried = BTreeSet::new();
    for (rule, trouble) in troubles(&readings) {
        let failed = match &trouble {
            Trouble::Said(wrong, _) => {
                feed.send(wrong).await;
                outcome(&platform, rule).await
            }
            Trouble::Done(wrong, _) => {
                platform.execute(wrong).await;
                outcome(&platform, rule).await
            }
        };
        assert!(
            ["warn", "fail"].contains(&failed.as_str()),
            "{rule}: {failed}"
        );
        match &trouble {
            Trouble::Said(_, right) if right.is_empty() => {
                let rows = "delete from stg.consumo_lectura where event_at = '2024-10-01'";
                platform.execute(rows).await;
            }
            Trouble::Said(_, right) => feed.send(right).await,
            Trouble::Done(_, right) => platform.execute(right).await,
        }
        assert_eq!(outcome(&platform, rule).await, "pass", "{rule}");
        tried.insert(rule.to_owned());
    }
    let rules = format!("select rule from core.dq_rules where domain = '{DOMAIN}' and enabled");
    let rules: BTreeSet<_> = platform.texts(&rules).await.into_iter().collect();
    assert_eq!(
        tried, rules,
        "rules that are tried here, and rules that are there"
    );
}
