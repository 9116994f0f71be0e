//! The lines of a file as bytes.

use std::io::BufRead;

use crate::foreign;

/// Numbered lines. Empty ones and byte order marks are left out; a file that is no file of lines ends with its first one.
#[derive(Debug)]
pub(crate) struct RawLines<R> {
    input: R,
    number: u64,
    bytes: u64,
    /// Whether there is nothing more to be read.
    ended: bool,
    /// Whether a line with something in it was read.
    begun: bool,
}

/// A line.
#[derive(Debug)]
pub(crate) struct RawLine {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Its bytes, without the end of the line.
    pub(crate) body: Vec<u8>,
}

/// Reason why a file cannot be read further.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The line where it ends.
    pub(crate) line: RawLine,
    /// The reason, without anything from the line.
    pub(crate) reason: String,
}

impl<R: BufRead> RawLines<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            bytes: 0,
            ended: false,
            begun: false,
        }
    }

    /// Bytes that were read.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn end(&mut self, body: Vec<u8>, reason: String) -> Option<Result<RawLine, Unreadable>> {
        self.ended = true;
        let number = self.number;
        let line = RawLine { number, body };
        Some(Err(Unreadable { line, reason }))
    }
}

impl<R: BufRead> Iterator for RawLines<R> {
    type Item = Result<RawLine, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let mut body = Vec::new();
            self.number += 1;
            match self.input.read_until(b'\n', &mut body) {
                Ok(0) => return None,
                Ok(bytes) => self.bytes += bytes as u64,
                Err(error) => return self.end(Vec::new(), format!("cannot be read: {error}")),
            }
            body.truncate(body.trim_ascii_end().len());
            // At the beginning of a file, and of each of several that were put together.
            if body.starts_with(foreign::BYTE_ORDER_MARK) {
                body.drain(..foreign::BYTE_ORDER_MARK.len());
            }
            if body.trim_ascii_start().is_empty() {
                continue;
            }
            if !std::mem::replace(&mut self.begun, true)
                && let Some(reason) = foreign::file(&body)
            {
                return self.end(body, reason);
            }
            let number = self.number;
            return Some(Ok(RawLine { number, body }));
        }
        None
    }
}
