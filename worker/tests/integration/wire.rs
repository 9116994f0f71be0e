//! What only a publisher with frames of its own can send: properties that no library reads. It costs
//! itself only, whatever queue it comes by, and nothing of it is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use acequia_contracts::Code;
use acequia_testkit::raw::{RawMessage, RawPublisher, entry, list, long, nested, short, table};
use acequia_testkit::wait_within;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::quarantine::told;
use crate::support::school::{DOMAIN, alumno_body, alumnos};
use crate::support::{Platform, ready};

/// Text that is no UTF-8.
const LATIN: &[u8] = b"matr\xedc";
/// Places of properties in a list.
const HEADERS: u8 = 2;
const PRIORITY: u8 = 4;
const CORRELATION_ID: u8 = 5;
const MESSAGE_ID: u8 = 8;
const TYPE: u8 = 10;

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

/// Publishers may write any header, also those by which the platform and the broker tell something.
#[tokio::test(flavor = "multi_thread")]
async fn forged_headers_are_not_believed() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut raw = RawPublisher::connect(&platform.broker.url).await.unwrap();
    let count = entry(b"x-delivery-count", b"l\0\0\0\0\0\0\0\x63");
    let messages: Vec<RawMessage> = (0..500)
        .map(|id| RawMessage {
            exchange: b"acequia".to_vec(),
            key: format!("{DOMAIN}.alumno").into_bytes(),
            list: list(&[
                (HEADERS, long(&count)),
                (MESSAGE_ID, short(format!("row-{id}").as_bytes())),
            ]),
            body: alumno_body(id + 1).to_string().into_bytes(),
        })
        .collect();
    raw.publish(&messages).await.unwrap();
    let worker = platform.worker(&[]);
    let total = platform.settled_unique(500).await;
    assert_eq!((total.inserted, total.quarantined), (500, 0));
    // One alone each time would be as many batches as messages.
    let batches = platform.number("select count(*) from core.batches").await;
    assert!(batches < 100, "{batches} batches");
    worker.stop().await;
}

/// Each entry is a byte or two on the wire and a hundred in memory.
#[tokio::test(flavor = "multi_thread")]
async fn headers_count_as_what_they_take_in_memory() {
    const COUNT: i32 = 60;
    let platform = Platform::new().await;
    platform.declare().await;
    let mut raw = RawPublisher::connect(&platform.broker.url).await.unwrap();
    let many = [b"A".to_vec(), long(&vec![b'V'; 100_000])].concat();
    let messages: Vec<RawMessage> = (0..COUNT)
        .map(|id| RawMessage {
            exchange: b"acequia".to_vec(),
            key: format!("{DOMAIN}.alumno").into_bytes(),
            list: list(&[
                (HEADERS, long(&entry(b"h", &many))),
                (MESSAGE_ID, short(format!("row-{id}").as_bytes())),
            ]),
            body: alumno_body(id + 10_000).to_string().into_bytes(),
        })
        .collect();
    // Small ones first, which widen the window.
    platform.publish_all(&alumnos(1..301)).await;
    raw.publish(&messages).await.unwrap();
    let worker = platform.program(&["--in-flight-bytes", "16777216"]);
    wait_within(Duration::from_secs(300), "all of them", async || {
        Ok(platform.total().await.inserted == 300 + i64::from(COUNT))
    })
    .await
    .unwrap();
    let peak = worker.peak_memory();
    assert!(peak < 200 << 20, "{peak} bytes at its peak");
    worker.terminate().await;
}

/// Values of a header as `show` tells them.
#[tokio::test(flavor = "multi_thread")]
async fn headers_of_quarantined_messages_are_told_as_values() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut raw = RawPublisher::connect(&platform.broker.url).await.unwrap();
    let headers = [
        entry(b"decimal", b"D\x02\0\0\x04\xd2"),
        entry(b"bytes", b"x\0\0\0\x02\xff\xfe"),
        entry(b"list", &[b"A".to_vec(), long(b"t\x01V")].concat()),
        entry(b"double", b"d\x3f\xf8\0\0\0\0\0\0"),
    ];
    raw.publish(&[RawMessage {
        exchange: b"acequia".to_vec(),
        key: b"academico.alumno".to_vec(),
        list: list(&[
            (HEADERS, long(&headers.concat())),
            (PRIORITY, vec![3]),
            (MESSAGE_ID, short(b"row-1")),
        ]),
        body: b"not JSON".to_vec(),
    }])
    .await
    .unwrap();
    let worker = platform.worker(&[]);
    platform.settled(1).await;
    worker.stop().await;
    let shown: Value = told(&platform, &["show", "--id", "row-1"], 0).await;
    let properties = &shown[0]["properties"];
    let expected =
        json!({"decimal": "1234e-2", "bytes": "//4=", "list": [true, null], "double": 1.5});
    assert_eq!(
        (&properties["headers"], &properties["priority"]),
        (&expected, &json!(3))
    );
}

/// A way to the broker that is cut whenever a message comes along it, while `cuts` holds: what a message
/// does to a library that cannot read it.
async fn way(listener: TcpListener, broker: u16, cuts: Arc<AtomicBool>) {
    loop {
        let (ours, _) = listener.accept().await.unwrap();
        let theirs = TcpStream::connect(("127.0.0.1", broker)).await.unwrap();
        let cuts = cuts.clone();
        tokio::spawn(async move {
            let (mut from_worker, mut to_worker) = ours.into_split();
            let (mut from_broker, mut to_broker) = theirs.into_split();
            let up = tokio::io::copy(&mut from_worker, &mut to_broker);
            let down = async {
                let mut piece = [0; 4096];
                loop {
                    let length = from_broker.read(&mut piece).await?;
                    // The name of the method basic.deliver.
                    let delivers = piece[..length]
                        .windows(4)
                        .position(|name| name == [0, 60, 0, 60])
                        .filter(|_| cuts.load(Ordering::Relaxed));
                    if let Some(at) = delivers {
                        // All but its frame: that the worker consumes is what it hears last.
                        let before = at.saturating_sub(7);
                        to_worker.write_all(&piece[..before]).await?;
                        to_worker.flush().await?;
                    }
                    if length == 0 || delivers.is_some() {
                        return std::io::Result::Ok(());
                    }
                    to_worker.write_all(&piece[..length]).await?;
                }
            };
            tokio::select! {
                _ = up => {}
                _ = down => {}
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_lost_again_and_again_is_not_ready() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..51)).await;
    let mut url: url::Url = platform.broker.url.parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicBool::new(true));
    tokio::spawn(way(listener, url.port().unwrap(), cuts.clone()));
    url.set_port(Some(port)).unwrap();
    let options = ["--stall-after", "6s"];
    let worker = platform.worker_by(&platform.database.worker, url.as_str(), &options);
    let lost = async || {
        let (_, page) = crate::support::get(&worker.http, "/metrics").await;
        let lost = page.lines().filter(|line| {
            // Cut before it was told that it consumes, or after.
            (line.starts_with("acequia_amqp_disconnects_total")
                || line.starts_with("acequia_amqp_connection_attempts_total{outcome=\"failure\""))
                && line.contains("acequia.academico")
        });
        let times = lost.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        times.sum::<f64>()
    };
    // Each attempt begins well, and nothing is ever done.
    let minute = Duration::from_secs(60);
    wait_within(minute, "a lane that is lost again and again", async || {
        Ok(lost().await > 2.0)
    })
    .await
    .unwrap();
    let reason = worker.not_ready("ingest").await;
    assert!(
        reason.contains("broker") || reason.contains("connection"),
        "{reason}"
    );
    // It stays so, however often it begins well.
    let (before, ready) = (lost().await, std::sync::atomic::AtomicUsize::new(0));
    wait_within(minute, "more losses", async || {
        let (status, _) = crate::support::get(&worker.http, "/readyz").await;
        ready.fetch_add(usize::from(status == 200), Ordering::Relaxed);
        Ok(lost().await > before + 2.0)
    })
    .await
    .unwrap();
    assert_eq!(ready.load(Ordering::Relaxed), 0, "looks that say ready");
    cuts.store(false, Ordering::Relaxed);
    let total = platform.settled_unique(50).await;
    assert_eq!(total.inserted, 50);
    worker.ready().await;
    worker.stop().await;
}
