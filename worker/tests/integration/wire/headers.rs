//! Headers: forged ones, large ones, and how they are shown.

use std::time::Duration;

use acequia_testkit::raw::{RawMessage, RawPublisher, entry, list, long, short};
use acequia_testkit::wait_within;
use serde_json::{Value, json};

use super::{HEADERS, MESSAGE_ID, PRIORITY};
use crate::quarantine::told;
use crate::support::Platform;
use crate::support::school::{DOMAIN, alumno_body, alumnos};

/// Publishers may set any header, even one that the platform or the broker uses.
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

/// Values of a header as `show` prints them.
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
