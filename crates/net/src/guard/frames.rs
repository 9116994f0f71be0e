//! Removes from method and content header frames the parts that the AMQP library could not read.

use std::io;

use super::notes::{Note, Notes};
use crate::properties::{Fault, Reader, Unreadable, is_readable, is_utf8, readable};

/// Octets before the payload: type, channel, length.
pub(super) const HEAD: usize = 7;
/// Octets of a content header before the property list: class, weight, size of the body.
const BEFORE_LIST: usize = 12;
/// Memory that a header's value takes in the AMQP library, about, whatever it holds.
const EACH_VALUE: usize = 96;
/// Properties that weigh less need no note: every message has that many bytes of them.
const LIGHT: usize = 2048;
/// Methods without text are no longer than that.
const SHORT: usize = 32;

const DELIVER: (u16, u16) = (60, 60);
const GET_OK: (u16, u16) = (60, 71);

/// A field of a method.
#[derive(Clone, Copy)]
enum Field {
    /// A number of octets without meaning for the guard.
    Plain(usize),
    /// A delivery tag.
    Tag,
    /// A short string, and its name where it is a delivery's.
    Text(&'static str),
    /// A long string.
    Long,
    /// A table.
    Table,
}

/// The methods that a broker sends with text in them; all others are short.
const fn fields(method: (u16, u16)) -> &'static [Field] {
    use Field::{Long, Plain, Table, Tag, Text};
    const CLOSE: &[Field] = &[Plain(2), Text(""), Plain(4)];
    match method {
        (10, 10) => &[Plain(2), Table, Long, Long], // connection.start
        (10, 20) => &[Long],                        // connection.secure
        (10, 41 | 60) => &[Text("")],               // connection.open-ok, blocked
        (10, 50) | (20, 40) => CLOSE,               // connection.close, channel.close
        (20, 11) => &[Long],                        // channel.open-ok
        (50, 11) => &[Text(""), Plain(8)],          // queue.declare-ok
        (60, 21 | 31) => &[Text("")],               // basic.consume-ok, cancel-ok
        (60, 30) => &[Text(""), Plain(1)],          // basic.cancel
        (60, 50) => &[Plain(2), Text(""), Text(""), Text("")], // basic.return
        DELIVER => &[
            Text(""),
            Tag,
            Plain(1),
            Text("exchange"),
            Text("routing_key"),
        ],
        GET_OK => &[
            Tag,
            Plain(1),
            Text("exchange"),
            Text("routing_key"),
            Plain(4),
        ],
        _ => &[],
    }
}

/// A delivery whose content header comes next.
#[derive(Debug, Default)]
struct Coming {
    tag: Option<u64>,
    unreadable: Vec<Unreadable>,
}

/// Examines the frames of a connection.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// By channel.
    coming: Vec<Coming>,
    notes: Notes,
}

impl Frames {
    pub(super) fn new(notes: Notes) -> Self {
        Self {
            coming: Vec::new(),
            notes,
        }
    }

    /// Examines a whole method frame; returns another one to take its place where it cannot be read.
    ///
    /// # Errors
    /// When it is no frame that a broker sends.
    pub(super) fn method(&mut self, frame: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let (channel, payload) = parts(frame);
        let mut from = Reader::new(payload);
        let method = (from.short(), from.short());
        let (Ok(class), Ok(number)) = method else {
            return Err(foreign("a method without a name"));
        };
        let fields = fields((class, number));
        if fields.is_empty() {
            return match payload.len() <= SHORT {
                true => Ok(None),
                false => Err(foreign("a method that no broker sends")),
            };
        }
        let mut coming = Coming::default();
        // Made only when something has to be replaced.
        let mut mended: Option<Vec<u8>> = None;
        for field in fields {
            let before = from.rest();
            let read = match field {
                Field::Plain(octets) => from.take(*octets).map(|_| None),
                Field::Tag => from.take(8).map(|octets| {
                    coming.tag = octets.try_into().ok().map(u64::from_be_bytes);
                    None
                }),
                Field::Text(name) => from.text().map(|text| match is_utf8(text) {
                    Ok(()) => None,
                    Err(_) if name.is_empty() => Some(short_text(text)),
                    Err(_) => {
                        let unreadable = Unreadable::new(name, Fault::NotUtf8, text);
                        coming.unreadable.push(unreadable);
                        Some(vec![0])
                    }
                }),
                Field::Long => from.long().map(|_| None),
                Field::Table => from.long().map(table),
            };
            let instead = read.map_err(|_| foreign("a method that ends too early"))?;
            let read = &before[..before.len() - from.rest().len()];
            match (&mut mended, instead) {
                (Some(mended), instead) => mended.extend(instead.as_deref().unwrap_or(read)),
                (None, Some(instead)) => {
                    let unchanged = &payload[..payload.len() - before.len()];
                    mended = Some([unchanged, &instead].concat());
                }
                (None, None) => {}
            }
        }
        if !from.rest().is_empty() {
            return Err(foreign("a method that is longer than it may be"));
        }
        if coming.tag.is_some() {
            let place = usize::from(channel);
            if self.coming.len() <= place {
                self.coming.resize_with(place + 1, Coming::default);
            }
            self.coming[place] = coming;
        }
        Ok(mended.map(|payload| whole(frame, &payload)))
    }

    /// Examines a whole content header frame; returns another one to take its place where it cannot be read.
    ///
    /// # Errors
    /// When it is no frame that a broker sends.
    pub(super) fn header(&mut self, frame: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let (channel, payload) = parts(frame);
        let Some((before, list)) = payload.split_at_checked(BEFORE_LIST) else {
            return Err(foreign("a content header that ends too early"));
        };
        let coming = self.coming.get_mut(usize::from(channel));
        let coming = coming.map(std::mem::take).unwrap_or_default();
        let (mut unreadable, tag) = (coming.unreadable, coming.tag);
        let (mended, weight) = match is_readable(list) {
            Ok(values) => (None, list.len() + values * EACH_VALUE),
            Err(_) => {
                let (readable, left_out) = readable(list);
                unreadable.extend(left_out);
                let values = is_readable(&readable).unwrap_or_default();
                let mended = whole(frame, &[before, &readable].concat());
                // The list itself is kept beside it.
                (Some(mended), 2 * list.len() + values * EACH_VALUE)
            }
        };
        if let Some(tag) = tag
            && (!unreadable.is_empty() || weight > LIGHT)
        {
            let list = match unreadable.is_empty() {
                true => Vec::new(),
                false => list.to_owned(),
            };
            let note = Note {
                weight,
                unreadable,
                list,
            };
            self.notes.put(channel, tag, note);
        }
        Ok(mended)
    }
}

/// Channel and payload of a whole frame.
fn parts(frame: &[u8]) -> (u16, &[u8]) {
    let channel = u16::from_be_bytes([frame[1], frame[2]]);
    (channel, &frame[HEAD..frame.len() - 1])
}

/// A frame like another one, with another payload.
fn whole(like: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [
        &like[..3],
        &length.to_be_bytes(),
        payload,
        &like[like.len() - 1..],
    ]
    .concat()
}

/// A text of the broker's own in a form that can be read: a long one may be cut within a character.
fn short_text(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let text = &text.as_bytes()[..text.floor_char_boundary(255)];
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[length], text].concat()
}

/// The readable part of a table, when that is not the whole of it.
fn table(entries: &[u8]) -> Option<Vec<u8>> {
    // As the headers of a message that has nothing else.
    const HEADERS: [u8; 2] = (1_u16 << 13).to_be_bytes();
    let length = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let list = [&HEADERS, &length.to_be_bytes()[..], entries].concat();
    is_readable(&list)
        .err()
        .map(|_| readable(&list).0[2..].to_vec())
}

fn foreign(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the broker sent {what}"),
    )
}
