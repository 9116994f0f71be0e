//! What the broker does not have at the end of a run: lines that are no messages, and messages that were given up.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::Context as _;
use tracing::warn;

use crate::metrics::{Metrics, OptionalMetrics};
use crate::ndjson::BadLine;
use crate::outgoing::Outgoing;

/// Lines that are reported one by one; the rest is counted only.
const REPORTED_LINES: usize = 20;

/// The file that takes them, a line each, as they were.
pub(crate) struct Rejects {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Rejects {
    /// Makes the file, or empties it. Messages may hold personal data: only its owner may read it.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.create(true).write(true).truncate(true).mode(0o600);
        let file = options
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    fn line(&mut self, body: &[u8]) -> std::io::Result<()> {
        self.file.write_all(body)?;
        self.file.write_all(b"\n")
    }
}

/// Collects them while a run goes on.
pub(crate) struct BadLines {
    lines: Option<Receiver<BadLine>>,
    given_up: Receiver<Arc<Outgoing>>,
    rejects: Option<Rejects>,
    /// The first error of the file.
    error: Option<std::io::Error>,
    /// Lines that are no messages.
    pub(crate) count: usize,
    /// Number and reason of the first of them.
    pub(crate) first: Vec<(u64, String)>,
    metrics: OptionalMetrics,
}

impl BadLines {
    pub(crate) const fn new(
        lines: Option<Receiver<BadLine>>,
        given_up: Receiver<Arc<Outgoing>>,
        rejects: Option<Rejects>,
        metrics: OptionalMetrics,
    ) -> Self {
        Self {
            lines,
            given_up,
            rejects,
            error: None,
            count: 0,
            first: Vec::new(),
            metrics,
        }
    }

    /// Takes what has come.
    pub(crate) fn report(&mut self) {
        let lines: Vec<_> = self.lines.iter().flat_map(Receiver::try_iter).collect();
        for line in lines {
            self.count += 1;
            self.metrics.with(Metrics::bad_line);
            match self.count {
                ..=REPORTED_LINES => {
                    warn!(event = "publisher.bad_line", line = line.number, "{line}");
                    self.first.push((line.number, line.reason.clone()));
                }
                count if count == REPORTED_LINES + 1 => {
                    warn!(event = "publisher.bad_line", "more lines cannot be sent");
                }
                _ => {}
            }
            self.keep(&line.body);
        }
        let given_up: Vec<_> = self.given_up.try_iter().collect();
        for message in given_up {
            self.keep(&message.body);
        }
    }

    fn keep(&mut self, body: &[u8]) {
        let written = match &mut self.rejects {
            Some(rejects) => rejects.line(body),
            None => Ok(()),
        };
        if let Err(error) = written {
            self.error.get_or_insert(error);
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When it could not be written whole.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let Some(mut rejects) = self.rejects.take() else {
            return Ok(());
        };
        let written = match self.error.take() {
            Some(error) => Err(error),
            None => rejects.file.flush(),
        };
        written.with_context(|| format!("cannot write {}", rejects.path.display()))
    }
}
