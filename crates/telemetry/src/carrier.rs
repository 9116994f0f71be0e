//! The context of a span as text (W3C trace context), and as headers of a message.

use std::str::FromStr as _;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// As `00-<trace>-<span>-<flags>`.
#[must_use]
pub fn to_text(context: &SpanContext) -> String {
    format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags() & TraceFlags::SAMPLED
    )
}

/// Reads what [`to_text`] wrote, or a later version that begins the same; `None` when it is no such text.
#[must_use]
pub fn of_text(text: &str) -> Option<SpanContext> {
    with_state(text, "")
}

fn with_state(text: &str, state: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    if !fits || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        flags,
        true,
        TraceState::from_str(state).unwrap_or_default(),
    );
    context.is_valid().then_some(context)
}

/// Puts a span's context into the headers of a message.
pub fn inject(context: &SpanContext, headers: &mut FieldTable) {
    headers.insert(PARENT.into(), text(to_text(context)));
    let state = context.trace_state().header();
    if !state.is_empty() {
        headers.insert(STATE.into(), text(state));
    }
}

fn text(text: String) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The context of the span that published a message, if it came with one.
#[must_use]
pub fn extract(properties: &BasicProperties) -> Option<SpanContext> {
    let headers = properties.headers().as_ref()?.inner();
    let header = |name: &str| match headers.get(&ShortString::from(name))? {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok(),
        AMQPValue::ShortString(value) => Some(value.as_str()),
        _ => None,
    };
    with_state(header(PARENT)?, header(STATE).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_comes_back_as_it_was_written() {
        let context = of_text(TEXT).unwrap();
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(to_text(&context), TEXT);
        let mut headers = FieldTable::default();
        inject(&context, &mut headers);
        headers.insert(STATE.into(), text("vendor=1".to_owned()));
        let properties = BasicProperties::default().with_headers(headers);
        let found = extract(&properties).unwrap();
        assert_eq!(to_text(&found), TEXT);
        assert_eq!(found.trace_state().get("vendor"), Some("1"));
        assert!(!of_text(&TEXT.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn what_is_no_context_is_none() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "€€-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(of_text(text).is_none(), "{text}");
        }
        assert!(of_text(&TEXT.replacen("00", "01", 1)).is_some());
        assert!(extract(&BasicProperties::default()).is_none());
        let mut headers = FieldTable::default();
        headers.insert(PARENT.into(), AMQPValue::LongLongInt(1));
        assert!(extract(&BasicProperties::default().with_headers(headers)).is_none());
    }
}
