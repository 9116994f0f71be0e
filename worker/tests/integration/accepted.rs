//! Whatever the contract takes, the tables take: values from the edges of every kind and every rule, in the
//! place of those of the valid samples, staged and merged. One row that a table refuses would stop the
//! promotion of its batch.

use std::collections::BTreeMap;

use acequia_contracts::{Context, Domain, Entity, Kind, catalog, fixtures};
use acequia_store::promotion;
use acequia_store::staging::{DecodedBatch, Store, WriteMode};
use chrono::{SecondsFormat, TimeDelta, Utc};
use lapin::BasicProperties;
use lapin::message::Delivery;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::support::Platform;

/// Messages of each entity that the contract must take.
const ENOUGH: usize = 250;
/// Maximum number of generated candidates for them.
const TRIES: usize = 20_000;

type Fields = BTreeMap<String, Box<RawValue>>;

fn samples(entity: &Entity) -> Vec<Fields> {
    let samples = fixtures::valid(entity.domain, entity.name);
    let fields = samples
        .iter()
        .map(|sample| serde_json::from_slice(sample.body));
    fields.collect::<Result<_, _>>().unwrap()
}

fn of(texts: &'static [&'static str]) -> BoxedStrategy<String> {
    select(texts).prop_map(ToOwned::to_owned).boxed()
}

fn decimals() -> BoxedStrategy<String> {
    let edges = of(&[
        "0",
        "-0",
        "-0.0",
        "0.00",
        "0.004",
        "0.005",
        "0.0005",
        "0.001",
        "1e-3",
        "5e-4",
        "9.99",
        "9.995",
        "9.999",
        "10",
        "10.00",
        "1e1",
        "10.001",
        "99.99",
        "999.999",
        "999.9995",
        "1000",
        "1000.000",
        "1e3",
        "1000.0001",
        "8.750000000000000000000000000000000000000000",
        "1e-320",
        "0e400",
    ]);
    prop_oneof![
        edges,
        "[0-9]{1,2}\\.[0-9]{1,3}",
        "(0|[1-9][0-9]{0,3})(\\.[0-9]{1,4})?"
    ]
    .boxed()
}

fn texts() -> BoxedStrategy<String> {
    let inside = prop_oneof![
        "[0-9]{4}[AB]",
        "0000A|9999B|2024A\\\\n",
        "CLI_0000[0-9]",
        "CLI_[0-9]{5,46}",
        "CLI_[0-9]{4,48}",
        "[^\"\\\\\u{0}-\u{1f}]{1,210}",
        "\\PC{1,40}".prop_map(|text| text.replace(['"', '\\'], "")),
        " {1,3}|\\\\t|\\\\u0000|\\\\ud83d\\\\ude00|\u{feff}|\u{2028}",
    ];
    inside.prop_map(|inside| format!("\"{inside}\"")).boxed()
}

fn dates() -> BoxedStrategy<String> {
    let edges = of(&[
        "\"1900-01-01\"",
        "\"1899-12-31\"",
        "\"0001-01-01\"",
        "\"9999-12-31\"",
        "\"2024-02-29\"",
        "\"2000-01-01\"",
    ]);
    let near = (-2_i64..400).prop_map(|ago| {
        let day = Utc::now().date_naive() - TimeDelta::days(ago);
        format!("\"{day}\"")
    });
    prop_oneof![
        edges,
        near,
        "\"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\""
    ]
    .boxed()
}

fn instants() -> BoxedStrategy<String> {
    // Clocks are changed on some of these days, in one zone or another; a leap second ends others.
    let day = prop_oneof![
        of(&[
            "1900-01-01",
            "1999-12-31",
            "2000-01-01",
            "2016-12-31",
            "2012-06-30",
            "2017-01-01",
            "2022-04-03",
            "2022-10-30",
            "2024-03-31",
            "2024-10-27",
            "2024-02-29",
            "2009-03-29",
            "2009-10-25",
            "0001-01-01",
            "9999-12-31",
        ]),
        (-2_i64..4000).prop_map(|ago| (Utc::now().date_naive() - TimeDelta::days(ago)).to_string()),
    ];
    let minute = of(&["00", "00", "00", "00", "30", "59", "59"]);
    let second = of(&["00", "00", "00", "00", "01", "59", "60"]);
    let fraction = of(&["", "", "", ".0", ".000000001", ".999999999999"]);
    let offset = of(&[
        "Z", "z", "+01:00", "+02:00", "-06:00", "-05:00", "+14:00", "-12:00", "+05:30", "-00:44",
        "+23:59",
    ]);
    let written = (day, 0_u32..25, minute, second, fraction, offset).prop_map(
        |(day, hour, minute, second, fraction, offset)| {
            format!("\"{day}T{hour:02}:{minute}:{second}{fraction}{offset}\"")
        },
    );
    let near = (-30_i64..26, any::<bool>()).prop_map(|(hours, whole)| {
        let at = Utc::now() + TimeDelta::hours(hours);
        let text = at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let whole_hour = format!("{}:00:00Z", text.get(..13).unwrap_or_default());
        format!("\"{}\"", if whole { whole_hour } else { text })
    });
    prop_oneof![3 => written, 1 => near].boxed()
}

/// Values for a field, as JSON: from the edges of its kind, and those of the samples.
fn values(kind: Kind, sampled: Vec<String>) -> BoxedStrategy<String> {
    let made = match kind {
        Kind::Int | Kind::BigInt => prop_oneof![
            3 => (0_i64..26).prop_map(|number| number.to_string()),
            1 => of(&["-1", "99", "100", "120", "121", "1000", "1001", "2147483647", "2147483648"]),
        ]
        .boxed(),
        Kind::Float | Kind::Decimal => decimals(),
        Kind::Bool => of(&["true", "false"]),
        Kind::Text => texts(),
        Kind::Choice => of(&["\"M\"", "\"F\"", "\" f \"", "\"m\"", "\"X\""]),
        Kind::Date => dates(),
        Kind::Timestamp => instants(),
    };
    let of_samples = select(sampled);
    prop_oneof![3 => made, 2 => of_samples, 1 => Just("null".to_owned())].boxed()
}

/// Messages of an entity that its contract takes.
fn accepted(entity: &Entity, runner: &mut TestRunner) -> Vec<String> {
    let samples = samples(entity);
    let mut of_fields = BTreeMap::new();
    for column in entity.columns {
        let sampled = samples.iter().filter_map(|sample| sample.get(column.name));
        let mut sampled: Vec<_> = sampled.map(|value| value.get().to_owned()).collect();
        sampled.push("null".to_owned());
        of_fields.insert(column.name, values(column.kind, sampled));
    }
    of_fields.insert("ts", values(Kind::Timestamp, vec!["null".to_owned()]));
    let names: Vec<_> = of_fields.keys().copied().collect();
    let changes = proptest::collection::vec(select(names), 1..4);
    let drawn = |strategy: &BoxedStrategy<String>, runner: &mut TestRunner| {
        strategy.new_tree(runner).unwrap().current()
    };
    let mut taken = Vec::new();
    for _ in 0..TRIES {
        let mut fields = select(samples.clone()).new_tree(runner).unwrap().current();
        // Keys that are numbers meet: most rows find the rows that they refer to.
        let keys = entity.columns.iter().filter(|column| {
            matches!(column.kind, Kind::Int | Kind::BigInt) && entity.key.contains(&column.name)
        });
        let number = (1_i64..60).prop_map(|number| number.to_string()).boxed();
        let mut changed: Vec<_> = keys.map(|key| (key.name, drawn(&number, runner))).collect();
        for name in changes.new_tree(runner).unwrap().current() {
            changed.push((name, drawn(&of_fields[name], runner)));
        }
        for (name, value) in changed {
            // Not every drawn text is JSON; the others are skipped here.
            if let Ok(value) = RawValue::from_string(value) {
                fields.insert(name.to_owned(), value);
            }
        }
        let body = serde_json::to_string(&fields).unwrap();
        if entity
            .decode(&body, &Context::now(), &mut entity.new_columns())
            .is_ok()
        {
            taken.push(body);
        }
        if taken.len() == ENOUGH {
            return taken;
        }
    }
    panic!(
        "{}.{}: only {} of {TRIES} are taken",
        entity.domain,
        entity.name,
        taken.len()
    );
}

/// Sends messages that the contract takes all the way, and says what PostgreSQL did not like.
async fn refused(platform: &Platform, domain: &'static Domain) -> Vec<String> {
    let mut runner = TestRunner::default();
    let queue = format!("acequia.{}", domain.name);
    let mut connection = platform.connect().await;
    let store = Store::new("test", &[domain]);
    let mut sent = 0;
    for entity in &domain.entities {
        let bodies = accepted(entity, &mut runner);
        let deliveries: Vec<Delivery> = (1..)
            .zip(&bodies)
            .map(|(tag, body)| {
                let key = format!("{}.{}", domain.name, entity.name);
                let body = body.clone().into_bytes();
                let mut delivery = Delivery::mock(tag, "acequia".into(), key.into(), false, body);
                let id = Uuid::now_v7().to_string();
                delivery.properties = BasicProperties::default().with_message_id(id.into());
                delivery
            })
            .collect();
        let mut decoded = DecodedBatch::new(domain);
        for (position, delivery) in deliveries.iter().enumerate() {
            decoded.add(position, delivery, &queue, &Context::now());
        }
        assert!(decoded.rejected.is_empty(), "{}", entity.name);
        sent += deliveries.len();
        store
            .write(
                &mut connection,
                &queue,
                &decoded,
                &deliveries,
                WriteMode::Commit,
            )
            .await
            .unwrap();
    }
    let mut why = Vec::new();
    loop {
        match promotion::promote(&mut connection, domain.name, 80_000).await {
            Ok(batches) if batches.is_empty() => break,
            Ok(_) => {}
            Err(error) => {
                why.push(error.to_string());
                break;
            }
        }
    }
    for row in platform.quarantine().await {
        let body = String::from_utf8_lossy(&row.body).into_owned();
        why.push(format!("{} {:?} {body}", row.code, row.sqlstate));
    }
    let known = "select coalesce(sum(received - staged), 0)::bigint from core.conservation";
    if platform.number(known).await != i64::try_from(sent).unwrap() {
        why.push("some are still staged".to_owned());
    }
    why
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_contract_takes_the_tables_take() {
    for domain in catalog() {
        let platform = Platform::new().await;
        let why = refused(&platform, domain).await;
        assert!(
            why.is_empty(),
            "{}: {} such as {}",
            domain.name,
            why.len(),
            why[0]
        );
        assert_eq!(platform.unaccounted().await, 0);
    }
}

/// A table that is stricter than the contract is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_stricter_is_found() {
    for (domain, stricter) in [
        (
            "consumo",
            "alter table consumo.lecturas add check (consumo_kwh < 10)",
        ),
        (
            "consumo",
            "alter table stg.consumo_lectura add check (timestamp > '2010-01-01')",
        ),
        (
            "academico",
            "alter table academico.grupos add check (fecha_inicio > '2024-12-31')",
        ),
        (
            "academico",
            "alter table stg.alumnos_upsert alter column nombre type varchar(20)",
        ),
    ] {
        let platform = Platform::new().await;
        platform.execute(stricter).await;
        let domain = acequia_contracts::domain(domain).unwrap();
        assert!(!refused(&platform, domain).await.is_empty(), "{stricter}");
    }
}
