//! Properties and routing keys that cannot be read.

use std::collections::HashMap;

use acequia_contracts::Code;
use acequia_testkit::raw::{RawMessage, RawPublisher, entry, list, long, nested, short, table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{CORRELATION_ID, HEADERS, LATIN, MESSAGE_ID, PRIORITY, TYPE};
use crate::quarantine::told;
use crate::support::school::{alumno_body, alumnos};
use crate::support::{Platform, ready};

/// A message that cannot be read, and the expected finding.
struct Case {
    message: RawMessage,
    code: Code,
    path: &'static str,
}

/// Cases by the bytes of their bodies: some have no id that can be read.
fn by_body(cases: Vec<Case>) -> HashMap<Vec<u8>, Case> {
    cases
        .into_iter()
        .map(|case| (case.message.body.clone(), case))
        .collect()
}

/// Every property and place where a text or a table stands. The broker itself refuses an expiration
/// that is no number, and a user id that is not the user's.
fn cases(exchange: &str, key: &str) -> Vec<Case> {
    let mut number = 1000;
    let mut case = |properties: &[(u8, Vec<u8>)], code, path| {
        number += 1;
        Case {
            message: RawMessage {
                exchange: exchange.into(),
                key: key.into(),
                list: list(properties),
                body: alumno_body(number).to_string().into_bytes(),
            },
            code,
            path,
        }
    };
    let text = Code::PropertyNotUtf8;
    let id = |number: u8| (MESSAGE_ID, short(format!("{key}-{number}").as_bytes()));
    let headers = |entries: &[u8]| (HEADERS, long(entries));
    let array = |items: &[u8]| [b"A".to_vec(), long(items)].concat();
    let arrays = (0..5000).fold(b"V".to_vec(), |value, _| array(&value));
    vec![
        case(&[(0, short(LATIN)), id(1)], text, "content_type"),
        case(&[(1, short(LATIN)), id(2)], text, "content_encoding"),
        case(
            &[(CORRELATION_ID, short(LATIN)), id(3)],
            text,
            "correlation_id",
        ),
        case(&[(6, short(LATIN)), id(4)], text, "reply_to"),
        case(&[(MESSAGE_ID, short(LATIN))], text, "message_id"),
        case(&[id(5), (TYPE, short(LATIN))], text, "type"),
        case(&[id(6), (12, short(LATIN))], text, "app_id"),
        case(&[id(7), (13, short(LATIN))], text, "cluster_id"),
        case(
            &[headers(&entry(LATIN, b"V")), id(8)],
            text,
            "headers.matr\u{fffd}c",
        ),
        case(
            &[headers(&entry(b"h", &table(&entry(LATIN, b"V"))))],
            text,
            "headers.h",
        ),
        case(
            &[headers(&entry(b"h", &array(&table(&entry(LATIN, b"V")))))],
            text,
            "headers.h",
        ),
        case(
            &[headers(&entry(b"h", &nested(40)))],
            Code::HeadersTooDeep,
            "headers.h",
        ),
        case(
            &[headers(&entry(b"h", &nested(2500)))],
            Code::HeadersTooDeep,
            "headers.h",
        ),
        case(
            &[headers(&entry(b"h", &nested(10_000)))],
            Code::HeadersTooDeep,
            "headers.h",
        ),
        case(
            &[headers(&entry(b"h", &arrays))],
            Code::HeadersTooDeep,
            "headers.h",
        ),
    ]
}

/// Waits until all are in, and checks each row.
async fn are_kept(platform: &Platform, cases: &HashMap<Vec<u8>, Case>, queue: &str) {
    let rows = platform.quarantine().await;
    let rows: Vec<_> = rows.iter().filter(|row| row.queue == queue).collect();
    assert_eq!(rows.len(), cases.len(), "{queue}");
    for row in rows {
        let case = &cases[&row.body];
        let expected = ("decode", case.code.as_str(), Some(case.path));
        assert_eq!(row.reason(), expected, "{queue}");
        let raw = STANDARD
            .decode(row.properties["raw"].as_str().unwrap())
            .unwrap();
        assert!(
            raw == case.message.list,
            "{queue}: property bytes of {}",
            case.path
        );
        assert_eq!(row.properties["unreadable"][0]["path"], case.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_that_cannot_be_read_cost_their_message_only() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut raw = RawPublisher::connect(&platform.broker.url).await.unwrap();
    let mut sent = 0;
    let mut expected = Vec::new();
    for (exchange, key, queue) in [
        ("acequia", "academico.alumno", "acequia.academico"),
        ("", "etl", "etl"),
        ("", "acequia.dead", "acequia.dead"),
    ] {
        let cases = cases(exchange, key);
        let neighbours = alumnos(1 + sent..61 + sent);
        sent += 60;
        // One by one among their neighbours, so that each is in the middle of a batch.
        let mut begun = 0;
        for (case, near) in cases.iter().zip(neighbours.chunks(4)) {
            platform.publish_all(near).await;
            raw.publish(std::slice::from_ref(&case.message))
                .await
                .unwrap();
            begun += near.len();
        }
        platform.publish_all(&neighbours[begun..]).await;
        expected.push((queue, by_body(cases)));
    }
    let worker = platform.program(&[]);
    let bad = expected.iter().map(|(_, cases)| cases.len());
    let total = platform
        .settled_unique(i64::from(sent) + bad.sum::<usize>() as i64)
        .await;
    assert_eq!((total.inserted, total.duplicates), (i64::from(sent), 0));
    for (queue, cases) in &expected {
        are_kept(&platform, cases, queue).await;
    }
    ready(&worker.http).await;
    let log = worker.terminate().await.stderr;
    assert!(
        !log.contains("panic") && !log.contains("ingest.interrupted"),
        "{log}"
    );
    platform.nothing_is_left_in_the_queues().await;
}

/// A pattern of a binding ends in anything, also in bytes that are no text. (Names of exchanges are checked by
/// the broker; what the guard makes of others is tested with it.)
#[tokio::test(flavor = "multi_thread")]
async fn routing_keys_that_cannot_be_read_are_kept_too() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut raw = RawPublisher::connect(&platform.broker.url).await.unwrap();
    let message = RawMessage {
        exchange: b"acequia".to_vec(),
        key: b"academico.alum\xfeo".to_vec(),
        list: list(&[(MESSAGE_ID, short(b"row-1")), (TYPE, short(b"alumno"))]),
        body: alumno_body(1).to_string().into_bytes(),
    };
    raw.publish(std::slice::from_ref(&message)).await.unwrap();
    platform.publish_all(&alumnos(2..52)).await;
    let worker = platform.worker(&[]);
    let total = platform.settled_unique(51).await;
    assert_eq!((total.inserted, total.quarantined), (50, 1));
    let rows = platform.quarantine().await;
    let code = Code::PropertyNotUtf8.as_str();
    assert_eq!(rows[0].reason(), ("decode", code, Some("routing_key")));
    assert_eq!(rows[0].body, message.body);
    let unreadable = &rows[0].properties["unreadable"][0];
    assert_eq!(unreadable["path"], "routing_key");
    let bytes = STANDARD
        .decode(unreadable["base64"].as_str().unwrap())
        .unwrap();
    assert_eq!(bytes, message.key);

    // Sent again it comes by a way that can be written, and the command says so.
    let report = told(&platform, &["replay", "--code", code], 0).await;
    let counts = (&report["replayed"], &report["incomplete"]);
    assert_eq!(counts, (&json!(1), &json!(1)));
    assert_eq!(report["left_out"][0]["properties"], json!(["routing_key"]));
    platform.settled(52).await;
    assert_eq!(platform.total().await.inserted, 51);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_sent_again_of_a_message_is_and_the_rest_is_said() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut raw = RawPublisher::connect(&platform.broker.url).await.unwrap();
    let kept = entry(b"kept", b"T\0\0\0\0\x65\x53\xf1\0");
    let properties = [
        (
            HEADERS,
            long(&[kept, entry(LATIN, b"V"), entry(b"b", b"x\0\0\0\x01\xff")].concat()),
        ),
        (PRIORITY, vec![7]),
        (CORRELATION_ID, short(LATIN)),
        (7, short(b"3600000")),
        (MESSAGE_ID, short(b"row-1")),
    ];
    let message = RawMessage {
        exchange: b"acequia".to_vec(),
        key: b"academico.alumno".to_vec(),
        list: list(&properties),
        body: alumno_body(1).to_string().into_bytes(),
    };
    raw.publish(&[message]).await.unwrap();
    let worker = platform.worker(&[]);
    platform.settled(1).await;
    worker.stop().await;
    let report = told(&platform, &["replay", "--id", "row-1"], 0).await;
    let left_out = json!(["headers.matr\u{fffd}c", "correlation_id"]);
    assert_eq!(report["left_out"][0]["properties"], left_out);
    // As the broker has it now.
    let (connection, channel) = platform.channel().await;
    let options = lapin::options::BasicGetOptions::default();
    let got = channel
        .basic_get("acequia.academico".into(), options)
        .await
        .unwrap()
        .unwrap();
    let properties = &got.delivery.properties;
    assert_eq!(properties.priority(), &Some(7));
    assert_eq!(
        properties.expiration().as_ref().unwrap().as_str(),
        "3600000"
    );
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "row-1");
    assert_eq!(properties.correlation_id(), &None);
    let headers = properties.headers().as_ref().unwrap().inner();
    use lapin::types::AMQPValue;
    assert_eq!(
        headers.get("kept"),
        Some(&AMQPValue::Timestamp(0x6553_f100))
    );
    assert_eq!(
        headers.get("b"),
        Some(&AMQPValue::ByteArray(vec![0xff].into()))
    );
    let options = lapin::options::BasicRejectOptions { requeue: true };
    got.delivery.acker.reject(options).await.unwrap();
    acequia_net::topology::close(&connection).await;
    let worker = platform.worker(&[]);
    let total = platform.settled_unique(2).await;
    assert_eq!((total.inserted, total.quarantined), (1, 1));
    worker.stop().await;
}
