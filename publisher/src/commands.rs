//! What the commands do.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use acequia_meter::CountEvents;
use anyhow::Context as _;
use clap::{ArgMatches, FromArgMatches as _};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::{Broker, Input, Output, Report};
use crate::ids::Ids;
use crate::metrics::{Meter, Metrics, serve};
use crate::ndjson::{BadLine, Lines, write_lines};
use crate::outgoing::Outgoing;
use crate::plan::{Messages, Mix, plan};
use crate::progress::Progress;
use crate::publisher::Publisher;
use crate::summary::Summary;

/// The broker does not have all messages, or lines could not be sent.
const INCOMPLETE: u8 = 1;
/// Wrong usage, or no connection.
const UNUSABLE: u8 = 2;
/// Lines that are reported one by one; the rest is counted only.
const REPORTED_LINES: usize = 20;

/// Runs the command that was typed.
#[must_use]
pub fn execute(matches: &ArgMatches) -> ExitCode {
    let result = match matches.subcommand() {
        Some(("generate", matches)) => generate(matches),
        Some((_, matches)) => send(matches),
        None => Ok(UNUSABLE),
    };
    result.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::from(UNUSABLE)
        },
        ExitCode::from,
    )
}

fn generate(matches: &ArgMatches) -> anyhow::Result<u8> {
    let (name, matches) = matches.subcommand().context("no domain")?;
    let domain = acequia_contracts::domain(name).context("no such domain")?;
    let mix = Mix::from_arg_matches(matches)?;
    let Output { output } = Output::from_arg_matches(matches)?;
    let report = Report::from_arg_matches(matches)?;
    let messages = plan(domain, matches, &mix, Ids::Fresh).unwrap_or_else(|error| error.exit());
    if let Some(path) = output {
        return write(messages, &path, &report);
    }
    let total = Some(messages.size_hint().0 as u64);
    transmit(matches, &report, messages, total, !mix.legacy, None)
}

fn write(messages: Messages, path: &Path, report: &Report) -> anyhow::Result<u8> {
    let result = if path == Path::new("-") {
        write_lines(messages, BufWriter::new(io::stdout().lock()))
    } else {
        File::create(path).and_then(|file| write_lines(messages, BufWriter::new(file)))
    };
    match result {
        Ok(count) => {
            if !report.quiet {
                eprintln!("wrote {count} messages to {}", path.display());
            }
            Ok(0)
        }
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

fn send(matches: &ArgMatches) -> anyhow::Result<u8> {
    let Input { file, domain } = Input::from_arg_matches(matches)?;
    let report = Report::from_arg_matches(matches)?;
    let domain = domain.and_then(|name| acequia_contracts::domain(&name));
    let input: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let (bad, bad_lines) = channel();
    let messages = Lines::new(BufReader::new(input), domain, bad);
    transmit(matches, &report, messages, None, true, Some(bad_lines))
}

/// Sends messages, shows how it goes, and tells the exit status.
fn transmit(
    matches: &ArgMatches,
    report: &Report,
    messages: impl Iterator<Item = Outgoing> + Send + 'static,
    total: Option<u64>,
    exchange: bool,
    bad_lines: Option<Receiver<BadLine>>,
) -> anyhow::Result<u8> {
    let broker = Broker::from_arg_matches(matches)?;
    let url = broker.url(matches)?;
    let mut progress = Progress::new(report.quiet, total);
    start_log(&progress, report.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;

    let interrupted = Cell::new(0);
    let meter = Meter(match report.http_addr {
        Some(_) => Some(Arc::new(Metrics::new().context("metrics")?)),
        None => None,
    });
    let mut bad = BadLines::new(bad_lines, meter.clone());
    let summary = runtime.block_on(async {
        if let (Some(address), Some(metrics)) = (report.http_addr, &meter.0) {
            serve(address, metrics.clone()).await?;
        }
        let attempt = Publisher::connect_with(url, broker.settings(exchange)).await;
        meter.with(|metrics| metrics.attempted(attempt.is_ok()));
        let mut publisher = attempt?;
        if let Some(metrics) = &meter.0 {
            publisher = publisher.observed(metrics.clone());
        }
        let signals = signals(&interrupted)?;
        let summary = publisher
            .send_until(messages, signals, |summary| {
                bad.report();
                progress.show(summary);
            })
            .await;
        publisher.close().await;
        anyhow::Ok(summary)
    });
    progress.finish();
    let summary = summary?;
    bad.report();
    tell(&summary, bad.count, report)?;
    Ok(match interrupted.get() {
        0 if summary.is_complete() && bad.count == 0 => 0,
        0 => INCOMPLETE,
        signal => 128 + signal,
    })
}

/// Ends with the first signal that asks for an end, and leaves its number behind.
fn signals(number: &Cell<u8>) -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => number.set(2),
            _ = terminate.recv() => number.set(15),
        }
    })
}

/// At its trace level lapin logs every byte it sends, passwords included.
const MOST_DETAIL: LevelFilter = LevelFilter::DEBUG;

/// Our own messages only, unless `RUST_LOG` says otherwise: lapin logs whole bodies.
fn start_log(progress: &Progress, quiet: bool) {
    let level = if quiet { "warn" } else { "info" };
    let ours = format!("off,{}={level}", env!("CARGO_CRATE_NAME"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(progress.writer())
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .without_time();
    // Only the first log of a process counts.
    let log = log.finish().with(CountEvents).with(MOST_DETAIL);
    let _ = log.try_init();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        acequia_meter::panicked();
        report(panic);
    }));
}

/// Lines that could not be sent, as they come in from the reader.
struct BadLines {
    lines: Option<Receiver<BadLine>>,
    count: usize,
    meter: Meter,
}

impl BadLines {
    const fn new(lines: Option<Receiver<BadLine>>, meter: Meter) -> Self {
        let count = 0;
        Self {
            lines,
            count,
            meter,
        }
    }

    fn report(&mut self) {
        for line in self.lines.iter().flat_map(Receiver::try_iter) {
            self.count += 1;
            self.meter.with(Metrics::bad_line);
            match self.count {
                ..=REPORTED_LINES => warn!("{line}"),
                count if count == REPORTED_LINES + 1 => warn!("more lines cannot be sent"),
                _ => {}
            }
        }
    }
}

/// The result, for people and for programs.
fn tell(summary: &Summary, bad_lines: usize, report: &Report) -> anyhow::Result<()> {
    for (reason, count) in &summary.reasons {
        eprintln!("{count} not confirmed: {reason}");
    }
    for failure in &summary.failures {
        let id = failure
            .message_id
            .map_or(String::new(), |id| format!(" {id}"));
        eprintln!("  for example {}{id}", failure.entity);
    }
    if bad_lines > 0 {
        eprintln!("{bad_lines} lines could not be sent");
    }
    if let Some(why) = &summary.stopped {
        eprintln!("stopped before the end: {why}");
    }
    if !report.quiet {
        eprintln!("{summary}");
    }
    if report.json {
        let mut result = serde_json::to_value(summary)?;
        result["bad_lines"] = bad_lines.into();
        writeln!(io::stdout(), "{result}")?;
    }
    Ok(())
}
