//! Values of every kind that a field can have come out of PostgreSQL as the message wrote them.

use acequia_contracts::{Code, Context, Date, Domain, ExactDecimal, Instant, message};
use acequia_store::staging::{DecodedBatch, Store, WriteMode, Written};
use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, TimeDelta, Utc};
use lapin::BasicProperties;
use lapin::message::Delivery;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::Platform;

message! {
    entity "sample", staging "stg.samples", merge "sample.merge_samples", core "sample.samples",
    key ["number"];

    /// One field of every kind, without any rule.
    pub struct Sample {
        /// Tells the rows apart.
        pub number: i32,
        /// `integer`
        pub int: Option<i32>,
        /// `bigint`
        pub big: Option<i64>,
        /// `double precision`
        pub float: Option<f64>,
        /// `boolean`
        pub flag: Option<bool>,
        /// `text`
        pub words: Option<String>,
        /// `numeric`
        pub exact: Option<ExactDecimal>,
        /// `date`
        pub date: Option<Date>,
        /// `timestamptz`
        pub instant: Option<Instant>,
    }
}

const TABLE: &str = "create table stg.samples (
    like core.staging_envelope including defaults,
    number integer not null, int integer, big bigint, float double precision, flag boolean, words text,
    exact numeric, date date, instant timestamptz
) partition by range (day);
select core.prepare_staging('stg.samples');
insert into core.entities (domain, entity, position, staging, merge, core_table, key_columns, fields)
values ('sample', 'sample', 1, 'stg.samples', 'sample.merge_samples', 'sample.samples', '{number}', '{}')";

/// Each value in a form that leaves nothing to the client's decoder.
const STORED: &str =
    "select number, int::text, big::text, float8send(float), flag::text, convert_to(words, 'UTF8'),
    exact::text, date - date '2000-01-01',
    (extract(epoch from instant) * 1000000)::numeric(30, 0)::text
from stg.samples order by number";

/// A row of [`STORED`].
#[derive(Debug, Clone, PartialEq, sqlx_macros::FromRow)]
struct Stored(
    i32,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<String>,
    Option<Vec<u8>>,
    Option<String>,
    Option<i32>,
    Option<String>,
);

/// A field as it is written in JSON, and as it must be stored.
type Field<T> = (String, Option<T>);

fn field<S: Strategy + 'static, T: std::fmt::Debug + Clone + 'static>(
    values: S,
    json: fn(&S::Value) -> String,
    stored: fn(&S::Value) -> T,
) -> BoxedStrategy<Field<T>>
where
    S::Value: Clone,
{
    option::weighted(0.9, values)
        .prop_map(move |value| match value {
            Some(value) => (json(&value), Some(stored(&value))),
            None => ("null".to_owned(), None),
        })
        .boxed()
}

fn quoted(text: impl Into<Value>) -> String {
    text.into().to_string()
}

fn decimals() -> impl Strategy<Value = (Decimal, String)> {
    let mantissa = prop_oneof![
        any::<i64>().prop_map(i128::from),
        -79_228_162_514_264_337_593_543_950_335_i128..=79_228_162_514_264_337_593_543_950_335,
        (0_u32..28).prop_map(|power| 10_i128.pow(power)),
        Just(0),
    ];
    (mantissa, 0_u32..=28, 0_usize..3).prop_map(|(mantissa, scale, spelling)| {
        let decimal = Decimal::from_i128_with_scale(mantissa, scale);
        let text = match spelling {
            0 => decimal.to_string(),
            1 => decimal.normalize().to_string(),
            _ => format!("{mantissa}e-{scale}"),
        };
        (decimal, text)
    })
}

/// Days that can be written.
fn dates() -> impl Strategy<Value = NaiveDate> {
    let days = |year, month, day| {
        let date = NaiveDate::from_ymd_opt(year, month, day).unwrap();
        date.num_days_from_ce()
    };
    let (first, last) = (days(1, 1, 1), days(9999, 12, 31));
    let day = prop_oneof![
        first..=last,
        days(1890, 1, 1)..800_000,
        Just(first),
        Just(last),
    ];
    day.prop_map(|day| NaiveDate::from_num_days_from_ce_opt(day).unwrap())
}

fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    (dates(), 0_i64..86_400_000_000).prop_map(|(date, micros)| {
        date.and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::microseconds(micros)
    })
}

/// The fields of a message without its number, and the row that it must become.
fn sample() -> impl Strategy<Value = (String, Stored)> {
    let ints = prop_oneof![any::<i32>(), Just(i32::MIN), Just(i32::MAX), Just(0)];
    let bigs = prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
    let floats = prop_oneof![
        any::<f64>().prop_filter("JSON has no other", |float| float.is_finite()),
        prop::sample::select(&[0.0, -0.0, 5e-324, f64::MAX, f64::MIN, 0.1][..]),
    ];
    (
        field(ints, ToString::to_string, ToString::to_string),
        field(bigs, ToString::to_string, ToString::to_string),
        field(
            (floats, any::<bool>()),
            |(float, short)| {
                if *short {
                    format!("{float:e}")
                } else {
                    format!("{float:.17e}")
                }
            },
            |(float, _)| float.to_be_bytes().to_vec(),
        ),
        field(any::<bool>(), ToString::to_string, ToString::to_string),
        field(
            "[^\0]{0,40}",
            |words| quoted(words.as_str()),
            |words| words.clone().into_bytes(),
        ),
        field(
            decimals(),
            |(_, text)| text.clone(),
            |(exact, _)| exact.normalize().to_string(),
        ),
        field(
            dates(),
            |date| quoted(date.to_string()),
            |date| days_since_2000(*date),
        ),
        field(
            instants(),
            |instant| quoted(instant.to_rfc3339_opts(SecondsFormat::Micros, true)),
            |instant| instant.timestamp_micros().to_string(),
        ),
    )
        .prop_map(|(int, big, float, flag, words, exact, date, instant)| {
            let fields = [
                ("int", int.0),
                ("big", big.0),
                ("float", float.0),
                ("flag", flag.0),
                ("words", words.0),
                ("exact", exact.0),
                ("date", date.0),
                ("instant", instant.0),
            ];
            let json = fields
                .map(|(name, json)| format!(",\"{name}\":{json}"))
                .concat();
            let stored = Stored(
                0, int.1, big.1, float.1, flag.1, words.1, exact.1, date.1, instant.1,
            );
            (json, stored)
        })
}

fn days_since_2000(date: NaiveDate) -> i32 {
    date.num_days_from_ce()
        - NaiveDate::from_ymd_opt(2000, 1, 1)
            .unwrap()
            .num_days_from_ce()
}

/// A domain that no catalog has, with its staging table.
struct Bench {
    platform: Platform,
    connection: PgConnection,
    domain: &'static Domain,
}

impl Bench {
    async fn new() -> Self {
        let platform = Platform::new().await;
        platform.execute(TABLE).await;
        Self {
            connection: platform.connect().await,
            platform,
            domain: Box::leak(Box::new(Domain::new("sample").entity::<Sample>())),
        }
    }

    /// Decodes and writes bodies as one batch; their numbers are their positions.
    async fn write(&mut self, fields: &[&str]) -> Written {
        let mut decoded = DecodedBatch::new(self.domain);
        let mut deliveries = Vec::new();
        for (position, fields) in fields.iter().enumerate() {
            let body = format!("{{\"number\":{position}{fields}}}");
            let key = "sample.sample".into();
            let mut delivery = Delivery::mock(1, "acequia".into(), key, false, body.into());
            let id = Uuid::now_v7().to_string();
            delivery.properties = BasicProperties::default().with_message_id(id.into());
            decoded.add(position, &delivery, "acequia.sample", &Context::now());
            deliveries.push(delivery);
        }
        Store::new("test", &[self.domain])
            .write(
                &mut self.connection,
                "acequia.sample",
                &decoded,
                &deliveries,
                WriteMode::Commit,
            )
            .await
            .unwrap()
    }

    async fn stored(&mut self) -> Vec<Stored> {
        sqlx::query_as(STORED)
            .fetch_all(&mut self.connection)
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_kind_are_stored_as_they_were_written() {
    let mut bench = Bench::new().await;
    let samples = prop::collection::vec(sample(), 4000);
    let samples = samples
        .new_tree(&mut TestRunner::default())
        .unwrap()
        .current();
    let bodies: Vec<_> = samples.iter().map(|(fields, _)| fields.as_str()).collect();
    bench.write(&bodies).await;
    let refused = bench.platform.quarantine().await;
    assert!(
        refused.is_empty(),
        "{:?} {}",
        refused[0],
        String::from_utf8_lossy(&refused[0].body)
    );

    let stored = bench.stored().await;
    assert_eq!(stored.len(), samples.len());
    for ((number, (fields, expected)), found) in (0..).zip(&samples).zip(&stored) {
        let mut expected = expected.clone();
        expected.0 = number;
        assert_eq!(found, &expected, "{fields}");
    }
}

/// More digits than microseconds are cut off; an offset is reckoned with.
#[tokio::test(flavor = "multi_thread")]
async fn instants_are_kept_to_the_microsecond() {
    let mut bench = Bench::new().await;
    let instants = [
        ("2024-06-10T18:20:00.123456789+02:00", "1718036400123456"),
        ("2024-06-10T16:20:00.9999999Z", "1718036400999999"),
        ("2024-02-29T00:30:00-06:00", "1709188200000000"),
        ("2016-12-31T23:59:60Z", "1483228800000000"),
    ];
    let bodies = instants.map(|(written, _)| format!(",\"instant\":\"{written}\""));
    bench.write(&bodies.each_ref().map(String::as_str)).await;
    let stored = bench.stored().await;
    assert_eq!(stored.len(), instants.len());
    for ((written, micros), found) in instants.iter().zip(stored) {
        assert_eq!(found.8.as_deref(), Some(*micros), "{written}");
    }
}

/// A table that is stricter than the contract keeps out what it does not like, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_cannot_hold_is_refused_alone() {
    let mut bench = Bench::new().await;
    let stricter = "alter table stg.samples add constraint recent check (date >= '1900-01-01'), alter column words type varchar(5)";
    bench.platform.execute(stricter).await;
    let refused = [
        (",\"date\":\"1899-12-31\"", "23514"),
        (",\"date\":\"0001-01-01\"", "23514"),
        (",\"words\":\"sesenta\"", "22001"),
    ];
    let kept = [",\"date\":\"1900-01-01\"", ",\"words\":\"seis\"", ""];
    let middle = refused.iter().map(|(fields, _)| *fields);
    let bodies: Vec<_> = kept.into_iter().chain(middle).chain(kept).collect();
    let written = bench.write(&bodies).await;
    let counts = written.counts[0].1;
    assert_eq!(
        (counts.received, counts.staged, counts.quarantined),
        (9, 6, 3)
    );
    let numbers: Vec<_> = bench.stored().await.iter().map(|row| row.0).collect();
    assert_eq!(numbers, [0, 1, 2, 6, 7, 8]);
    let mut states: Vec<_> = Vec::new();
    for row in bench.platform.quarantine().await {
        assert_eq!(row.code, Code::RefusedByDatabase.as_str());
        states.extend(row.sqlstate);
    }
    states.sort();
    let mut expected = refused.map(|(_, state)| state.to_owned());
    expected.sort();
    assert_eq!(states, expected);
}
