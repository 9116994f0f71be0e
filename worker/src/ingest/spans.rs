//! The span of a batch: one for all its messages, linked to the spans that published them.

use std::time::SystemTime;

use acequia_messaging::AckHandle;
use acequia_store::staging::{Counts, Written};
use acequia_telemetry::{
    KeyValue, MOST_LINKS, Span, SpanContext, SpanKind, Start, Traces, extract, to_text,
};
use tracing::Instrument as _;

use super::stage::{Load, Writer};
use crate::queue_consumer::QueueConsumer;

/// Stages a batch inside its span, when tracing is on.
///
/// # Errors
/// Same as [`Writer::stage`].
pub async fn stage(writer: &Writer<'_>, acks: &AckHandle, load: &mut Load) -> anyhow::Result<bool> {
    let Some(traces) = &writer.context.traces else {
        return writer.stage(acks, load).await;
    };
    let span = begin(traces, writer.lane, load);
    let log = span.of_log();
    load.span = Some(span);
    let staged = writer.stage(acks, load).instrument(log).await;
    if let (Err(error), Some(span)) = (&staged, &mut load.span) {
        span.fail(format!("{error:#}"));
    }
    staged
}

/// Starts the span of a decoded batch. A message that is alone is its child; several are links, of
/// which those that somebody records come first.
fn begin(traces: &Traces, lane: &QueueConsumer, load: &mut Load) -> Span {
    let deliveries = &load.batch.deliveries;
    let contexts = deliveries
        .iter()
        .filter_map(|delivery| extract(&delivery.properties));
    let (mut links, unrecorded): (Vec<_>, Vec<_>) = contexts.partition(SpanContext::is_sampled);
    links.truncate(MOST_LINKS);
    links.extend(unrecorded);
    let mut attributes = vec![
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.operation.name", "process"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.destination.name", lane.queue.clone()),
        KeyValue::new("acequia.decode.duration", load.decoding.as_secs_f64()),
    ];
    let parent = if deliveries.len() == 1 {
        links.pop()
    } else {
        let messages = i64::try_from(deliveries.len()).unwrap_or(i64::MAX);
        attributes.push(KeyValue::new("messaging.batch.message_count", messages));
        None
    };
    let now = SystemTime::now();
    let span = traces.start(Start {
        name: format!("process {}", lane.queue),
        kind: SpanKind::Consumer,
        at: now.checked_sub(load.decoding).unwrap_or(now),
        parent,
        links,
        attributes,
    });
    let context = to_text(&span.context());
    for decoded in &mut load.decoded {
        decoded.trace = Some(context.clone());
    }
    span
}

/// The outcome of its messages, as attributes.
pub fn outcome(domain: &'static str, written: &Written) -> Vec<KeyValue> {
    let sum = |pick: fn(&Counts) -> i32| -> i64 {
        let counts = written.counts.iter().map(|(_, counts)| pick(counts));
        counts.map(i64::from).sum()
    };
    vec![
        KeyValue::new("acequia.domain", domain),
        KeyValue::new("acequia.batch.id", written.batch_id),
        KeyValue::new("acequia.staged", sum(|counts| counts.staged)),
        KeyValue::new("acequia.duplicates", sum(|counts| counts.duplicates)),
        KeyValue::new("acequia.quarantined", sum(|counts| counts.quarantined)),
    ]
}
