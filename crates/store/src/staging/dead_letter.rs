//! The broker's reason for dead-lettering a message.

use acequia_contracts::{Code, Violation};
use lapin::BasicProperties;
use lapin::types::AMQPValue;

/// The reason of the last dead-lettering: the first entry of `x-death`, which the broker writes.
#[must_use]
pub fn violation(properties: &BasicProperties) -> Violation {
    let reason = last_reason(properties);
    let (code, message) = match reason.as_deref() {
        Some("delivery_limit") => (
            Code::DeliveryLimit,
            "the broker gave it up after too many deliveries: it may crash workers",
        ),
        Some("expired") => (
            Code::Expired,
            "it expired in its queue before a worker took it; the message itself may be good, a replay sends it again",
        ),
        Some("rejected") => (
            Code::Rejected,
            "another consumer of its queue rejected it; the message itself may be good, a replay sends it again",
        ),
        Some("maxlen") => (
            Code::QueueOverflow,
            "its queue was full and dropped it; the message itself may be good, a replay sends it again",
        ),
        _ => (
            Code::DeadLettered,
            "it came to the queue of dead letters without a known reason",
        ),
    };
    Violation::body(code, message)
}

fn last_reason(properties: &BasicProperties) -> Option<String> {
    let headers = properties.headers().as_ref()?;
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else {
        return None;
    };
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else {
        return None;
    };
    match last.inner().get("reason")? {
        AMQPValue::LongString(reason) => Some(String::from_utf8_lossy(reason.as_bytes()).into()),
        AMQPValue::ShortString(reason) => Some(reason.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::{FieldArray, FieldTable};

    use super::*;

    fn died_of(reasons: &[&str]) -> BasicProperties {
        let deaths = reasons.iter().map(|reason| {
            let mut death = FieldTable::default();
            death.insert("reason".into(), AMQPValue::LongString((*reason).into()));
            AMQPValue::FieldTable(death)
        });
        let deaths = FieldArray::from(deaths.collect::<Vec<_>>());
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
        BasicProperties::default().with_headers(headers)
    }

    #[test]
    fn the_last_death_decides() {
        let cases = [
            (&["delivery_limit"][..], Code::DeliveryLimit),
            (&["expired"], Code::Expired),
            (&["rejected"], Code::Rejected),
            (&["maxlen"], Code::QueueOverflow),
            (&["expired", "delivery_limit"], Code::Expired),
            (&["delivery_limit", "expired"], Code::DeliveryLimit),
            (&["of a later broker"], Code::DeadLettered),
            (&[], Code::DeadLettered),
        ];
        for (reasons, code) in cases {
            assert_eq!(violation(&died_of(reasons)).code, code, "{reasons:?}");
        }
        assert_eq!(
            violation(&BasicProperties::default()).code,
            Code::DeadLettered
        );
    }
}
