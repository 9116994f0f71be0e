//! Any bytes in any pieces through the guard: it does not panic, hands on only what the AMQP library
//! reads, and changes nothing that the library could have read.
#![no_main]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use acequia_net::guard::{Guarded, Notes};
use amq_protocol::frame::{AMQPFrame, parse_frame};
use futures_util::FutureExt as _;
use futures_util::io::{AsyncRead, AsyncReadExt as _};
use libfuzzer_sys::fuzz_target;

/// Gives bytes in pieces whose lengths are bytes, too.
struct Pieces<'a> {
    bytes: &'a [u8],
    lengths: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let length = self.lengths.next().map_or(1, |length| usize::from(*length) + 1);
        let length = length.min(buffer.len()).min(self.bytes.len());
        buffer[..length].copy_from_slice(&self.bytes[..length]);
        self.bytes = &self.bytes[length..];
        Poll::Ready(Ok(length))
    }
}

fn through(bytes: &[u8], come: &[u8], go: &[u8]) -> (Vec<u8>, io::Result<()>) {
    let lengths = come.iter().cycle();
    let mut guarded = Guarded::new(Pieces { bytes, lengths }, Notes::default());
    let (mut out, mut go) = (Vec::new(), go.iter().cycle());
    loop {
        let mut buffer = vec![0; go.next().map_or(1 << 16, |length| usize::from(*length) + 1)];
        match guarded.read(&mut buffer).now_or_never() {
            Some(Ok(0)) | None => return (out, Ok(())),
            Some(Ok(length)) => out.extend_from_slice(&buffer[..length]),
            Some(Err(error)) => return (out, Err(error)),
        }
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind, 0, 1][..], &length, payload, &[206]].concat()
}

/// Frames: kind, length of two octets, payload. Bytes that are no frame end the stream.
fn frames(mut input: &[u8]) -> (Vec<(u8, &[u8])>, &[u8]) {
    let mut frames = Vec::new();
    while let [kind, high, low, rest @ ..] = input
        && let Some((payload, rest)) = rest.split_at_checked(usize::from(*high) << 8 | usize::from(*low))
    {
        frames.push((*kind, payload));
        input = rest;
    }
    (frames, input)
}

// The lengths of pieces, in and out, then the frames.
fuzz_target!(|input: &[u8]| {
    let [come, go, rest @ ..] = input else {
        return;
    };
    let (come, go) = (&[*come][..], &[*go][..]);
    let (frames, end) = frames(rest);
    // Headers with any list, deliveries with any strings, bodies, other methods, and any end.
    let mut stream = Vec::new();
    let mut whole = Vec::new();
    for (kind, payload) in frames {
        let bytes = match kind % 4 {
            0 => frame(2, &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9][..], payload].concat()),
            1 => frame(3, payload),
            2 => {
                let text = &payload[..payload.len().min(255)];
                let length = [u8::try_from(text.len()).unwrap_or(0)];
                let deliver = [&[0, 60, 0, 60, 1, b'c', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0][..], &length, text];
                frame(1, &deliver.concat())
            }
            _ => {
                // From here on anything may be wrong with the stream.
                stream.extend(frame(1, payload));
                break;
            }
        };
        stream.extend_from_slice(&bytes);
        whole.push(bytes);
    }
    stream.extend_from_slice(end);
    let (out, ended) = through(&stream, come, go);
    let (at_once, ended_too) = through(&stream, &[], &[]);
    if ended.is_ok() {
        assert_eq!(out, at_once);
        assert!(ended_too.is_ok());
    }
    let mut rest = at_once.as_slice();
    for original in &whole {
        let Ok((behind, read)) = parse_frame(rest) else {
            panic!("not to be read: {rest:?}");
        };
        if let Ok((_, before)) = parse_frame(original.as_slice()) {
            let deep = matches!(before, AMQPFrame::Header(..)) && before != read;
            assert!(deep || rest.starts_with(original), "changed: {original:?}");
        }
        rest = behind;
    }
});
