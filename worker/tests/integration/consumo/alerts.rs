//! Each anomaly that is found is published at least once, whatever crashes in between.

use acequia_net::topology::ALERTS;
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;

use super::{DOMAIN, Sent};
use crate::support::{Message, Platform};

const EARS: &str = "test.alerts";

/// Binds a queue that hears the alerts.
async fn listen(platform: &Platform) {
    let (connection, channel) = platform.channel().await;
    channel
        .queue_declare(
            EARS.into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    channel
        .queue_bind(
            EARS.into(),
            ALERTS.into(),
            "consumo.anomalia".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    acequia_net::topology::close(&connection).await;
}

/// The messages received: message id and body.
async fn heard(platform: &Platform) -> Vec<(String, Value)> {
    let (connection, channel) = platform.channel().await;
    let mut heard = Vec::new();
    while let Some(message) = channel
        .basic_get(EARS.into(), BasicGetOptions { no_ack: true })
        .await
        .unwrap()
    {
        let id = message
            .properties
            .message_id()
            .as_ref()
            .unwrap()
            .to_string();
        heard.push((id, serde_json::from_slice(&message.data).unwrap()));
    }
    acequia_net::topology::close(&connection).await;
    heard
}

fn message(sent: &Sent) -> Message {
    Message::new(DOMAIN, sent.entity, sent.body.clone()).with_id(&sent.id.to_string())
}

fn reading(day: u32, hour: u32, wh: i64, ts: &str) -> Sent {
    let at = format!("2024-02-{day:02}T{hour:02}:00:00Z");
    Sent::reading("CLI_00001", &at, (hour + 1) % 24, wh, ts)
}

/// Ten quiet days and one hour that is not.
pub(super) fn story() -> Vec<Sent> {
    let quiet = (1..=10).flat_map(|day| (0..24).map(move |hour| (day, hour)));
    quiet
        .map(|(day, hour)| {
            reading(
                day,
                hour,
                300 + i64::from(hour % 5) * 20,
                "2024-03-01T00:00:00Z",
            )
        })
        .chain([reading(11, 12, 9000, "2024-03-01T00:00:00Z")])
        .collect()
}

/// Another version of that hour.
pub(super) fn peak(wh: i64, ts: &str) -> Sent {
    reading(11, 12, wh, ts)
}

async fn waiting(platform: &Platform) -> i64 {
    platform
        .number("select count(*) from core.outbox where published_at is null")
        .await
}

async fn all_told(platform: &Platform) {
    acequia_testkit::wait_for("an empty outbox", async || Ok(waiting(platform).await == 0))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anomaly_is_published_and_taken_back() {
    let platform = Platform::new().await;
    platform.declare().await;
    listen(&platform).await;
    let worker = platform.worker(&[]);
    let story: Vec<_> = story().iter().map(message).collect();
    platform.publish_all(&story).await;
    platform.settled(i64::try_from(story.len()).unwrap()).await;
    all_told(&platform).await;
    let told = heard(&platform).await;
    assert_eq!(told.len(), 1, "{told:#?}");
    let body = &told[0].1;
    assert_eq!(body["propietario_id"], "CLI_00001");
    assert_eq!(body["estado"], "vigente");
    assert_eq!(body["tipos_anomalia"], serde_json::json!(["pico_anomalo"]));
    assert_eq!(
        (&body["hora"], &body["consumo_kwh"]),
        (&13.into(), &serde_json::json!(9.0))
    );
    assert!(
        body["evidencia"]["pico_anomalo"]["limite_kwh"]
            .as_f64()
            .unwrap()
            < 9.0
    );

    // The same again is nothing new; a correction is.
    platform.publish_all(&story[200..]).await;
    platform
        .settled_unique(i64::try_from(story.len()).unwrap())
        .await;
    platform
        .publish_all(&[message(&peak(350, "2024-03-02T00:00:00Z"))])
        .await;
    platform
        .settled_unique(i64::try_from(story.len() + 1).unwrap())
        .await;
    all_told(&platform).await;
    let told = heard(&platform).await;
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0].1["estado"], "retirada");
    worker.ready().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_mark_tells_it_again_under_the_same_id() {
    let platform = Platform::new().await;
    platform.declare().await;
    listen(&platform).await;
    let story: Vec<_> = story().iter().map(message).collect();
    platform.publish_all(&story).await;
    let mut program = platform.program_with(&[], &[("ACEQUIA_FAILPOINT", "after_confirms:1")]);
    acequia_testkit::wait_for("its death", async || Ok(program.ended().is_some()))
        .await
        .unwrap();
    assert_eq!(waiting(&platform).await, 1, "it was told, and nobody knows");
    let worker = platform.worker(&[]);
    platform
        .settled_unique(i64::try_from(story.len()).unwrap())
        .await;
    all_told(&platform).await;
    let told = heard(&platform).await;
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(told[0], told[1]);
    assert_eq!(platform.unaccounted().await, 0);
    worker.stop().await;
}

/// Rows that one worker is publishing are passed over by the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_tell_it_once() {
    let platform = Platform::new().await;
    platform.declare().await;
    listen(&platform).await;
    let workers = [platform.worker(&[]), platform.worker(&[])];
    let story: Vec<_> = story().iter().map(message).collect();
    platform.publish_all(&story).await;
    platform
        .settled_unique(i64::try_from(story.len()).unwrap())
        .await;
    all_told(&platform).await;
    assert_eq!(heard(&platform).await.len(), 1);
    for worker in workers {
        worker.stop().await;
    }
}
