//! Spans from the queue to the marts, as a collector sees them.

use std::collections::{BTreeMap, BTreeSet};

use acequia_testkit::{Collected, Collector};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::support::school::{alumnos, materia};
use crate::support::{Message, Platform, ready};

/// Trace and span under which the message of a number was published.
fn origin(number: usize) -> (String, String) {
    (
        format!("{:032x}", number + 1),
        format!("{:016x}", number + 7),
    )
}

/// Messages, each published in a trace of its own.
fn traced(messages: Vec<Message>, first: usize) -> Vec<Message> {
    let numbered = (first..).zip(messages);
    numbered
        .map(|(number, mut message)| {
            let (trace, span) = origin(number);
            let context = format!("00-{trace}-{span}-01");
            let mut headers = FieldTable::default();
            headers.insert("traceparent".into(), AMQPValue::LongString(context.into()));
            message.properties = message.properties.with_headers(headers);
            message
        })
        .collect()
}

fn named<'a>(spans: &'a [Collected], name: &str) -> Vec<&'a Collected> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn ids(span: &Collected) -> (String, String) {
    (span.trace_id.clone(), span.span_id.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_promotions_and_refreshes_are_linked_to_what_they_come_from() {
    const MANY: usize = 3_000;
    let collector = Collector::start().await.unwrap();
    let platform = Platform::new().await;
    platform.declare().await;
    // Enough for batches with more messages than a span has links.
    let students = alumnos(1..i32::try_from(MANY).unwrap() + 1);
    platform.publish_all(&traced(students, 0)).await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
        ("LOG_FORMAT", "json"),
        ("REFRESH_EVERY", "100ms"),
    ];
    let worker = platform.program_with(&[], &variables);
    ready(&worker.http).await;
    platform.settled(i64::try_from(MANY).unwrap()).await;
    // One message alone in its batch; a materialized mart shows it.
    platform.publish_all(&traced(vec![materia(1)], MANY)).await;
    platform.settled(i64::try_from(MANY).unwrap() + 1).await;
    platform
        .freshness("the subject in the mart", |rows| {
            let mart = &rows["marts.kpi_materia"];
            mart.status == "fresh" && mart.behind_since.is_none()
        })
        .await;
    let batches = platform
        .texts("select batch_id || ' ' || trace_context from core.batches where trace_context is not null")
        .await;
    let staged = platform.number("select count(*) from core.batches").await;
    let log = worker.terminate().await.stderr;
    let spans = collector.spans();
    assert!(
        spans
            .iter()
            .all(|span| span.service == "acequia-worker" && !span.failed)
    );

    // The span of a batch has links to its messages, 128 at most; the span of a batch of one
    // message is a child of that message's span.
    let processed = named(&spans, "process acequia.academico");
    assert_eq!(i64::try_from(processed.len()).unwrap(), staged);
    let origins: BTreeSet<_> = (0..=MANY).map(origin).collect();
    let mut linked = 0;
    for span in &processed {
        assert_eq!(span.kind, 5);
        let count = span.attributes.get("messaging.batch.message_count");
        let Some(count) = count.map(|count| count.parse::<usize>().unwrap()) else {
            let parent = (span.trace_id.clone(), span.parent.clone());
            assert!(origins.contains(&parent), "{span:?}");
            continue;
        };
        assert_eq!(span.links.len(), count.min(128), "{span:?}");
        assert!(span.parent.is_empty());
        assert!(span.links.iter().all(|link| origins.contains(link)));
        linked = linked.max(count);
    }
    assert!(linked > 128, "no large batch: {linked}");
    let alone = origin(MANY);
    assert!(
        processed
            .iter()
            .any(|span| (&span.trace_id, &span.parent) == (&alone.0, &alone.1))
    );

    // The database knows the span of each batch, and so does the log.
    let of_batch: BTreeMap<&str, (String, String)> = processed
        .iter()
        .map(|span| (span.attributes["acequia.batch.id"].as_str(), ids(span)))
        .collect();
    let known: BTreeSet<String> = of_batch
        .iter()
        .map(|(batch, (trace, span))| format!("{batch} 00-{trace}-{span}-01"))
        .collect();
    assert_eq!(batches.into_iter().collect::<BTreeSet<_>>(), known);
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = lines.iter().filter(|line| line["event"] == "batch.staged");
    for line in told {
        let (trace, span) = &of_batch[line["batch_id"].to_string().as_str()];
        assert_eq!(line["span"]["trace_id"], trace.as_str(), "{line}");
        assert_eq!(line["span"]["span_id"], span.as_str());
    }
    for (event, name) in [
        ("batch.promoted", "promote academico"),
        ("mart.refreshed", "refresh marts.kpi_materia"),
    ] {
        let own: BTreeSet<_> = named(&spans, name).into_iter().map(ids).collect();
        let mut lines = lines
            .iter()
            .filter(|line| line["event"] == event)
            .peekable();
        assert!(lines.peek().is_some(), "{event}");
        for line in lines {
            let text = |field: &str| line["span"][field].as_str().unwrap().to_owned();
            assert!(own.contains(&(text("trace_id"), text("span_id"))), "{line}");
        }
    }

    // Each batch is promoted once, and shown by the mart that it concerns.
    let batches: BTreeSet<_> = of_batch.into_values().collect();
    let promotions = named(&spans, "promote academico");
    let promoted: Vec<_> = promotions
        .iter()
        .flat_map(|span| &span.links)
        .cloned()
        .collect();
    assert_eq!(promoted.len(), batches.len());
    assert_eq!(promoted.into_iter().collect::<BTreeSet<_>>(), batches);
    let refreshed: BTreeSet<_> = named(&spans, "refresh marts.kpi_materia")
        .iter()
        .flat_map(|span| span.links.clone())
        .collect();
    assert!(refreshed.is_subset(&batches));
    assert!(refreshed.iter().any(|(trace, _)| *trace == alone.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn off_it_leaves_no_trace() {
    let platform = Platform::new().await;
    let worker = platform.program_with(&[], &[("LOG_FORMAT", "json")]);
    ready(&worker.http).await;
    platform.publish_all(&traced(alumnos(1..10), 0)).await;
    platform.settled(9).await;
    let log = worker.terminate().await.stderr;
    assert!(
        log.contains("batch.staged") && !log.contains("trace_id"),
        "{log}"
    );
    let traced = "select count(*) from core.batches where trace_context is not null";
    assert_eq!(platform.number(traced).await, 0);
}
