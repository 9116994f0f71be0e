//! The log of every program: format, filter, errors and panics.
//!
//! A log that cannot be written never ends or delays a program: lines are dropped and counted.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;
use std::{mem, thread};

use crate::metrics::CountEvents;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Exit status of programs whose reader went away, as a shell tells it (128 + SIGPIPE).
const CLOSED_PIPE: i32 = 141;
/// Exit status of programs whose output could not be written.
const NO_OUTPUT: i32 = 2;
/// At its trace level lapin logs every byte it sends, passwords and bodies included.
const MOST_DETAIL: LevelFilter = LevelFilter::DEBUG;
/// Lines that wait for standard error; further ones are dropped.
const WAITING_LINES: usize = 16_384;
/// Pause of the thread that writes, in which lines gather: to wake it costs more than to write a line.
const GATHER: Duration = Duration::from_millis(50);

/// How a program logs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// Form of the log on standard error
    #[arg(long, env = "LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// Filter of the log, as info or acequia_worker=debug
    #[arg(long, env = "ACEQUIA_LOG", global = true, value_name = "FILTER")]
    pub log: Option<String>,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl LogArgs {
    /// Starts the log of a service: a thread of its own writes to standard error, so a reader that
    /// stops reading holds up nothing. Lines that still wait are written when the guard is dropped.
    ///
    /// # Errors
    /// When the filter is invalid.
    pub fn start_service(&self, filter: &str) -> anyhow::Result<WorkerGuard> {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING_LINES)
            .thread_name("log")
            .finish(Unhurried::new(Unfailing(io::stderr())));
        let dropped = writer.error_counter();
        crate::metrics::count_dropped_lines(move || dropped.dropped_lines() as u64);
        self.start(filter, false, writer)?;
        Ok(guard)
    }

    /// Starts the log of the process. `filter` is for those who choose none; `brief` leaves time and
    /// module out of the text of an interactive program.
    ///
    /// # Errors
    /// When the filter is invalid.
    pub fn start<W>(&self, filter: &str, brief: bool, writer: W) -> anyhow::Result<()>
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let chosen = self.log.as_deref().filter(|chosen| !chosen.is_empty());
        let filter = EnvFilter::try_new(chosen.unwrap_or(filter)).context("ACEQUIA_LOG")?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(io::stderr().is_terminal())
            // The library would report a failed write on standard error, and panic when that fails.
            .log_internal_errors(false)
            .with_writer(writer);
        // Only the first log of a process counts: tests run several programs in one.
        let _ = match (self.log_format, brief) {
            (LogFormat::Text, true) => {
                let log = log.with_target(false).without_time().finish();
                log.with(CountEvents).with(MOST_DETAIL).try_init()
            }
            (LogFormat::Text, false) => {
                let log = log.finish();
                log.with(CountEvents).with(MOST_DETAIL).try_init()
            }
            (LogFormat::Json, _) => {
                let log = log.json().flatten_event(true).with_span_list(false);
                log.finish().with(CountEvents).with(MOST_DETAIL).try_init()
            }
        };
        std::panic::set_hook(Box::new(panicked));
        Ok(())
    }

    /// Logs why the program ends, whatever the filter.
    pub fn failed(&self, error: &anyhow::Error) {
        match self.log_format {
            LogFormat::Text => crate::note!("error: {error:#}"),
            LogFormat::Json => {
                let log = tracing_subscriber::fmt()
                    .json()
                    .flatten_event(true)
                    .with_span_list(false)
                    .log_internal_errors(false)
                    .with_writer(io::stderr)
                    .finish();
                tracing::subscriber::with_default(log, || {
                    let error = format!("{error:#}");
                    tracing::error!(event = "program.failed", error, "cannot go on");
                });
            }
        }
    }
}

/// Prints a line for people on standard error. A line that cannot be written is dropped: unlike
/// `eprintln!` this never panics.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => {{
        use ::std::io::Write as _;
        let _ = ::std::writeln!(::std::io::stderr(), $($text)*);
    }};
}

/// A writer that pauses after what it has written.
struct Unhurried<W> {
    writer: W,
    written: bool,
}

impl<W> Unhurried<W> {
    const fn new(writer: W) -> Self {
        Self {
            writer,
            written: false,
        }
    }
}

impl<W: Write> Write for Unhurried<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.written = true;
        self.writer.write(line)
    }

    /// Called when no line waits.
    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        if mem::take(&mut self.written) {
            thread::sleep(GATHER);
        }
        Ok(())
    }
}

/// A writer that drops and counts lines that it cannot write.
struct Unfailing<W>(W);

impl<W: Write> Write for Unfailing<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            crate::metrics::dropped_line();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// The text of a panic may hold part of a message: only the place is logged.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or_default();
    if text.starts_with("failed printing to stdout") {
        if text.contains("Broken pipe") {
            // The reader of our output has seen enough, as `head` does: that is no defect.
            std::process::exit(CLOSED_PIPE);
        }
        note!("error: {text}");
        std::process::exit(NO_OUTPUT);
    }
    crate::metrics::panicked();
    let place = panic.location().map(ToString::to_string);
    tracing::error!(event = "panic", place, "a defect: please report the place");
}
