//! Messages that are confirmed, that come back, that are refused.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::support::{Broker, all_keys, domain, id, some_messages};
use acequia_publisher::{Outgoing, Publisher, Settings, Summary, broker_url};
use chrono::Utc;
use lapin::types::AMQPValue;

async fn send(broker: &Broker, settings: Settings, messages: Vec<Outgoing>) -> Summary {
    let url = broker_url(broker.url()).unwrap();
    let mut publisher = Publisher::connect_with(url, settings).await.unwrap();
    let summary = publisher.send_all(messages).await;
    publisher.close().await;
    summary
}

fn labels(messages: &[Outgoing]) -> BTreeMap<&str, u64> {
    let mut labels = BTreeMap::new();
    for message in messages {
        *labels.entry(message.route.label.as_str()).or_insert(0) += 1;
    }
    labels
}

#[tokio::test]
async fn every_message_arrives_with_its_properties() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let messages = some_messages(&["--invalid", "2", "--duplicates", "5"]);
    let begun = Utc::now().timestamp_micros();
    let summary = send(&broker, Settings::default(), messages.clone()).await;

    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(summary.confirmed, messages.len() as u64);
    assert_eq!(
        (summary.returned, summary.nacked, summary.retried),
        (0, 0, 0)
    );
    let confirmed: BTreeMap<_, _> = summary
        .entities
        .iter()
        .map(|(label, counts)| (label.as_str(), counts.confirmed))
        .collect();
    assert_eq!(confirmed, labels(&messages));

    let deliveries = broker.drain("all").await;
    assert_eq!(deliveries.len(), messages.len());
    for (sent, got) in messages.iter().zip(&deliveries) {
        assert_eq!(got.data, sent.body);
        assert_eq!(got.routing_key.as_str(), sent.route.label);
        let properties = &got.properties;
        assert_eq!(id(got), sent.id.unwrap().to_string());
        assert_eq!(
            properties.kind().as_ref().unwrap().as_str(),
            sent.route.label
        );
        assert_eq!(properties.delivery_mode(), &Some(2));
        assert_eq!(
            properties.content_type().as_ref().unwrap().as_str(),
            "application/json"
        );
        assert_eq!(
            properties.app_id().as_ref().unwrap().as_str(),
            "acequia-publisher"
        );
        let headers = properties.headers().as_ref().unwrap().inner();
        let Some(AMQPValue::LongLongInt(published)) = headers.get("x-published-at") else {
            panic!("{headers:?}");
        };
        assert!((begun..=Utc::now().timestamp_micros()).contains(published));
        let seconds = u64::try_from(published / 1_000_000).unwrap();
        assert_eq!(properties.timestamp(), &Some(seconds));
    }
}

#[tokio::test]
async fn a_legacy_message_has_nothing_but_its_body() {
    let broker = Broker::start().await;
    let queue = domain().legacy_queue.unwrap();
    broker.declare(queue, &[]).await;
    let messages = some_messages(&["--legacy"]);
    let settings = Settings {
        exchange: false,
        ..Settings::default()
    };
    let summary = send(&broker, settings, messages.clone()).await;
    assert!(summary.is_complete(), "{summary:?}");
    let deliveries = broker.drain(queue).await;
    assert_eq!(deliveries.len(), messages.len());
    let bare = lapin::BasicProperties::default().with_delivery_mode(2);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.properties == bare)
    );
    assert!(
        deliveries
            .iter()
            .zip(&messages)
            .all(|(got, sent)| got.data == sent.body)
    );
}

#[tokio::test]
async fn what_no_queue_takes_is_tried_again_and_then_reported() {
    let broker = Broker::start().await;
    // Half of the entities have a queue; their messages are mixed with the others.
    let entities = &domain().entities;
    let (with, without) = entities.split_at(entities.len() / 2);
    let keys: Vec<_> = with
        .iter()
        .map(|e| format!("{}.{}", domain().name, e.name))
        .collect();
    broker
        .bind("some", &keys.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let messages = some_messages(&["--shuffle", "--duplicates", "10"]);
    let labels = labels(&messages);
    let settings = Settings {
        attempts: 3,
        ..Settings::default()
    };
    let summary = send(&broker, settings, messages.clone()).await;

    assert!(!summary.is_complete());
    for entity in with {
        let label = format!("{}.{}", domain().name, entity.name);
        let counts = summary.entities[&label];
        assert_eq!(
            (counts.confirmed, counts.failed),
            (labels[label.as_str()], 0),
            "{label}"
        );
    }
    let mut lost = 0;
    for entity in without {
        let label = format!("{}.{}", domain().name, entity.name);
        let counts = summary.entities[&label];
        assert_eq!(
            (counts.confirmed, counts.failed),
            (0, labels[label.as_str()]),
            "{label}"
        );
        lost += counts.failed;
    }
    assert_eq!(summary.returned, 3 * lost);
    assert_eq!(summary.retried, 2 * lost);
    assert_eq!(summary.failed, lost);
    assert!(
        summary
            .reasons
            .keys()
            .all(|why| why.contains("no queue takes it"))
    );
    assert_eq!(broker.drain("some").await.len() as u64, summary.confirmed);
}

#[tokio::test]
async fn without_any_queue_it_gives_up_early() {
    let broker = Broker::start().await;
    let settings = Settings {
        attempts: 1,
        rate: Some(5000.0),
        ..Settings::default()
    };
    let messages = some_messages(&[]);
    let count = messages.len() as u64;
    let summary = send(&broker, settings, messages).await;
    assert_eq!(summary.confirmed, 0);
    assert!(
        summary.failed >= 1000 && summary.failed < count,
        "{summary:?}"
    );
    assert!(summary.stopped.is_some());
}

#[tokio::test]
async fn a_queue_that_comes_late_gets_what_came_back() {
    let broker = Broker::start().await;
    let url = broker_url(broker.url()).unwrap();
    let settings = Settings {
        attempts: 8,
        ..Settings::default()
    };
    let mut publisher = Publisher::connect_with(url, settings).await.unwrap();
    let messages: Vec<_> = some_messages(&[]).into_iter().take(500).collect();
    let late = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        broker.bind("late", &[&all_keys()]).await;
    };
    let (summary, ()) = tokio::join!(publisher.send_all(messages.clone()), late);
    assert!(summary.is_complete(), "{summary:?}");
    // How many came back before depends on the machine.
    assert!(summary.returned > 0, "{summary:?}");
    let ids: HashSet<_> = broker.drain("late").await.iter().map(id).collect();
    assert_eq!(ids.len(), messages.len());
}

#[tokio::test]
async fn what_the_broker_refuses_is_reported() {
    let broker = Broker::start().await;
    let text = |text: &str| AMQPValue::LongString(text.into());
    // Full after about three messages.
    let full = [
        ("x-max-length", AMQPValue::LongInt(3)),
        ("x-overflow", text("reject-publish")),
    ];
    broker.declare(domain().legacy_queue.unwrap(), &full).await;
    let settings = Settings {
        exchange: false,
        window: 1,
        attempts: 3,
        ..Settings::default()
    };
    let messages: Vec<_> = some_messages(&["--legacy"]).into_iter().take(10).collect();
    let summary = send(&broker, settings, messages).await;
    assert!((1..10).contains(&summary.confirmed), "{summary:?}");
    assert_eq!(summary.confirmed + summary.failed, 10);
    assert_eq!(summary.nacked, 3 * summary.failed);
}

/// The broker's URL with a user who may do no more than this.
async fn url_of_user(broker: &Broker, rights: serde_json::Value) -> String {
    let user = format!("limited-{}", broker.host.name);
    let password = serde_json::json!({"password": "limited", "tags": ""});
    let host = &broker.host;
    host.call("PUT", &["users", &user], Some(password))
        .await
        .unwrap();
    host.call("PUT", &["permissions", &host.name, &user], Some(rights))
        .await
        .unwrap();
    let mut url: url::Url = broker.url().parse().unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some("limited")).unwrap();
    url.into()
}

#[tokio::test]
async fn a_user_without_the_right_to_publish_gets_that_error() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let rights = serde_json::json!({"configure": "", "write": "", "read": ".*"});
    let url = url_of_user(&broker, rights).await;
    let mut publisher = Publisher::connect(&url).await.unwrap();
    let summary = publisher.send_all(some_messages(&[])).await;
    assert_eq!(summary.confirmed, 0);
    let why = summary.stopped.unwrap();
    assert!(why.contains("ACCESS_REFUSED"), "{why}");
    assert!(summary.seconds < 10.0);
}

#[tokio::test]
async fn a_user_who_may_only_publish_needs_no_more() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let rights = serde_json::json!({"configure": "", "write": "acequia", "read": ""});
    let url = url_of_user(&broker, rights).await;
    let mut publisher = Publisher::connect(&url).await.unwrap();
    let summary = publisher.send_all(some_messages(&[])).await;
    assert!(summary.is_complete(), "{summary:?}");
}

/// Too large for the broker, so it closes the channel; no other message suffers.
#[tokio::test]
async fn a_message_that_breaks_the_channel_is_found() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let mut messages: Vec<_> = some_messages(&[]).into_iter().take(200).collect();
    messages[100].body = vec![b' '; 129 * 1024 * 1024];
    let giant = messages[100].id;
    let summary = send(&broker, Settings::default(), messages).await;
    assert_eq!(
        (summary.confirmed, summary.failed),
        (199, 1),
        "{:?}",
        summary.reasons
    );
    assert_eq!(summary.failures[0].message_id, giant);
    let ids: HashSet<_> = broker.drain("all").await.iter().map(id).collect();
    assert_eq!(ids.len(), 199);
}
