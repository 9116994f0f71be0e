//! Odd properties of good and bad messages.

use std::iter::zip;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use serde_json::{Value, json};

use crate::support::school::{DOMAIN, alumno_body};
use crate::support::{Message, Platform, text};

#[tokio::test(flavor = "multi_thread")]
async fn odd_properties_do_no_harm_and_are_kept() {
    let table = |entries: Vec<(&str, AMQPValue)>| -> FieldTable {
        let entries = entries.into_iter();
        entries
            .map(|(name, value)| (ShortString::from(name), value))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into()
    };
    let nested = (0..20).fold(text("inside"), |inside, _| {
        AMQPValue::FieldTable(table(vec![("a", inside)]))
    });
    let every_type = table(vec![
        ("bool", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-1)),
        ("u8", AMQPValue::ShortShortUInt(200)),
        ("i16", AMQPValue::ShortInt(-1)),
        ("u16", AMQPValue::ShortUInt(60_000)),
        ("i32", AMQPValue::LongInt(-1)),
        ("u32", AMQPValue::LongUInt(u32::MAX)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("f64", AMQPValue::Double(1e300)),
        ("f32", AMQPValue::Float(1.5)),
        ("text", text("ñandú")),
        (
            "latin1",
            AMQPValue::LongString(LongString::from(vec![0xe9, 0x74, 0xe9])),
        ),
        ("nul", text("a\0b")),
        ("n\0l", text("in the name")),
        ("time", AMQPValue::Timestamp(u64::MAX)),
        ("void", AMQPValue::Void),
        (
            "list",
            AMQPValue::FieldArray(FieldArray::from(vec![text("a"), AMQPValue::Void])),
        ),
        (
            "table",
            AMQPValue::FieldTable(table(vec![("in", text("side"))])),
        ),
        ("bytes", AMQPValue::ByteArray(vec![0, 1, 2].into())),
        ("", text("no name")),
    ]);
    let long_id = "x".repeat(255);
    let odd: Vec<(&str, BasicProperties)> = vec![
        ("nothing", BasicProperties::default()),
        (
            "every type of header",
            BasicProperties::default().with_headers(every_type),
        ),
        (
            "tables in tables",
            BasicProperties::default().with_headers(table(vec![("deep", nested)])),
        ),
        (
            "100 kB in one header",
            BasicProperties::default()
                .with_headers(table(vec![("long", text(&"x".repeat(100_000)))])),
        ),
        (
            "an id of 255 characters",
            BasicProperties::default().with_message_id(long_id.as_str().into()),
        ),
        (
            "an empty id",
            BasicProperties::default().with_message_id("".into()),
        ),
        (
            "an id with a NUL",
            BasicProperties::default().with_message_id("a\0b".into()),
        ),
        (
            "an id of blanks",
            BasicProperties::default().with_message_id("   ".into()),
        ),
        (
            "a timestamp beyond time",
            BasicProperties::default().with_timestamp(u64::MAX),
        ),
        (
            "a publish time beyond time",
            BasicProperties::default().with_headers(table(vec![(
                "x-published-at",
                AMQPValue::LongLongInt(i64::MAX),
            )])),
        ),
        (
            "a publish time before time",
            BasicProperties::default().with_headers(table(vec![(
                "x-published-at",
                AMQPValue::LongLongInt(i64::MIN),
            )])),
        ),
        (
            "a publish time in words",
            BasicProperties::default()
                .with_headers(table(vec![("x-published-at", text("yesterday"))])),
        ),
        (
            "a type with a NUL",
            BasicProperties::default().with_type("alumno\0".into()),
        ),
        (
            "a type of another domain",
            BasicProperties::default().with_type("weather.rain".into()),
        ),
        (
            "everything else",
            BasicProperties::default()
                .with_content_type("application/json\0".into())
                .with_content_encoding("gzip".into())
                .with_priority(255)
                .with_correlation_id("c".into())
                .with_reply_to("r".into())
                .with_expiration("86400000".into())
                .with_app_id("a".into())
                .with_cluster_id("k".into()),
        ),
    ];
    let platform = Platform::new().await;
    platform.declare().await;
    let key = format!("{DOMAIN}.alumno");
    let message = |properties: &BasicProperties, body: Value| Message {
        exchange: acequia_net::topology::EXCHANGE,
        routing_key: key.clone(),
        properties: properties.clone(),
        body: body.to_string().into_bytes(),
    };
    // Each with a good body and with a bad one. Ids of good and bad messages are kept apart.
    let messages: Vec<Message> = zip(1.., &odd)
        .flat_map(|(id, (_, properties))| {
            let mut bad = alumno_body(id);
            bad["edad"] = json!(0);
            [
                message(properties, alumno_body(id)),
                message(properties, bad),
            ]
        })
        .collect();
    platform.publish_all(&messages).await;
    let worker = platform.worker(&[]);
    let count = i64::try_from(odd.len()).unwrap();
    platform.settled(2 * count).await;

    let total = platform.total().await;
    let quarantine = platform.quarantine().await;
    let others = (quarantine.iter()).filter(|row| row.reason().1 != "out_of_range");
    let others: Vec<_> = others.collect();
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (count, count, 0),
        "{others:#?}"
    );
    for (message, (what, _)) in zip(messages.chunks(2).map(|pair| &pair[1]), &odd) {
        let row = quarantine.iter().find(|row| row.body == message.body);
        let row = row.unwrap_or_else(|| panic!("{what}: not in quarantine"));
        assert_eq!(
            row.reason(),
            ("contract", "out_of_range", Some("edad")),
            "{what}"
        );
        let headers = &row.properties["headers"];
        match *what {
            "every type of header" => assert_eq!(
                *headers,
                json!({
                    "bool": true, "i8": -1, "u8": 200, "i16": -1, "u16": 60_000, "i32": -1, "u32": u32::MAX, "i64": i64::MIN,
                    "f64": 1e300, "f32": 1.5, "text": "ñandú", "latin1": "\u{fffd}t\u{fffd}", "nul": "a\u{fffd}b",
                    "n\u{fffd}l": "in the name", "time": u64::MAX, "void": null, "list": ["a", null],
                    "table": {"in": "side"}, "bytes": headers["bytes"], "": "no name",
                })
            ),
            "tables in tables" => assert!(headers["deep"].to_string().contains(r#""a""#), "{what}"),
            "100 kB in one header" => assert_eq!(headers["long"].as_str().unwrap().len(), 100_000),
            "an id of 255 characters" => assert_eq!(row.properties["message_id"], long_id),
            "an id with a NUL" => assert_eq!(row.properties["message_id"], "a\u{fffd}b"),
            _ => {}
        }
    }
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}
