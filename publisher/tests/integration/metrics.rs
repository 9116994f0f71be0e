//! The page at /metrics against its specification, `prometheus/metrics.yml`.

use std::io::Write as _;
use std::process::Stdio;

use acequia_contracts::catalog;
use acequia_testkit::metrics::{Page, Sources, Spec};
use acequia_testkit::{free_port, wait_for};

use crate::command::publisher;
use crate::support::{Broker, all_keys, domain};

const UNKNOWN: &str = "(unknown)";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_what_the_specification_says() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    // It runs for as long as its input is open.
    let mut child = publisher(&["send", "-", "--domain", domain().name])
        .args(["--http-addr", &address])
        .env("AMQP_URL", broker.url())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let url = format!("http://{address}/metrics");
    let page = async || -> Option<Page> {
        let url = url.clone();
        let ask = move || {
            ureq::get(&url)
                .call()
                .ok()?
                .body_mut()
                .read_to_string()
                .ok()
        };
        let text = tokio::task::spawn_blocking(ask).await.unwrap()?;
        Some(Page::parse(&text).unwrap())
    };
    let value = async |name: &str, labels: &[(&str, &str)]| -> Option<f64> {
        page().await?.value(name, labels)
    };
    wait_for("a connection", async || {
        Ok(value("acequia_publisher_connection_up", &[]).await == Some(1.0))
    })
    .await
    .unwrap();
    let spec = Spec::read().unwrap();
    let differences = spec.differences("publisher", &page().await.unwrap(), &sources());
    assert!(differences.is_empty(), "{}", differences.join("\n"));

    // An unknown entity is sent, for quarantine to show; its name is no label.
    let entity = domain().entities[0].name;
    write!(
        input,
        "{{\"entity\":\"{entity}\"}}\n{{\"entity\":\"planted7c1f\"}}\nno object\n"
    )
    .unwrap();
    let confirmed = async |entity: &str| {
        let labels = [
            ("domain", domain().name),
            ("entity", entity),
            ("outcome", "confirmed"),
        ];
        value("acequia_publisher_messages_total", &labels).await
    };
    wait_for("the counters", async || {
        Ok(confirmed(entity).await == Some(1.0)
            && confirmed(UNKNOWN).await >= Some(1.0)
            && value("acequia_publisher_confirm_duration_seconds_count", &[]).await >= Some(2.0))
    })
    .await
    .unwrap();
    let page = page().await.unwrap();
    let differences = spec.differences("publisher", &page, &sources());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    drop(input);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = output.await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("confirmed"), "{words}");
}

fn sources() -> Sources {
    let domains = || catalog().iter().map(|domain| domain.name.to_owned());
    let entities = catalog().iter().flat_map(|domain| &domain.entities);
    let entities = entities.map(|entity| entity.name.to_owned());
    let unknown = || [UNKNOWN.to_owned()];
    Sources::from([
        ("domain_or_unknown", domains().chain(unknown()).collect()),
        ("entity_or_unknown", entities.chain(unknown()).collect()),
        ("program", vec!["publisher".to_owned()]),
        ("version", vec![env!("CARGO_PKG_VERSION").to_owned()]),
    ])
}
