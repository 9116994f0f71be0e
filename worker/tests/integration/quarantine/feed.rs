//! The feed of refused messages: a notice for the publisher of each.

use acequia_net::topology::{REJECTED, declare_kept};
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use super::{quarantine, told, too_young};
use crate::support::school::{DOMAIN, alumno, inscripcion};
use crate::support::{Message, Platform};

const EARS: &str = "test.rejected";

/// Binds a queue to routing keys.
async fn listen(platform: &Platform, keys: &str) {
    let (connection, channel) = platform.channel().await;
    declare_kept(&connection, REJECTED).await.unwrap();
    let none = FieldTable::default;
    channel
        .queue_declare(EARS.into(), QueueDeclareOptions::default(), none())
        .await
        .unwrap();
    let options = QueueBindOptions::default();
    channel
        .queue_bind(EARS.into(), REJECTED.into(), keys.into(), options, none())
        .await
        .unwrap();
    acequia_net::topology::close(&connection).await;
}

/// Waits for notices and returns routing key, id and body of each, by what they are about.
async fn heard(platform: &Platform, wanted: usize) -> Vec<(String, String, Value)> {
    let (connection, channel) = platform.channel().await;
    let mut heard = Vec::new();
    acequia_testkit::wait_for("notices of refused messages", async || {
        let options = BasicGetOptions { no_ack: true };
        while let Some(got) = channel.basic_get(EARS.into(), options).await? {
            let id = got.properties.message_id().as_ref().unwrap().to_string();
            let body: Value = serde_json::from_slice(&got.data)?;
            heard.push((got.routing_key.to_string(), id, body));
        }
        Ok(heard.len() >= wanted)
    })
    .await
    .unwrap();
    acequia_net::topology::close(&connection).await;
    heard.sort_by_key(|(_, _, body)| body["quarantine_id"].as_i64());
    heard
}

fn from(app: &str, mut message: Message) -> Message {
    message.properties = message.properties.with_app_id(app.into());
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_has_a_notice_while_the_feed_is_on() {
    let platform = Platform::new().await;
    platform.declare().await;
    listen(&platform, "#").await;
    let off = told(&platform, &["feed"], 0).await;
    assert!(
        off.as_array()
            .unwrap()
            .iter()
            .all(|feed| feed["on"] == false),
        "{off}"
    );
    let worker = platform.worker(&[]);
    worker.ready().await;

    // Before it is on nothing is kept for it.
    platform.publish_all(&[from("school", too_young(1))]).await;
    platform.settled(1).await;
    for _ in 0..2 {
        let on = ["feed", "on", "--domain", DOMAIN, "--by", "ana"];
        let feeds = told(&platform, &on, 0).await;
        let feed = feeds
            .as_array()
            .unwrap()
            .iter()
            .find(|feed| feed["domain"] == DOMAIN);
        assert_eq!(
            (&feed.unwrap()["on"], &feed.unwrap()["by"]),
            (&json!(true), &json!("ana"))
        );
    }
    let secret = "PLANTED-SECRET";
    let named = from("school", too_young(2)).with_id("grades-4711");
    let mut broken = from("school", alumno(3));
    broken.body = format!("{{\"nombre\": \"{secret}\", \"genero\": \"{secret}\"").into_bytes();
    let unknown = json!({"nombre": secret}).to_string();
    let mut nameless = Message::new(DOMAIN, "nothing", unknown);
    nameless.properties = nameless.properties.with_app_id("other".into());
    let messages = [named, alumno(4), broken, nameless];
    platform.publish_all(&messages).await;
    platform.settled(5).await;
    let notices = heard(&platform, 3).await;
    assert_eq!(notices.len(), 3, "{notices:?}");
    let find = |code: &str| {
        notices
            .iter()
            .find(|(_, _, body)| body["code"] == code)
            .unwrap_or_else(|| panic!("{code}: {notices:?}"))
    };
    let (key, _, body) = find("out_of_range");
    assert_eq!(key, "academico.alumno");
    assert_eq!(
        (
            &body["message_id"],
            &body["app_id"],
            &body["field"],
            &body["message"]
        ),
        (
            &json!("grades-4711"),
            &json!("school"),
            &json!("edad"),
            &json!("must be between 1 and 120")
        )
    );
    let row = platform
        .texts("select to_char(received_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || quarantine_id from raw.quarantine where field_path = 'edad' order by quarantine_id desc limit 1")
        .await;
    let said = format!(
        "{}{}",
        body["received_at"].as_str().unwrap(),
        body["quarantine_id"]
    );
    assert_eq!(row, [said]);
    assert_eq!(find("invalid_json").0, "academico.alumno");
    let (key, _, body) = find("unknown_entity");
    assert_eq!((key.as_str(), &body["app_id"]), (DOMAIN, &json!("other")));
    assert!(!format!("{notices:?}").contains(secret), "{notices:?}");

    // Off again: rows of quarantine leave no message.
    told(&platform, &["feed", "off", "--domain", DOMAIN], 0).await;
    platform.publish_all(&[too_young(5)]).await;
    platform.settled(6).await;
    assert_eq!(platform.number("select count(*) from core.outbox").await, 3);
    assert_eq!(
        platform
            .number("select count(*) from core.rejection_feeds where ended_at is not null")
            .await,
        1
    );
    assert_eq!(platform.unaccounted().await, 0);
    worker.stop().await;
}

/// A copy has no second row, so no second notice; a row that its merge sets aside has one.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_no_second_notice_and_an_orphan_has_one() {
    let platform = Platform::new().await;
    platform.declare().await;
    listen(&platform, "academico.*").await;
    told(&platform, &["feed", "on", "--domain", DOMAIN], 0).await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    let refused = too_young(1);
    let orphan = inscripcion(1, 1);
    platform
        .publish_all(&[refused.clone(), refused, orphan])
        .await;
    let notices = heard(&platform, 2).await;
    assert_eq!(notices.len(), 2, "{notices:?}");
    let codes: Vec<_> = notices.iter().map(|(_, _, body)| &body["code"]).collect();
    assert_eq!(codes, ["out_of_range", "orphan"]);
    let (key, _, body) = &notices[1];
    assert_eq!(key, "academico.inscripcion");
    assert_eq!(
        body["message"],
        "the row it refers to did not arrive in time"
    );
    worker.stop().await;
}

/// Notices are written with the rows, and wait for the broker as every message of the outbox does.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_survives_the_worker_that_wrote_it() {
    let platform = Platform::new().await;
    platform.declare().await;
    told(&platform, &["feed", "on", "--domain", DOMAIN], 0).await;
    platform
        .execute(
            "insert into raw.quarantine (message_id, day, batch_id, domain, entity, queue, stage, code, message, body, fingerprint)
             select gen_random_uuid(), '1970-01-01', 1, 'academico', 'alumno', 'q', 'contract', 'out_of_range', 'm', '', 'f'
             from generate_series(1, 1500)",
        )
        .await;
    assert_eq!(
        platform.number("select count(*) from core.outbox where exchange = 'acequia.rejected' and published_at is null").await,
        1500
    );
    listen(&platform, "#").await;
    // Programs of before, which know one exchange, leave them alone.
    assert_eq!(
        platform
            .number("select count(*) from core.outbox_due('academico', 10)")
            .await,
        0
    );
    let worker = platform.worker(&[]);
    let notices = heard(&platform, 1500).await;
    let ids: std::collections::BTreeSet<_> = notices.iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), 1500);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_is_used_rightly() {
    let platform = Platform::new().await;
    for arguments in [
        &["feed", "on"][..],
        &["feed", "--domain", DOMAIN],
        &["feed", "on", "--domain", "nowhere"],
        &["feed", "perhaps", "--domain", DOMAIN],
    ] {
        let done = quarantine(&platform, arguments).await;
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {done:?}");
    }
    let shown = quarantine(&platform, &["feed"]).await;
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    // The width of the column is that of the longest name.
    let words = |line: &str| line.split_whitespace().eq([DOMAIN, "off"]);
    assert!(shown.stdout.lines().any(words), "{shown:?}");
}
