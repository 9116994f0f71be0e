//! The property list of an AMQP message as bytes, split into readable and unreadable parts.
//!
//! A property list is what a content header frame holds behind the body's size: two octets that say
//! which properties are there, then the properties. RabbitMQ takes and delivers lists that the AMQP
//! library refuses (text that is not UTF-8) or dies of (tables nested thousands deep). Nothing here
//! recurses, and nothing is taken on trust.

mod walk;

use std::fmt;

use lapin::BasicProperties;
use lapin::protocol::basic::{gen_properties, parse_properties};

pub(crate) use self::walk::{Reader, is_utf8};
use self::walk::{look, split};

/// Tables and arrays inside each other, the headers themselves included, up to which a list is read.
pub const DEEPEST: usize = 32;
/// Path of what stands behind the last property.
const BEHIND: &str = "properties";

/// Reason why a property cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A short string, or the name of a header, is not UTF-8.
    NotUtf8,
    /// Tables or arrays are nested deeper than [`DEEPEST`].
    TooDeep,
    /// A length leads out of the list, or a value is of no known kind.
    Malformed,
}

/// A property that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Name of the property, `headers.<name>` for a header; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Why.
    pub fault: Fault,
    /// Its bytes: the text without its length, or the whole header with name and value.
    pub bytes: Vec<u8>,
}

impl Unreadable {
    pub(crate) fn new(path: &str, fault: Fault, bytes: &[u8]) -> Self {
        Self {
            path: path.to_owned(),
            fault,
            bytes: bytes.to_owned(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::NotUtf8 => f.write_str("is not UTF-8"),
            Fault::TooDeep => write!(f, "is nested deeper than {DEEPEST} tables and arrays"),
            Fault::Malformed => f.write_str("is malformed: a length or a kind of value is wrong"),
        }
    }
}

/// Types of the properties, in the order in which they stand in a list.
enum Kind {
    Text,
    Octet,
    Time,
    Table,
}

/// Name and kind of each property; its flag is the highest bit less its place.
const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::Text),
    ("content_encoding", Kind::Text),
    ("headers", Kind::Table),
    ("delivery_mode", Kind::Octet),
    ("priority", Kind::Octet),
    ("correlation_id", Kind::Text),
    ("reply_to", Kind::Text),
    ("expiration", Kind::Text),
    ("message_id", Kind::Text),
    ("timestamp", Kind::Time),
    ("type", Kind::Text),
    ("user_id", Kind::Text),
    ("app_id", Kind::Text),
    ("cluster_id", Kind::Text),
];

/// Whether the AMQP library can read a list, and how many values its headers hold.
pub(crate) fn is_readable(list: &[u8]) -> Result<usize, Fault> {
    let mut from = Reader(list);
    let flags = from.short()?;
    let mut values = 0;
    for (place, (_, kind)) in PROPERTIES.iter().enumerate() {
        if flags & 1 << (15 - place) == 0 {
            continue;
        }
        match kind {
            Kind::Text => is_utf8(from.text()?)?,
            Kind::Octet => _ = from.octet()?,
            Kind::Time => _ = from.take(8)?,
            Kind::Table => values = look(from.long()?)?,
        }
    }
    if from.0.is_empty() {
        Ok(values)
    } else {
        Err(Fault::Malformed)
    }
}

/// The readable part of a list, as a list that the AMQP library can read and that is no longer than
/// the given one, and what was left out.
#[must_use]
pub fn readable(list: &[u8]) -> (Vec<u8>, Vec<Unreadable>) {
    let mut from = Reader(list);
    let mut out = vec![0; 2];
    let mut left_out = Vec::new();
    let (mut kept, flags) = (0_u16, from.short().unwrap_or_default());
    for (place, (name, kind)) in PROPERTIES.iter().enumerate() {
        let flag = 1 << (15 - place);
        if flags & flag == 0 {
            continue;
        }
        let before = from.0;
        let read = match kind {
            Kind::Text => from.text().map(|text| (text, is_utf8(text))),
            Kind::Octet => from.take(1).map(|octet| (octet, Ok(()))),
            Kind::Time => from.take(8).map(|time| (time, Ok(()))),
            Kind::Table => from.long().map(|entries| (entries, Ok(()))),
        };
        match read {
            Ok((entries, _)) if matches!(kind, Kind::Table) => {
                let begin = out.len();
                out.extend([0; 4]);
                headers(entries, &mut out, &mut left_out);
                // No longer than what came behind a length of its own.
                let length = u32::try_from(out.len() - begin - 4).unwrap_or_default();
                out[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
                kept |= flag;
            }
            Ok((_, Ok(()))) => {
                out.extend_from_slice(&before[..before.len() - from.0.len()]);
                kept |= flag;
            }
            Ok((text, Err(fault))) => left_out.push(Unreadable::new(name, fault, text)),
            Err(fault) => {
                // The beginning of the next property is unknown.
                left_out.push(Unreadable::new(name, fault, before));
                from = Reader(&[]);
                break;
            }
        }
    }
    if !from.0.is_empty() || list.len() < 2 {
        left_out.push(Unreadable::new(BEHIND, Fault::Malformed, from.0));
    }
    out[..2].copy_from_slice(&kept.to_be_bytes());
    (out, left_out)
}

/// Copies the readable headers.
fn headers(entries: &[u8], out: &mut Vec<u8>, left_out: &mut Vec<Unreadable>) {
    for (name, entry) in split(entries) {
        // The entry as a table of its own.
        match look(entry) {
            Ok(_) => out.extend_from_slice(entry),
            Err(fault) => {
                let path = match name {
                    Some(name) => format!("headers.{}", String::from_utf8_lossy(name)),
                    None => "headers".to_owned(),
                };
                left_out.push(Unreadable::new(&path, fault, entry));
            }
        }
    }
}

/// The parts that stay the same in another delivery of a message: the bytes of every property and
/// header but those that the broker itself adds on the way (`added` says which, by name).
pub fn stable_parts(list: &[u8], added: impl Fn(&[u8]) -> bool) -> Vec<&[u8]> {
    let mut from = Reader(list);
    let flags = from.short().unwrap_or_default();
    let mut parts = Vec::new();
    for (place, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags & 1 << (15 - place) == 0 {
            continue;
        }
        let before = from.0;
        let read = match kind {
            Kind::Text => from.text(),
            Kind::Octet => from.take(1),
            Kind::Time => from.take(8),
            Kind::Table => from.long(),
        };
        match read {
            // Not the name: headers of the broker's alone are no headers.
            Ok(entries) if matches!(kind, Kind::Table) => {
                let kept = split(entries).filter(|(name, _)| !name.is_some_and(&added));
                parts.extend(kept.map(|(_, entry)| entry));
            }
            Ok(bytes) => parts.extend([name.as_bytes(), bytes]),
            Err(_) => {
                parts.push(before);
                return parts;
            }
        }
    }
    parts.push(from.0);
    parts
}

/// The properties of a list that can be read, and what was left out.
#[must_use]
pub fn read(list: &[u8]) -> (BasicProperties, Vec<Unreadable>) {
    let (readable, mut left_out) = readable(list);
    let properties = match parse_properties(readable.as_slice()) {
        Ok((_, properties)) => properties,
        Err(_) => {
            left_out.push(Unreadable::new(BEHIND, Fault::Malformed, list));
            BasicProperties::default()
        }
    };
    (properties, left_out)
}

/// Properties as a list.
#[must_use]
pub fn write(properties: &BasicProperties) -> Vec<u8> {
    // Nothing is longer than its length can say: it came in a frame.
    gen_properties(properties)(Vec::new().into())
        .map(|written| written.into_inner().0)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
