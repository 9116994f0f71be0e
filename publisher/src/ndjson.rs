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
use crate::raw_lines::{RawLine, RawLines, Unreadable};

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
    input: RawLines<R>,
    domain: Option<&'static Domain>,
    bad: SyncSender<BadLine>,
    /// Whether bad lines go there with their bytes.
    keep: bool,
    /// The first line that is sent.
    first: u64,
    last_route: Option<Arc<Route>>,
    ids: Series,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines; the bad ones are sent to `bad`, which makes it wait while it is full.
    pub fn new(input: R, domain: Option<&'static Domain>, bad: SyncSender<BadLine>) -> Self {
        Self {
            input: RawLines::new(input),
            domain,
            bad,
            keep: false,
            first: 1,
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

    fn refuse(&self, RawLine { number, mut body }: RawLine, reason: String) {
        if !self.keep {
            body = Vec::new();
        }
        // The receiver is gone when the run is over.
        let _ = self.bad.send(BadLine {
            number,
            reason,
            body,
        });
    }

    fn message(&mut self, line: RawLine) -> Result<Outgoing, (String, RawLine)> {
        let (route, id) = match self.read(&line.body) {
            Ok(read) => read,
            Err(reason) => return Err((reason, line)),
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
            line: Some(line.number),
            body: line.body,
        })
    }

    /// Destination and id of a line.
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
        loop {
            let line = match self.input.next()? {
                Ok(line) => line,
                Err(Unreadable { line, reason }) => {
                    self.refuse(line, reason);
                    continue;
                }
            };
            if line.number < self.first {
                continue;
            }
            match self.message(line) {
                Ok(message) => return Some(message),
                Err((reason, line)) => self.refuse(line, reason),
            }
        }
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
pub(crate) fn domain_of(entity: &str) -> Result<&'static Domain, String> {
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
