//! Any property list and body: who the message is and what becomes of it is found without a panic, and
//! the list that is kept for a replay equals the one that came.
#![no_main]

use acequia_contracts::{Context, catalog};
use acequia_net::properties::{read, readable, write};
use acequia_store::staging::{DecodedBatch, published_at};
use lapin::message::Delivery;
use lapin::types::ShortString;
use libfuzzer_sys::fuzz_target;

/// Bytes behind a length of two octets.
fn part<'a>(from: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = from.split_first_chunk::<2>() else {
        return std::mem::take(from);
    };
    let (part, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *from = rest;
    part
}

// Property list, routing key, body.
fuzz_target!(|input: &[u8]| {
    let mut body = input;
    let list = part(&mut body);
    let Ok(key) = std::str::from_utf8(part(&mut body)) else {
        return;
    };
    let (again, left_out) = readable(list);
    assert!(again.len() <= list.len().max(2));
    assert!(readable(&again).1.is_empty());
    let (properties, also) = read(list);
    assert_eq!(left_out, also);
    // NaN is not itself.
    assert_eq!(write(&read(&write(&properties)).0), write(&properties));

    let Ok(key) = ShortString::try_new(key) else {
        return;
    };
    let context = Context::now();
    let _ = published_at(&properties, context.now);
    let mut delivery = Delivery::mock(1, "acequia".into(), key, false, body.to_vec());
    delivery.properties = properties;
    for domain in catalog() {
        let mut decoded = DecodedBatch::new(domain);
        decoded.add(0, &delivery, "queue", &context);
        decoded.add_dead(1, &delivery, "queue");
        assert!(!decoded.is_empty());
    }
});
