//! Spans of the publisher, and the context that goes with its messages.

use std::io::Write as _;

use acequia_testkit::Collector;
use lapin::message::Delivery;
use lapin::types::AMQPValue;

use crate::command::{publisher, run, stderr};
use crate::support::{Broker, all_keys, id, some_messages};

/// Two messages.
fn lines() -> String {
    let mut lines = String::new();
    for message in some_messages(&[]).into_iter().take(2) {
        lines.push_str(std::str::from_utf8(&message.body).unwrap());
        lines.push('\n');
    }
    lines
}

struct Sent {
    deliveries: Vec<Delivery>,
    said: String,
    code: Option<i32>,
}

async fn send(variables: &[(&str, &str)]) -> Sent {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let mut file = std::env::temp_dir();
    file.push(format!("acequia-traces-{}", uuid::Uuid::now_v7().simple()));
    std::fs::File::create(&file)
        .unwrap()
        .write_all(lines().as_bytes())
        .unwrap();
    let mut command = publisher(&["send", file.to_str().unwrap()]);
    command
        .env("AMQP_URL", broker.url())
        .envs(variables.iter().copied());
    let output = run(command).await;
    std::fs::remove_file(&file).unwrap();
    Sent {
        deliveries: broker.drain("all").await,
        said: stderr(&output),
        code: output.status.code(),
    }
}

fn context(delivery: &Delivery) -> Option<String> {
    let headers = delivery.properties.headers().as_ref()?;
    match headers.inner().get("traceparent")? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_carries_the_context_of_its_span() {
    let collector = Collector::start().await.unwrap();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str());
    let sent = send(&[endpoint]).await;
    assert_eq!(sent.code, Some(0), "{}", sent.said);
    // They are sent before the program ends.
    let spans = collector.spans();
    assert_eq!((sent.deliveries.len(), spans.len()), (2, 2), "{spans:?}");
    for delivery in &sent.deliveries {
        let context = context(delivery).unwrap();
        let span = spans
            .iter()
            .find(|span| context == format!("00-{}-{}-01", span.trace_id, span.span_id))
            .unwrap_or_else(|| panic!("{context}: {spans:?}"));
        assert_eq!(span.service, "acequia-publisher");
        assert_eq!((span.name.as_str(), span.kind), ("publish acequia", 4));
        assert_eq!(span.attributes["messaging.message.id"], id(delivery));
        let key = &span.attributes["messaging.rabbitmq.destination.routing_key"];
        assert_eq!(key, delivery.routing_key.as_str());
        assert!(!span.failed && span.parent.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_variables_are_obeyed() {
    let collector = Collector::start().await.unwrap();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str());
    // Named, and not recorded: the messages say so to whoever takes them.
    let sampler = ("OTEL_TRACES_SAMPLER", "always_off");
    let sent = send(&[endpoint, sampler]).await;
    assert_eq!((sent.code, collector.spans().len()), (Some(0), 0));
    for delivery in &sent.deliveries {
        assert!(context(delivery).unwrap().ends_with("-00"));
    }
    let sent = send(&[endpoint, ("OTEL_SERVICE_NAME", "school")]).await;
    assert_eq!(sent.code, Some(0));
    assert!(
        collector
            .spans()
            .iter()
            .all(|span| span.service == "school")
    );
    // Off: nothing goes with the messages.
    for off in [
        &[][..],
        &[endpoint, ("OTEL_SDK_DISABLED", "true")],
        &[endpoint, ("OTEL_TRACES_EXPORTER", "none")],
    ] {
        let sent = send(off).await;
        assert_eq!((sent.code, sent.deliveries.len()), (Some(0), 2));
        assert!(
            sent.deliveries
                .iter()
                .all(|delivery| context(delivery).is_none())
        );
    }
    assert_eq!(collector.spans().len(), 2);
    // Wrong settings: reported before anything is sent.
    for (name, value, hint) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://collector.invalid:4318",
            "ALLOW_PLAINTEXT",
        ),
    ] {
        let sent = send(&[endpoint, (name, value)]).await;
        assert!(sent.said.contains(hint), "{}", sent.said);
        assert_eq!((sent.code, sent.deliveries.len()), (Some(2), 0));
    }
}

/// Whether the collector takes spans is not the messages' business.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_stops_nothing() {
    let port = acequia_testkit::free_port().unwrap();
    let endpoint = format!("http://127.0.0.1:{port}");
    let sent = send(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    assert_eq!(
        (sent.code, sent.deliveries.len()),
        (Some(0), 2),
        "{}",
        sent.said
    );
}
