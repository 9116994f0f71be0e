//! The rejects of a run: lines that are no messages, and messages that were given up.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::{Context as _, ensure};
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
    /// Opens the file, or makes it; what it holds stays until [`BadLines::begin`]. Messages may hold personal data:
    /// only the owner of a new file may read it.
    ///
    /// # Errors
    /// When it cannot be written, or is the file that is `read`.
    pub(crate) fn open(path: &Path, read: Option<&Metadata>) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.create(true).write(true).truncate(false).mode(0o600);
        let file = options
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let same = |read: &Metadata, opened: &Metadata| {
            opened.is_file() && (read.dev(), read.ino()) == (opened.dev(), opened.ino())
        };
        let opened = file.metadata()?;
        ensure!(
            !read.is_some_and(|read| same(read, &opened)),
            "--rejects {} is the file to be sent, which would be emptied: name another one",
            path.display()
        );
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    /// Empties the file, unless it is a device or a pipe.
    fn empty(&self) -> std::io::Result<()> {
        let file = self.file.get_ref();
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Ok(())
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

    /// Whether there is a file for them.
    pub(crate) const fn keeps(&self) -> bool {
        self.rejects.is_some()
    }

    /// Begins a run: empties the file, which may hold rejects of an earlier run.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        let Some(rejects) = &self.rejects else {
            return Ok(());
        };
        rejects
            .empty()
            .with_context(|| format!("cannot empty {}", rejects.path.display()))
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
