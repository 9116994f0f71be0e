//! Lost connections: a network that cuts, a broker that falls silent or goes away.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use acequia_publisher::{Publisher, Settings, broker_url};

use crate::support::{Broker, Proxy, all_keys, id, some_messages};

/// Nothing is lost and nothing gets a second identity, whatever happens to the connection.
async fn survives(proxy: &Proxy, broker: &Broker, settings: Settings, trouble: impl Future) {
    broker.bind("all", &[&all_keys()]).await;
    let url = broker_url(&proxy.url).unwrap();
    let mut publisher = Publisher::connect_with(url, settings).await.unwrap();
    let messages = some_messages(&[]);
    let (summary, _) = tokio::join!(publisher.send_all(messages.clone()), trouble);
    assert!(summary.reconnects >= 1, "{summary:?}");
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(summary.confirmed, messages.len() as u64);

    let mut times: HashMap<String, HashSet<String>> = HashMap::new();
    for delivery in broker.drain("all").await {
        let headers = delivery.properties.headers().as_ref().unwrap();
        let published = format!("{:?}", headers.inner().get("x-published-at"));
        times.entry(id(&delivery)).or_default().insert(published);
    }
    assert_eq!(times.len(), messages.len());
    // A message that was sent again has the id and the time of its first attempt.
    assert!(times.values().all(|times| times.len() == 1));
}

#[tokio::test]
async fn a_lost_connection_costs_no_message() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(broker.url()).await;
    let settings = Settings {
        rate: Some(4000.0),
        ..Settings::default()
    };
    let cutting = async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            proxy.cut();
        }
    };
    survives(&proxy, &broker, settings, cutting).await;
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_given_up_in_time() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(broker.url()).await;
    let settings = Settings {
        rate: Some(4000.0),
        confirm_timeout: Duration::from_secs(1),
        ..Settings::default()
    };
    let silence = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.silence(true);
        // Longer than it waits for a confirm, however slow the machine is.
        tokio::time::sleep(Duration::from_secs(4)).await;
        proxy.silence(false);
    };
    survives(&proxy, &broker, settings, silence).await;
}

#[tokio::test]
async fn it_goes_on_as_long_as_it_should_without_a_broker() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let url = broker_url(broker.url()).unwrap();
    let settings = Settings {
        rate: Some(100.0),
        retry_for: Some(Duration::from_millis(500)),
        ..Settings::default()
    };
    let mut publisher = Publisher::connect_with(url, settings).await.unwrap();
    let gone = async {
        // Of this number some are confirmed.
        broker.holds("all", 50).await;
        let path = ["vhosts", &broker.host.name];
        broker.host.call("DELETE", &path, None).await.unwrap();
    };
    let (summary, ()) = tokio::join!(publisher.send_all(some_messages(&[])), gone);
    assert!(summary.stopped.is_some(), "{summary:?}");
    assert!(summary.confirmed > 0);
    assert!(summary.seconds < 10.0, "{summary:?}");
}
