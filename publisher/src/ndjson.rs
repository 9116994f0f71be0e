//! Messages in files: one JSON object per line.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use acequia_contracts::{Domain, catalog, entity_of};
use uuid::Uuid;

use crate::foreign;
use crate::ids::{Ids, Series};
use crate::outgoing::{Outgoing, Route};

/// Writes the bodies, one per line, and returns their number.
///
/// # Errors
/// When the output takes no more.
pub fn write_lines(
    messages: impl Iterator<Item = Outgoing>,
    mut output: impl Write,
) -> io::Result<u64> {
    let mut count = 0;
    for mut message in messages {
        // Between JSON tokens a line end is as good as a space, and within it is no JSON.
        for byte in &mut message.body {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        message.body.push(b'\n');
        output.write_all(&message.body)?;
        count += 1;
    }
    output.flush()?;
    Ok(count)
}

/// A line that cannot be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Number of the line, from 1.
    pub number: u64,
    /// Why, without anything from the line.
    pub reason: String,
    /// The line, without its end, if somebody keeps it ([`Lines::keeping`]). It may hold personal data, and is in no log.
    pub body: Vec<u8>,
}

impl fmt::Debug for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BadLine({self})")
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.reason)
    }
}

/// Messages from lines. Empty lines and byte order marks are skipped. A line that is not a JSON object
/// is reported instead of sent.
///
/// The domain is the one whose catalog has the line's `entity`, unless a domain is given: then
/// every object is sent, and one whose entity is unknown ends in quarantine, where it can be seen.
///
/// A line is sent under its own `event_id`, so that sending a file twice does no harm. Lines without
/// one are other messages each time.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    domain: Option<&'static Domain>,
    bad: SyncSender<BadLine>,
    /// Whether bad lines go there with their bytes.
    keep: bool,
    number: u64,
    /// The first line that is sent.
    first: u64,
    /// Whether there is nothing more to be read.
    ended: bool,
    /// Whether a line with something in it was read.
    begun: bool,
    last_route: Option<Arc<Route>>,
    ids: Series,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines; the bad ones are sent to `bad`, which makes it wait while it is full.
    pub fn new(input: R, domain: Option<&'static Domain>, bad: SyncSender<BadLine>) -> Self {
        Self {
            input,
            domain,
            bad,
            keep: false,
            number: 0,
            first: 1,
            ended: false,
            begun: false,
            last_route: None,
            ids: Series::new(Ids::Fresh),
        }
    }

    /// Leaves out the lines before this one.
    #[must_use]
    pub const fn from_line(mut self, first: u64) -> Self {
        self.first = first;
        self
    }

    /// Reports bad lines with their bytes.
    #[must_use]
    pub const fn keeping(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    fn refuse(&self, reason: String, mut body: Vec<u8>) {
        if !self.keep {
            body = Vec::new();
        }
        // Nobody listens any more when the run is over.
        let _ = self.bad.send(BadLine {
            number: self.number,
            reason,
            body,
        });
    }

    fn message(&mut self, body: Vec<u8>) -> Result<Outgoing, (String, Vec<u8>)> {
        let (route, id) = match self.read(&body) {
            Ok(read) => read,
            Err(reason) => return Err((reason, body)),
        };
        // Neighbours mostly share their route.
        let route = match self.last_route.take() {
            Some(last) if *last == route => last,
            _ => Arc::new(route),
        };
        self.last_route = Some(Arc::clone(&route));
        Ok(Outgoing {
            route,
            id,
            line: Some(self.number),
            body,
        })
    }

    /// Where a line goes, and under which id.
    fn read(&mut self, body: &[u8]) -> Result<(Route, Option<Uuid>), String> {
        let text = std::str::from_utf8(body).ok();
        let entity = text.and_then(entity_of);
        if entity.is_none() {
            foreign::line(body)?;
        }
        let route = route(self.domain, entity.as_deref())?;
        let id = match text.and_then(event_id) {
            None => Some(self.ids.next()),
            // Of another form: it stays in the body, where the worker reads it.
            Some(own) => own
                .parse()
                .ok()
                .filter(|id: &Uuid| id.get_version_num() == 7),
        };
        Ok((route, id))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Outgoing;

    fn next(&mut self) -> Option<Outgoing> {
        while !self.ended {
            let mut body = Vec::new();
            self.number += 1;
            match self.input.read_until(b'\n', &mut body) {
                Ok(0) => return None,
                Ok(_) => body.truncate(body.trim_ascii_end().len()),
                Err(error) => {
                    self.refuse(format!("cannot be read: {error}"), Vec::new());
                    return None;
                }
            }
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
                self.refuse(reason, body);
                self.ended = true;
                return None;
            }
            if self.number < self.first {
                continue;
            }
            match self.message(body) {
                Ok(message) => return Some(message),
                Err((reason, body)) => self.refuse(reason, body),
            }
        }
        None
    }
}

fn route(domain: Option<&'static Domain>, entity: Option<&str>) -> Result<Route, String> {
    let domain = match (domain, entity) {
        (Some(domain), _) => domain,
        (None, Some(entity)) => domain_of(entity)?,
        (None, None) => {
            return Err(
                "the object has no text in its field entity, or has that field twice".to_owned(),
            );
        }
    };
    // The catalog's own spelling where it knows the entity.
    let name = entity.map(|entity| domain.find(entity).map_or(entity, |found| found.name));
    Route::topic(domain.name, name).ok_or_else(|| "the entity's name is too long".to_owned())
}

/// The only domain that has an entity.
fn domain_of(entity: &str) -> Result<&'static Domain, String> {
    let mut found = catalog()
        .iter()
        .filter(|domain| domain.find(entity).is_some());
    match (found.next(), found.next()) {
        (Some(domain), None) => Ok(domain),
        (None, _) => Err("no domain has this entity; name one with --domain".to_owned()),
        (Some(one), Some(other)) => Err(format!(
            "{} and {} both have this entity; choose with --domain",
            one.name, other.name
        )),
    }
}

/// The id that a body names; blank texts, the nil and the max UUID name none, as the worker has it.
fn event_id(text: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Event {
        event_id: Option<String>,
    }
    // Most lines have none, and need not be read twice.
    let event: Event = text
        .contains("\"event_id\"")
        .then(|| serde_json::from_str(text).ok())??;
    event.event_id.filter(|id| {
        let uuid: Option<Uuid> = id.trim().parse().ok();
        !id.trim().is_empty() && !uuid.is_some_and(|uuid| uuid.is_nil() || uuid.is_max())
    })
}
