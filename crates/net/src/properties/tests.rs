//! Lists that brokers deliver and the AMQP library refuses.

#![allow(clippy::unwrap_used)]

use lapin::protocol::basic::parse_properties;
use lapin::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::{DEEPEST, Fault, is_readable, read, readable, stable_parts, write};

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..],
        bytes,
    ]
    .concat()
}

/// A list with only headers.
fn headers(entries: &[u8]) -> Vec<u8> {
    [vec![0b0010_0000, 0], long(entries)].concat()
}

/// A header: name, kind, value.
fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    [short(name), value.to_owned()].concat()
}

/// Tables, or arrays, inside each other.
fn nested(kind: u8, depth: usize) -> Vec<u8> {
    let mut value = b"V".to_vec();
    for _ in 0..depth {
        let inside = if kind == b'F' {
            entry(b"a", &value)
        } else {
            value
        };
        value = [vec![kind], long(&inside)].concat();
    }
    value
}

fn faults(list: &[u8]) -> Vec<(String, Fault)> {
    let (out, left_out) = readable(list);
    assert_eq!(is_readable(list).is_ok(), left_out.is_empty(), "{list:?}");
    assert!(out.len() <= list.len().max(2));
    assert!(is_readable(&out).is_ok(), "{out:?}");
    assert!(parse_properties(out.as_slice()).unwrap().0.is_empty());
    left_out
        .into_iter()
        .map(|one| (one.path, one.fault))
        .collect()
}

#[test]
fn every_property_that_cannot_be_read_is_named_and_the_others_stay() {
    let names = [
        (15, "content_type"),
        (14, "content_encoding"),
        (10, "correlation_id"),
        (9, "reply_to"),
        (8, "expiration"),
        (7, "message_id"),
        (5, "type"),
        (4, "user_id"),
        (3, "app_id"),
        (2, "cluster_id"),
    ];
    for (bit, name) in names {
        let flags = (1_u16 << bit | 1 << 11).to_be_bytes();
        // Priority stands between the first two and the others.
        let text = short(b"matr\xedc");
        let list = match bit {
            14.. => [&flags[..], &text, &[7]].concat(),
            _ => [&flags[..], &[7], &text].concat(),
        };
        assert_eq!(faults(&list), [(name.to_owned(), Fault::NotUtf8)]);
        assert_eq!(read(&list).1[0].bytes, b"matr\xedc");
        assert_eq!(read(&list).0.priority(), &Some(7), "{name}");
        // The end of the list in the middle of a text.
        let cut = &list[..list.len() - 2];
        let malformed = faults(cut);
        assert!(
            malformed
                .iter()
                .all(|(_, fault)| *fault == Fault::Malformed),
            "{name}"
        );
    }
}

#[test]
fn headers_that_cannot_be_read_are_left_out_one_by_one() {
    let good = entry(b"good", b"t\x01");
    let with = |bad: &[u8]| headers(&[&good, bad, &entry(b"also", b"V")].concat());
    let cases = [
        (entry(b"n\xff", b"V"), "headers.n\u{fffd}", Fault::NotUtf8),
        (
            entry(b"h", &nested(b'F', DEEPEST)),
            "headers.h",
            Fault::TooDeep,
        ),
        (
            entry(b"h", &nested(b'A', DEEPEST)),
            "headers.h",
            Fault::TooDeep,
        ),
        (
            entry(b"h", &nested(b'F', 2_500)),
            "headers.h",
            Fault::TooDeep,
        ),
        (
            entry(b"h", &[vec![b'F'], long(&entry(b"\xc3", b"V"))].concat()),
            "headers.h",
            Fault::NotUtf8,
        ),
        (
            entry(b"h", &[vec![b'F'], long(b"\x09short")].concat()),
            "headers.h",
            Fault::Malformed,
        ),
        (
            entry(b"h", &[vec![b'A'], long(b"?")].concat()),
            "headers.h",
            Fault::Malformed,
        ),
    ];
    for (bad, path, fault) in cases {
        let list = with(&bad);
        assert_eq!(faults(&list), [(path.to_owned(), fault)]);
        let (properties, left_out) = read(&list);
        assert_eq!(left_out[0].bytes, bad);
        let headers = properties.headers().as_ref().unwrap();
        let names: Vec<_> = headers
            .inner()
            .keys()
            .map(lapin::types::ShortString::as_str)
            .collect();
        assert_eq!(names, ["also", "good"]);
    }
    // Behind a value without an end nothing can be parsed.
    let endless = with(b"\x01hS\xff\xff\xff\xff");
    assert_eq!(
        faults(&endless),
        [("headers.h".to_owned(), Fault::Malformed)]
    );
    // As deep as may be.
    for kind in [b'F', b'A'] {
        assert_eq!(
            faults(&headers(&entry(b"h", &nested(kind, DEEPEST - 1)))),
            []
        );
    }
}

#[test]
fn every_kind_of_value_is_read_as_the_library_reads_it() {
    let values: [&[u8]; 18] = [
        b"t\x01",
        b"b\xff",
        b"B\xff",
        b"s\xff\xff",
        b"U\xff\xff",
        b"u\xff\xff",
        b"I\0\0\0\x01",
        b"i\xff\xff\xff\xff",
        b"L\0\0\0\0\0\0\0\x01",
        b"l\0\0\0\0\0\0\0\x01",
        b"f\0\0\0\0",
        b"d\0\0\0\0\0\0\0\0",
        b"D\x02\0\0\0\x01",
        b"S\0\0\0\x02\xff\xfe",
        b"x\0\0\0\x02\xff\xfe",
        b"A\0\0\0\x02VV",
        b"T\0\0\0\0\0\0\0\x01",
        b"F\0\0\0\x04\x02abV",
    ];
    for value in values {
        let list = headers(&entry(b"h", value));
        assert_eq!(faults(&list), []);
        let (properties, _) = read(&list);
        assert_eq!(read(&write(&properties)).0, properties);
    }
    for kind in (0..=u8::MAX).filter(|kind| !b"tbBsUuIiLlfdDSxATFV".contains(kind)) {
        let list = headers(&entry(b"h", &[kind, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(parse_properties(list.as_slice()).is_err(), "{kind}");
        assert!(
            faults(&list)
                .iter()
                .all(|(_, fault)| *fault == Fault::Malformed)
        );
    }
}

#[test]
fn what_the_broker_adds_does_not_change_what_a_message_is() {
    let mine = entry(b"mine\xff", b"V");
    let count = |count: u8| entry(b"x-delivery-count", &[b'l', 0, 0, 0, 0, 0, 0, 0, count]);
    let parts = |entries: &[u8]| {
        let list = headers(entries);
        let parts = stable_parts(&list, |name| name.starts_with(b"x-delivery"));
        parts.concat()
    };
    let first = parts(&mine);
    assert_eq!(parts(&[count(1), mine.clone()].concat()), first);
    assert_eq!(parts(&[mine.clone(), count(2)].concat()), first);
    assert_ne!(parts(&entry(b"mine\xfe", b"V")), first);
    let none = stable_parts(&[0, 0], |_| false).concat();
    assert_eq!(parts(&count(3)), none);
}

#[test]
fn properties_become_a_list_and_properties_again() {
    let mut table = FieldTable::default();
    table.insert("x".into(), AMQPValue::Timestamp(5));
    let properties = lapin::BasicProperties::default()
        .with_priority(9)
        .with_expiration("60000".into())
        .with_headers(table);
    assert_eq!(read(&write(&properties)), (properties, Vec::new()));
}

proptest! {
    #[test]
    fn the_library_reads_what_is_readable_and_only_that(list in prop::collection::vec(any::<u8>(), 0..200)) {
        faults(&list);
        let (_, left_out) = readable(&list);
        let library = parse_properties(list.as_slice()).is_ok_and(|(rest, _)| rest.is_empty());
        // The library has no bound of depth, which so short a list does not reach.
        prop_assert_eq!(library, left_out.is_empty());
    }
}
