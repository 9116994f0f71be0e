//! Tables and arrays, walked without recursion.

use super::{DEEPEST, Fault};

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Fault::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn octet(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn short(&mut self) -> Result<u16, Fault> {
        Ok(self
            .take(2)?
            .iter()
            .fold(0, |sum, &octet| sum << 8 | u16::from(octet)))
    }

    /// The bytes of a short string.
    pub(crate) fn text(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.octet()?;
        self.take(length.into())
    }

    /// Bytes behind a length of four octets.
    pub(crate) fn long(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.take(4)?;
        let length = length
            .iter()
            .fold(0_u32, |sum, &octet| sum << 8 | u32::from(octet));
        self.take(usize::try_from(length).map_err(|_| Fault::Malformed)?)
    }
}

/// Kind of a value, and its bytes.
enum Value<'a> {
    Plain,
    Table(&'a [u8]),
    Array(&'a [u8]),
}

fn value<'a>(from: &mut Reader<'a>) -> Result<Value<'a>, Fault> {
    let length = match from.octet()? {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'S' | b'x' => return from.long().map(|_| Value::Plain),
        b'F' => return from.long().map(Value::Table),
        b'A' => return from.long().map(Value::Array),
        _ => return Err(Fault::Malformed),
    };
    from.take(length).map(|_| Value::Plain)
}

/// Whether the library takes a text.
pub(crate) fn is_utf8(text: &[u8]) -> Result<(), Fault> {
    // Of short texts, and most are short and ASCII, this is known sooner.
    match text.is_ascii() || std::str::from_utf8(text).is_ok() {
        true => Ok(()),
        false => Err(Fault::NotUtf8),
    }
}

/// Examines everything inside a table; returns the number of values.
pub(super) fn look(entries: &[u8]) -> Result<usize, Fault> {
    let mut open: [(Reader<'_>, bool); DEEPEST] = [(Reader(&[]), false); DEEPEST];
    open[0] = (Reader(entries), true);
    let (mut depth, mut values) = (1, 0);
    while depth > 0 {
        let (reader, named) = &mut open[depth - 1];
        if reader.0.is_empty() {
            depth -= 1;
            continue;
        }
        if *named {
            is_utf8(reader.text()?)?;
        }
        let next = match value(reader)? {
            Value::Plain => None,
            Value::Table(entries) => Some((Reader(entries), true)),
            Value::Array(items) => Some((Reader(items), false)),
        };
        values += 1;
        if let Some(next) = next {
            *open.get_mut(depth).ok_or(Fault::TooDeep)? = next;
            depth += 1;
        }
    }
    Ok(values)
}

/// The entries of a table, each with its name; what cannot be split stays together at the end.
pub(super) fn split(entries: &[u8]) -> impl Iterator<Item = (Option<&[u8]>, &[u8])> {
    let mut from = Reader(entries);
    std::iter::from_fn(move || {
        if from.0.is_empty() {
            return None;
        }
        let before = from.0;
        let name = from.text();
        if name.and_then(|_| value(&mut from)).is_err() {
            from = Reader(&[]);
            return Some((name.ok(), before));
        }
        Some((name.ok(), &before[..before.len() - from.0.len()]))
    })
}
