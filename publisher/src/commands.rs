//! Implementation of the commands.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};

use acequia_contracts::{catalog, schema};
use acequia_net::allow_http;
use acequia_telemetry::{LogArgs, LogFormat, Traces};
use anyhow::Context as _;
use clap::{ArgMatches, FromArgMatches as _};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::cli::{Broker, Input, Output, Report};
use crate::ids::Ids;
use crate::metrics::{Metrics, OptionalMetrics, serve};
use crate::ndjson::{BadLine, Lines, write_lines};
use crate::outgoing::Outgoing;
use crate::plan::{Messages, Mix, plan};
use crate::progress::Progress;
use crate::publisher::Publisher;
use crate::rejects::{BadLines, Rejects};
use crate::summary::Summary;

/// The broker does not have all messages, or lines could not be sent.
const INCOMPLETE: u8 = 1;
/// Wrong usage, or no connection.
const UNUSABLE: u8 = 2;

/// Maximum number of bad lines that wait to be reported: reading waits for the report.
const BAD_LINES_AHEAD: usize = 10_000;

/// Runs the command that was typed.
#[must_use]
pub fn execute(matches: &ArgMatches) -> ExitCode {
    let log = LogArgs::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    let result = match matches.subcommand() {
        Some(("generate", matches)) => generate(matches, &log),
        Some(("validate", matches)) => crate::validate::run(matches, &log),
        Some(("contracts", matches)) => crate::contracts::run(matches),
        Some(("schema", matches)) => print_schema(matches.get_one::<String>("entity")),
        Some((_, matches)) => send(matches, &log),
        None => Ok(UNUSABLE),
    };
    result.map_or_else(
        |error| {
            log.failed(&error);
            ExitCode::from(UNUSABLE)
        },
        ExitCode::from,
    )
}

fn generate(matches: &ArgMatches, log: &LogArgs) -> anyhow::Result<u8> {
    let (name, matches) = matches.subcommand().context("no domain")?;
    let domain = acequia_contracts::domain(name).context("no such domain")?;
    let mix = Mix::from_arg_matches(matches)?;
    let Output { output } = Output::from_arg_matches(matches)?;
    let report = Report::from_arg_matches(matches)?;
    let messages = plan(domain, matches, &mix, Ids::Fresh).unwrap_or_else(|error| error.exit());
    if let Some(path) = output {
        return write(messages, &path, &report, log);
    }
    let total = Some(messages.size_hint().0 as u64);
    let what = Plan {
        messages,
        total,
        exchange: !mix.legacy,
        bad_lines: None,
        rejects: None,
    };
    transmit(matches, &report, log, what)
}

fn write(messages: Messages, path: &Path, report: &Report, log: &LogArgs) -> anyhow::Result<u8> {
    log.start(&filter(report.quiet), true, io::stderr)?;
    let result = if path == Path::new("-") {
        write_lines(messages, BufWriter::new(io::stdout().lock()))
    } else {
        File::create(path).and_then(|file| write_lines(messages, BufWriter::new(file)))
    };
    match result {
        Ok(count) => {
            let path = path.display();
            match log.log_format {
                LogFormat::Json => {
                    info!(event = "publisher.wrote", messages = count, %path, "written");
                }
                LogFormat::Text if report.quiet => {}
                LogFormat::Text => acequia_telemetry::note!("wrote {count} messages to {path}"),
            }
            Ok(0)
        }
        // The reader of our output has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

fn print_schema(wanted: Option<&String>) -> anyhow::Result<u8> {
    let entities = catalog().iter().flat_map(|domain| &domain.entities);
    let mut schemas: serde_json::Map<_, _> = entities
        .map(|entity| (format!("{}.{}", entity.domain, entity.name), schema(entity)))
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name))
        .collect();
    let printed = match wanted {
        Some(wanted) => schemas.remove(wanted).context("no such entity")?,
        None => schemas.into(),
    };
    writeln!(io::stdout(), "{printed:#}")?;
    Ok(0)
}

fn send(matches: &ArgMatches, log: &LogArgs) -> anyhow::Result<u8> {
    let Input {
        file,
        domain,
        from_line,
        rejects,
    } = Input::from_arg_matches(matches)?;
    let report = Report::from_arg_matches(matches)?;
    let domain = domain.and_then(|name| acequia_contracts::domain(&name));
    let (input, read): (Box<dyn Read + Send>, _) = if file == Path::new("-") {
        (Box::new(io::stdin()), fs::metadata("/dev/stdin").ok())
    } else {
        let input = File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let read = input.metadata().ok();
        (Box::new(input), read)
    };
    let rejects = rejects
        .map(|path| Rejects::open(&path, read.as_ref()))
        .transpose()?;
    let (bad, bad_lines) = sync_channel(BAD_LINES_AHEAD);
    let messages = Lines::new(BufReader::new(input), domain, bad)
        .from_line(from_line)
        .keeping(rejects.is_some());
    let what = Plan {
        messages,
        total: None,
        exchange: true,
        bad_lines: Some(bad_lines),
        rejects,
    };
    transmit(matches, &report, log, what)
}

/// A run that is to be made: its messages and how to send them.
struct Plan<M> {
    messages: M,
    /// Their number, if it is known.
    total: Option<u64>,
    /// Whether messages go to the exchange rather than to legacy queues.
    exchange: bool,
    /// The lines that are no messages, to be reported.
    bad_lines: Option<Receiver<BadLine>>,
    /// The file that keeps messages and lines that the broker does not have.
    rejects: Option<Rejects>,
}

/// Sends messages, shows the progress, and returns the exit status.
fn transmit(
    matches: &ArgMatches,
    report: &Report,
    log: &LogArgs,
    what: Plan<impl Iterator<Item = Outgoing> + Send + 'static>,
) -> anyhow::Result<u8> {
    let broker = Broker::from_arg_matches(matches)?;
    let url = broker.url(matches)?;
    let mut progress = Progress::new(report.quiet, log.log_format, what.total);
    log.start(&filter(report.quiet), true, progress.writer())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;

    let interrupted = Cell::new(0);
    let traces = Traces::from_env("acequia-publisher", |collector| {
        allow_http(collector, url.may_be_plaintext())
    })?;
    let metrics = OptionalMetrics(match report.http_addr {
        Some(_) => Some(Arc::new(Metrics::new().context("metrics")?)),
        None => None,
    });
    let (given_up, messages_given_up) = channel();
    let given_up = what.rejects.as_ref().map(|_| given_up);
    let mut bad = BadLines::new(
        what.bad_lines,
        messages_given_up,
        what.rejects,
        metrics.clone(),
    );
    let summary = runtime.block_on(async {
        if let (Some(address), Some(metrics)) = (report.http_addr, &metrics.0) {
            serve(address, metrics.clone()).await?;
        }
        let settings = broker.settings(what.exchange);
        let connected = Publisher::connect_observed(url, settings, &metrics).await?;
        bad.begin()?;
        let mut publisher = connected.with_traces(traces.clone()).rejecting(given_up);
        if let Some(metrics) = &metrics.0 {
            publisher = publisher.observed(metrics.clone());
        }
        let signals = signals(&interrupted)?;
        let summary = publisher
            .send_until(what.messages, signals, |summary| {
                bad.report();
                progress.show(summary);
            })
            .await;
        publisher.close().await;
        anyhow::Ok(summary)
    });
    progress.finish();
    if let Some(traces) = traces {
        traces.finish();
    }
    let summary = summary?;
    bad.report();
    tell(&summary, &bad, report, log)?;
    bad.finish()?;
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

/// By default only our own messages: lapin logs whole bodies.
pub(crate) fn filter(quiet: bool) -> String {
    let level = if quiet { "warn" } else { "info" };
    let ours = env!("CARGO_CRATE_NAME");
    format!("off,{ours}={level},acequia_telemetry={level}")
}

/// The result, for people and for programs.
fn tell(summary: &Summary, bad: &BadLines, report: &Report, log: &LogArgs) -> anyhow::Result<()> {
    match log.log_format {
        LogFormat::Text => tell_people(summary, bad, report),
        LogFormat::Json => log_result(summary, bad.count),
    }
    if report.json {
        let mut result = serde_json::to_value(summary)?;
        result["bad_lines"] = bad.count.into();
        result["first_bad_lines"] = bad.first.iter().map(described).collect();
        writeln!(io::stdout(), "{result}")?;
    }
    Ok(())
}

/// A bad line as JSON: where and why, nothing of the line itself.
fn described((line, reason): &(u64, String)) -> serde_json::Value {
    serde_json::json!({"line": line, "reason": reason})
}

/// As lines of a log that programs read.
fn log_result(summary: &Summary, bad_lines: usize) {
    for (reason, messages) in &summary.reasons {
        warn!(
            event = "publisher.unconfirmed",
            messages, reason, "given up"
        );
    }
    if let Some(reason) = &summary.stopped {
        warn!(event = "publisher.stopped", reason, "before the end");
    }
    info!(
        event = "publisher.done",
        confirmed = summary.confirmed,
        failed = summary.failed,
        returned = summary.returned,
        nacked = summary.nacked,
        retried = summary.retried,
        reconnects = summary.reconnects,
        bad_lines,
        duration_s = summary.seconds,
        "sent"
    );
}

fn tell_people(summary: &Summary, bad: &BadLines, report: &Report) {
    for (reason, count) in &summary.reasons {
        acequia_telemetry::note!("{count} not confirmed: {reason}");
    }
    for failure in &summary.failures {
        let id = failure
            .message_id
            .map_or(String::new(), |id| format!(" {id}"));
        let line = failure
            .line
            .map_or(String::new(), |line| format!(", line {line}"));
        acequia_telemetry::note!("  for example {}{id}{line}", failure.entity);
    }
    if bad.count > 0 {
        acequia_telemetry::note!("{} lines could not be sent", bad.count);
    }
    if let Some(why) = &summary.stopped {
        // Lines before the last one may not have arrived: only where they were kept is it safe to go on behind it.
        let after = summary.last_line.filter(|_| bad.keeps());
        let after = after.map_or(String::new(), |line| {
            format!(
                "; send the rejects, and go on with --from-line {}",
                line + 1
            )
        });
        acequia_telemetry::note!("stopped before the end: {why}{after}");
    }
    if !report.quiet {
        acequia_telemetry::note!("{summary}");
    }
}
