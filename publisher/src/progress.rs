//! Progress output: a bar on a terminal, a line every two seconds elsewhere.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use acequia_telemetry::LogFormat;
use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

use crate::summary::Summary;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows progress on stderr. Clones show the same.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    Quiet,
    Bar(ProgressBar),
    Lines {
        last: Instant,
        total: Option<u64>,
        format: LogFormat,
    },
}

impl Progress {
    /// For `total` messages, if the number is known.
    pub(crate) fn new(quiet: bool, format: LogFormat, total: Option<u64>) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if format == LogFormat::Json || !io::stderr().is_terminal() {
            let last = Instant::now();
            return Self::Lines {
                last,
                total,
                format,
            };
        }
        let template = match total {
            Some(_) => "{bar:30} {human_pos}/{human_len} {msg} {eta}",
            None => "{spinner} {human_pos} {msg}",
        };
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    pub(crate) fn show(&mut self, summary: &Summary) {
        let (confirmed, rate) = (summary.confirmed, summary.rate);
        self.step(
            confirmed + summary.failed,
            || format!("{rate:.0} msg/s"),
            |total, format| {
                if format == LogFormat::Json {
                    info!(
                        event = "publisher.progress",
                        confirmed, total, rate, "sending"
                    );
                    return;
                }
                let of = total.map_or(String::new(), |total| format!(" of {total}"));
                acequia_telemetry::note!("confirmed {confirmed}{of}, {rate:.0} msg/s");
            },
        );
    }

    /// Shows how many lines were checked; `bytes` of the total were read.
    pub(crate) fn checked(&mut self, bytes: u64, lines: u64, invalid: u64) {
        self.step(
            bytes,
            || format!("bytes, {lines} lines, {invalid} invalid"),
            |_, format| {
                if format == LogFormat::Json {
                    info!(event = "publisher.progress", lines, invalid, "checking");
                } else {
                    acequia_telemetry::note!("checked {lines} lines, {invalid} invalid");
                }
            },
        );
    }

    /// Moves the bar, or writes a line when it is time for one.
    fn step(
        &mut self,
        position: u64,
        message: impl FnOnce() -> String,
        line: impl FnOnce(Option<u64>, LogFormat),
    ) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                bar.set_position(position);
                bar.set_message(message());
                bar.tick();
            }
            Self::Lines {
                last,
                total,
                format,
            } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    line(*total, *format);
                }
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }

    /// Stderr for log lines, without breaking the bar.
    pub(crate) fn writer(&self) -> impl Fn() -> LogWriter + Send + Sync + 'static {
        let bar = match self {
            Self::Bar(bar) => Some(bar.clone()),
            _ => None,
        };
        move || LogWriter(bar.clone())
    }
}

/// Writes to stderr while the bar steps aside.
pub(crate) struct LogWriter(Option<ProgressBar>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
