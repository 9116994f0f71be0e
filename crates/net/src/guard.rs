//! A filter between the broker's bytes and the AMQP library: unreadable frames never reach the library.
//!
//! The library parses every frame into owned values, recursing into tables. A text that is not UTF-8
//! ends the connection, which then falls again with each delivery of the same message; tables nested
//! thousands deep end the process. Such frames are few. So everything passes as it is, in the buffer
//! that it was read into, and two kinds of frames are looked at on the way: methods and content
//! headers. One that could not be read is replaced by one that can, without the unreadable part; the
//! original bytes wait in [`Notes`] for the code that takes the delivery.

mod frames;
mod notes;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::io::{AsyncRead, AsyncWrite};

use self::frames::{Frames, HEAD};
pub use self::notes::{Note, Notes};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Longest frame that is kept until it is whole. Brokers are asked for 128 KiB.
const LONGEST: usize = 16 << 20;
/// Length of the answer of a broker that refuses our version of AMQP.
const PROTOCOL_HEADER: usize = 8;
/// A partial frame up to this length is copied before the next bytes; the rest of a longer
/// one is awaited.
const COPIED: usize = 8 << 10;

/// A stream whose incoming frames can all be read.
pub struct Guarded<S> {
    stream: S,
    frames: Frames,
    /// Octets that pass unseen before the next frame begins.
    passing: usize,
    /// The beginning of a frame that is looked at when it is whole, in the first `begun` octets.
    partial: Vec<u8>,
    begun: usize,
    /// Bytes that come before anything else, from `given` on.
    ready: Vec<u8>,
    given: usize,
    /// The stream is not AMQP: this many octets still pass, so that the library reports it.
    foreign: Option<usize>,
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

/// The next step for the bytes at hand.
enum Step {
    /// This many octets pass unchanged.
    Pass(usize),
    /// This many octets are replaced by the given ones.
    Replace(usize, Vec<u8>),
    /// Wait until this many octets have come.
    Await(usize),
}

impl<S> Guarded<S> {
    /// Guards a stream; what it finds goes to `notes`.
    pub fn new(stream: S, notes: Notes) -> Self {
        Self {
            stream,
            frames: Frames::new(notes),
            passing: 0,
            partial: Vec::new(),
            begun: 0,
            ready: Vec::new(),
            given: 0,
            foreign: None,
        }
    }

    /// The step that the beginning of a frame requires.
    fn step(&mut self, bytes: &[u8]) -> io::Result<Step> {
        if !matches!(bytes[0], METHOD | HEADER | BODY | HEARTBEAT) {
            self.foreign = Some(PROTOCOL_HEADER);
            return Ok(Step::Pass(0));
        }
        let Some(length) = bytes.get(3..HEAD) else {
            return Ok(Step::Await(HEAD));
        };
        let length = length
            .iter()
            .fold(0, |sum, &octet| sum << 8 | usize::from(octet));
        let whole = HEAD + length + 1;
        if matches!(bytes[0], BODY | HEARTBEAT) {
            self.passing = whole;
            return Ok(Step::Pass(0));
        }
        if whole > LONGEST {
            let what = format!("the broker sent a frame of {whole} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let Some(frame) = bytes.get(..whole) else {
            return Ok(Step::Await(whole));
        };
        let instead = match bytes[0] {
            METHOD => self.frames.method(frame)?,
            _ => self.frames.header(frame)?,
        };
        Ok(instead.map_or(Step::Pass(whole), |instead| Step::Replace(whole, instead)))
    }

    /// Examines bytes. Returns how many of the first ones may be passed on unchanged; the bytes behind
    /// them are kept.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut at, mut direct) = (0, None);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let length = if self.passing > 0 {
                let length = self.passing.min(rest.len());
                self.passing -= length;
                length
            } else if let Some(left) = &mut self.foreign {
                let length = rest.len().min(*left);
                *left -= length;
                if length == 0 {
                    break;
                }
                length
            } else {
                match self.step(rest)? {
                    Step::Pass(length) => length,
                    Step::Replace(length, instead) => {
                        direct.get_or_insert(at);
                        self.ready.extend(instead);
                        at += length;
                        continue;
                    }
                    Step::Await(whole) => {
                        self.begun = rest.len();
                        self.partial.clear();
                        self.partial.extend_from_slice(rest);
                        self.partial.reserve_exact(whole - rest.len());
                        break;
                    }
                }
            };
            if direct.is_some() {
                self.ready.extend_from_slice(&rest[..length]);
            }
            at += length;
        }
        Ok(direct.unwrap_or(at))
    }

    /// Hands on the bytes that are ready.
    fn give(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.ready[self.given..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
        }
        length
    }

    /// Length that the begun frame must have before it can be examined.
    fn awaited(&self) -> usize {
        match self.partial.get(3..HEAD) {
            Some(length) if self.begun >= HEAD => {
                let length = length
                    .iter()
                    .fold(0, |sum, &octet| sum << 8 | usize::from(octet));
                HEAD + length + 1
            }
            _ => HEAD,
        }
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads the rest of the frame that has begun, and nothing behind it.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let whole = self.awaited();
        if self.partial.len() != whole {
            self.partial.resize(whole, 0);
        }
        let room = &mut self.partial[self.begun..];
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, room))?;
        self.begun += read;
        if read == 0 || self.begun == whole {
            let mut frame = std::mem::take(&mut self.partial);
            frame.truncate(std::mem::take(&mut self.begun));
            let direct = match read {
                0 => frame.len(), // it ends in the middle of a frame
                _ => self.pass(&frame)?,
            };
            // A replaced frame is ready already, and nothing is before it.
            self.ready.extend_from_slice(&frame[..direct]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            if this.given < this.ready.len() || buffer.is_empty() {
                return Poll::Ready(Ok(this.give(buffer)));
            }
            let begun = this.begun;
            if begun > COPIED || begun > 0 && buffer.len() < begun + COPIED {
                ready!(this.poll_rest(context))?;
                continue;
            }
            buffer[..begun].copy_from_slice(&this.partial[..begun]);
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer[begun..]))?;
            this.begun = 0;
            if read == 0 {
                return Poll::Ready(Ok(begun));
            }
            let direct = this.pass(&buffer[..begun + read])?;
            // Replacements made before the end are still to be handed on.
            if direct > 0 || this.foreign == Some(0) && this.ready.is_empty() {
                return Poll::Ready(Ok(direct));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests;
