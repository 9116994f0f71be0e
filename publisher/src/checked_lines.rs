//! The lines of a file, each with everything that is wrong with it.

use std::fmt;
use std::io::BufRead;

use acequia_contracts::{Code, Context, Domain, Entity, Violation, body_text, entity_of, nameless};

use crate::foreign;
use crate::ndjson::domain_of;
use crate::raw_lines::RawLines;

/// Which entity lines are checked as.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// This one.
    Entity(&'static Entity),
    /// The one that the line names, of this domain.
    Domain(&'static Domain),
    /// The one that the line names, of the only domain that has it.
    Any,
}

/// A line that was checked.
#[derive(Debug)]
pub struct CheckedLine {
    /// Its number, from 1.
    pub number: u64,
    /// Its entity, if it is known.
    pub entity: Option<&'static Entity>,
    /// Faults by field; empty when it is valid. They hold no value of the line.
    pub faults: Vec<Violation>,
}

/// Reason why a file cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableFile {
    /// The line where reading ended.
    pub line: u64,
    /// The reason, without anything from the line.
    pub reason: String,
}

impl fmt::Display for UnreadableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Checks lines by the contracts, as workers do. Empty lines are left out; an invalid one stops nothing.
#[derive(Debug)]
pub struct CheckedLines<R> {
    input: RawLines<R>,
    scope: Scope,
    context: Context,
}

impl<R: BufRead> CheckedLines<R> {
    /// Checks lines at the present instant.
    pub fn new(input: R, scope: Scope) -> Self {
        Self {
            input: RawLines::new(input),
            scope,
            context: Context::now(),
        }
    }

    /// Bytes that were read.
    pub const fn bytes(&self) -> u64 {
        self.input.bytes()
    }

    fn check(&self, body: &[u8]) -> (Option<&'static Entity>, Vec<Violation>) {
        match body_text(body).and_then(|text| self.scope.entity(text)) {
            Ok(entity) => {
                let faults = entity.check_body(body, &self.context).err();
                (Some(entity), faults.unwrap_or_default())
            }
            Err(violation) => (None, vec![violation]),
        }
    }
}

impl<R: BufRead> Iterator for CheckedLines<R> {
    type Item = Result<CheckedLine, UnreadableFile>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.input.next()? {
            Ok(line) => line,
            Err(ended) => {
                return Some(Err(UnreadableFile {
                    line: ended.line.number,
                    reason: ended.reason,
                }));
            }
        };
        let (entity, mut faults) = self.check(&line.body);
        for fault in &mut faults {
            explain(fault, &line.body);
        }
        Some(Ok(CheckedLine {
            number: line.number,
            entity,
            faults,
        }))
    }
}

impl Scope {
    /// The entity of a body.
    fn entity(self, text: &str) -> Result<&'static Entity, Violation> {
        let named = || entity_of(text).ok_or_else(|| nameless(text));
        match self {
            Self::Entity(entity) => Ok(entity),
            Self::Domain(domain) => domain.find(&named()?).ok_or_else(|| nameless(text)),
            Self::Any => {
                let name = named()?;
                let domain = domain_of(&name)
                    .map_err(|why| Violation::field(Code::UnknownEntity, "entity", why))?;
                domain.find(&name).ok_or_else(|| nameless(text))
            }
        }
    }
}

/// Names the kind of a line that is not JSON.
fn explain(fault: &mut Violation, body: &[u8]) {
    if matches!(fault.code, Code::InvalidJson | Code::NotUtf8)
        && let Err(reason) = foreign::line(body)
    {
        fault.message = reason;
    }
}
