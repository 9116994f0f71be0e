//! Output of a guarded stream, in whatever pieces its input comes.

#![allow(clippy::unwrap_used)]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use amq_protocol::frame::{AMQPFrame, parse_frame};
use futures_util::FutureExt as _;
use futures_util::io::{AsyncRead, AsyncReadExt as _};
use proptest::prelude::*;

use super::{Guarded, Notes};
use crate::properties::Fault;

/// Gives its bytes in pieces of given lengths.
struct Pieces<'a> {
    bytes: &'a [u8],
    lengths: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let length = *self.lengths.next().unwrap();
        let length = length.min(buffer.len()).min(self.bytes.len());
        buffer[..length].copy_from_slice(&self.bytes[..length]);
        self.bytes = &self.bytes[length..];
        Poll::Ready(Ok(length))
    }
}

/// Reads through the guard: pieces come in these lengths, and go in those.
fn through(bytes: &[u8], come: &[usize], go: &[usize]) -> (Vec<u8>, io::Result<()>, Notes) {
    let notes = Notes::default();
    let lengths = come.iter().cycle();
    let mut guarded = Guarded::new(Pieces { bytes, lengths }, notes.clone());
    let mut out = Vec::new();
    let mut go = go.iter().cycle();
    loop {
        let mut buffer = vec![0; *go.next().unwrap()];
        match guarded.read(&mut buffer).now_or_never().unwrap() {
            Ok(0) => return (out, Ok(()), notes),
            Ok(length) => out.extend_from_slice(&buffer[..length]),
            Err(error) => return (out, Err(error), notes),
        }
    }
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [
        &[kind],
        &channel.to_be_bytes()[..],
        &length,
        payload,
        &[206],
    ]
    .concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn deliver(channel: u16, tag: u64, key: &[u8]) -> Vec<u8> {
    let method = [&[0, 60, 0, 60][..], &short(b"ctag")].concat();
    let method = [
        &method[..],
        &tag.to_be_bytes(),
        &[0],
        &short(b"acequia"),
        &short(key),
    ]
    .concat();
    frame(1, channel, &method)
}

fn header(channel: u16, size: u64, list: &[u8]) -> Vec<u8> {
    frame(
        2,
        channel,
        &[&[0, 60, 0, 0][..], &size.to_be_bytes(), list].concat(),
    )
}

/// A message: method, header, body.
fn message(channel: u16, tag: u64, key: &[u8], list: &[u8], body: &[u8]) -> Vec<u8> {
    let size = u64::try_from(body.len()).unwrap();
    [
        deliver(channel, tag, key),
        header(channel, size, list),
        frame(3, channel, body),
    ]
    .concat()
}

/// Priority 5 and a correlation id.
fn list(id: &[u8]) -> Vec<u8> {
    [&[0b0000_1100, 0, 5][..], &short(id)].concat()
}

/// The frames in bytes, as the library reads them.
fn parsed(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).unwrap();
        frames.push(frame);
        bytes = rest;
    }
    frames
}

const PIECES: [&[usize]; 7] = [
    &[1],
    &[2, 3],
    &[7],
    &[100],
    &[4096, 1],
    &[70_000],
    &[1 << 20],
];

#[test]
fn what_can_be_read_passes_as_it_is() {
    let body = vec![7; 20_000];
    let long = list(b"x");
    let header_of_many_reads = [
        &[0x20, 0][..],
        &30_010_u32.to_be_bytes(),
        b"\x04longx",
        &30_000_u32.to_be_bytes(),
        &vec![1; 30_000],
    ]
    .concat();
    let stream = [
        frame(1, 0, &[0, 10, 0, 41, 0]),
        message(1, 1, b"domain.an_entity", &long, &body),
        frame(8, 0, &[]),
        message(2, 1, b"k", &[0, 0], b""),
        message(1, 2, b"k", &header_of_many_reads, b"x"),
        frame(1, 1, &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
    ]
    .concat();
    for come in PIECES {
        for go in PIECES {
            let (out, end, notes) = through(&stream, come, go);
            end.unwrap();
            assert!(out == stream, "pieces of {come:?} and {go:?}");
            assert!(!notes.is_unreadable(1, 1));
            // Only a heavy delivery is worth a note.
            assert_eq!(notes.weight(1, 1), 0);
            assert!(notes.weight(1, 2) > 30_000);
        }
    }
}

#[test]
fn what_cannot_be_read_is_replaced_and_noted() {
    let bad = list(b"matr\xedc");
    let good = message(1, 1, b"k", &list(b"good"), b"one");
    let stream = [
        good.clone(),
        message(1, 2, b"k", &bad, &[9; 9000]),
        message(1, 3, b"k\xff", &list(b"good"), b"three"),
        good.clone(),
    ]
    .concat();
    for come in PIECES {
        for go in PIECES {
            let (out, end, notes) = through(&stream, come, go);
            end.unwrap();
            let expected = [
                good.clone(),
                message(1, 2, b"k", &[0b0000_1000, 0, 5], &[9; 9000]),
                message(1, 3, b"", &list(b"good"), b"three"),
                good.clone(),
            ]
            .concat();
            assert!(out == expected, "pieces of {come:?} and {go:?}");
            assert_eq!(parsed(&out).len(), 12);
            let note = notes.take(1, 2).unwrap();
            assert_eq!(note.list, bad);
            assert_eq!(note.unreadable[0].path, "correlation_id");
            assert_eq!(note.unreadable[0].fault, Fault::NotUtf8);
            let note = notes.take(1, 3).unwrap();
            assert_eq!(note.unreadable[0].path, "routing_key");
            assert_eq!(note.unreadable[0].bytes, b"k\xff");
            assert_eq!(notes.take(1, 3), None);
        }
    }
}

#[test]
fn texts_of_the_broker_are_mended() {
    // A reason that is cut within a character.
    let cut = [&"ñ".repeat(127).into_bytes()[..], b"\xc3"].concat();
    let close = |text: &[u8]| {
        let method = [&[0, 20, 0, 40, 1, 144][..], &short(text), &[0, 50, 0, 10]].concat();
        frame(1, 1, &method)
    };
    let (out, end, _) = through(&close(&cut), &[1 << 20], &[1 << 20]);
    end.unwrap();
    assert!(out == close("ñ".repeat(127).as_bytes()));
    // A table of the server that cannot be parsed.
    let deep = (0..2_500).fold(b"V".to_vec(), |value, _| {
        let length = u32::try_from(value.len() + 2).unwrap().to_be_bytes();
        [&b"F"[..], &length, b"\x01a", &value].concat()
    });
    let start = |entries: &[u8]| {
        let length = u32::try_from(entries.len()).unwrap().to_be_bytes();
        let method = [&[0, 10, 0, 10, 0, 9][..], &length, entries].concat();
        frame(
            1,
            0,
            &[&method[..], &[0, 0, 0, 5], b"PLAIN", &[0, 0, 0, 0]].concat(),
        )
    };
    let entries = [b"\x01h", &deep[..], b"\x01gV"].concat();
    let (out, end, _) = through(&start(&entries), &[1 << 20], &[1 << 20]);
    end.unwrap();
    assert!(out == start(b"\x01gV"));
    parsed(&out);
}

#[test]
fn what_is_no_amqp_is_left_to_the_library() {
    for foreign in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"AMQP\0\0\x09\x01and more",
    ] {
        let (out, end, _) = through(foreign, &[3], &[1 << 20]);
        end.unwrap();
        assert_eq!(out, foreign[..8]);
    }
    // The replacement in front of it comes first, however the input is cut.
    let stream = [deliver(1, 1, b"\xff"), b"HTTP/1.1 400".to_vec()].concat();
    let (whole, ..) = through(&stream, &[1], &[1 << 20]);
    assert!(whole.ends_with(b"HTTP/1.1") && whole.len() > 30);
    for length in [2, 7, 40, 1 << 20] {
        let (out, end, _) = through(&stream, &[length], &[1 << 20]);
        end.unwrap();
        assert_eq!(out, whole, "{length}");
    }
    let endless = frame(1, 0, &[0, 10, 0, 50, 0, 0, 9]);
    let (_, end, _) = through(&endless, &[1 << 20], &[1 << 20]);
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn nothing_that_is_handed_on_is_refused(
        messages in prop::collection::vec(
            (1_u16..4, prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..120), 0_usize..5000),
            1..8,
        ),
        come in prop::collection::vec(1_usize..9000, 1..5),
        go in prop::collection::vec(1_usize..9000, 1..5),
    ) {
        let stream: Vec<u8> = messages
            .iter()
            .zip(1..)
            .flat_map(|((channel, key, list, body), tag)| message(*channel, tag, key, list, &vec![1; *body]))
            .collect();
        let (out, end, notes) = through(&stream, &come, &go);
        end.unwrap();
        let frames = parsed(&out);
        prop_assert_eq!(frames.len(), messages.len() * 3);
        for ((channel, key, list, body), tag) in messages.iter().zip(1..) {
            let library = parse_frame(header(*channel, 0, list).as_slice()).is_ok() && std::str::from_utf8(key).is_ok();
            prop_assert_eq!(library, !notes.is_unreadable(*channel, tag));
            let AMQPFrame::Body(_, bytes) = &frames[usize::try_from(tag).unwrap() * 3 - 1] else { panic!() };
            prop_assert_eq!(bytes.len(), *body);
        }
    }
}
