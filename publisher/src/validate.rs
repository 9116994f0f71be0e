//! `publisher validate`: checks the lines of a file by the contracts, without broker or database.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use acequia_contracts::Code;
use acequia_telemetry::{LogArgs, LogFormat};
use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use serde::Serialize;
use tracing::info;

use crate::checked_lines::{CheckedLine, CheckedLines, Scope, UnreadableFile};
use crate::cli::{domains, entity, entity_named};
use crate::commands::filter;
use crate::progress::Progress;

/// Lines between two looks at the clock.
const STEP: u64 = 1024;
/// Exit status when a line is invalid.
const INVALID: u8 = 1;

/// What to check.
#[derive(Debug, Clone, Args)]
struct Options {
    /// File with one JSON object per line; - is stdin
    file: PathBuf,
    /// Domain of all lines; needed where two domains have an entity of the same name
    #[arg(long, value_name = "DOMAIN", value_parser = domains())]
    domain: Option<String>,
    /// Entity of all lines, as domain.entity, for lines that do not name theirs
    #[arg(long, value_name = "ENTITY", value_parser = entity, conflicts_with = "domain")]
    entity: Option<String>,
    /// Print each fault as a JSON object on a line, and at the end a summary
    #[arg(long)]
    json: bool,
    /// Show no progress and no summary, only the faults
    #[arg(long, short)]
    quiet: bool,
}

/// The command.
pub(crate) fn command() -> Command {
    Options::augment_args(Command::new("validate"))
        .about("Check the lines of a file by the contracts that workers check them by, without broker or database")
        .after_help(
            "Each fault is a line on stdout: number of the line, code, field and what is wrong, never the value. \
             Invalid lines stop nothing.\n\
             Exit status: 0 all lines are valid, 1 some are not, 2 the file cannot be read, or wrong usage.",
        )
}

/// A broken rule of a line.
#[derive(Serialize)]
struct Fault<'a> {
    line: u64,
    /// `<domain>.<entity>`, if known.
    entity: Option<String>,
    field: &'a str,
    code: Code,
    message: &'a str,
}

/// Results of a check.
#[derive(Debug, Default, Serialize)]
struct Found {
    lines: u64,
    valid: u64,
    invalid: u64,
    /// Faults by code.
    codes: BTreeMap<&'static str, u64>,
}

/// Checks a file and tells the exit status.
pub(crate) fn run(matches: &ArgMatches, log: &LogArgs) -> anyhow::Result<u8> {
    let options = Options::from_arg_matches(matches)?;
    let path = options.file.display();
    let (input, size): (Box<dyn Read>, _) = if options.file == Path::new("-") {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(&options.file).with_context(|| format!("cannot read {path}"))?;
        let read = file.metadata().ok().filter(Metadata::is_file);
        (Box::new(file), read.as_ref().map(Metadata::len))
    };
    let mut progress = Progress::new(options.quiet, log.log_format, size);
    log.start(&filter(options.quiet), true, progress.writer())?;
    let mut output = BufWriter::new(io::stdout().lock());
    let mut found = Found::default();
    let lines = CheckedLines::new(BufReader::with_capacity(1 << 16, input), options.scope());
    let ended = found.check(lines, options.json, &mut progress, &mut output);
    progress.finish();
    let told = ended.and_then(|ended| {
        found
            .tell(&options, log.log_format, &mut output)
            .map(|()| ended)
    });
    match told {
        // Whoever read the faults has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(found.status()),
        Err(error) => return Err(error).context("cannot write the faults"),
        Ok(Some(ended)) => bail!("{path}, {ended}"),
        Ok(None) => {}
    }
    Ok(found.status())
}

impl Options {
    fn scope(&self) -> Scope {
        let entity = self.entity.as_deref().and_then(entity_named);
        let domain = self.domain.as_deref().and_then(acequia_contracts::domain);
        match (entity, domain) {
            (Some(entity), _) => Scope::Entity(entity),
            (None, Some(domain)) => Scope::Domain(domain),
            (None, None) => Scope::Any,
        }
    }
}

impl Found {
    /// Checks all lines and writes their faults; why the file could not be read to its end, if so.
    fn check(
        &mut self,
        mut lines: CheckedLines<impl BufRead>,
        json: bool,
        progress: &mut Progress,
        output: &mut impl Write,
    ) -> io::Result<Option<UnreadableFile>> {
        while let Some(line) = lines.next() {
            let line = match line {
                Ok(line) => line,
                Err(ended) => return Ok(Some(ended)),
            };
            self.add(&line);
            write(json, output, &line)?;
            if self.lines.is_multiple_of(STEP) {
                progress.checked(lines.bytes(), self.lines, self.invalid);
            }
        }
        Ok(None)
    }

    fn add(&mut self, line: &CheckedLine) {
        self.lines += 1;
        if line.faults.is_empty() {
            self.valid += 1;
        } else {
            self.invalid += 1;
        }
        for fault in &line.faults {
            *self.codes.entry(fault.code.as_str()).or_default() += 1;
        }
    }

    fn status(&self) -> u8 {
        if self.invalid == 0 { 0 } else { INVALID }
    }

    /// The summary, for programs on stdout, for people on stderr.
    fn tell(
        &self,
        options: &Options,
        format: LogFormat,
        output: &mut impl Write,
    ) -> io::Result<()> {
        if options.json {
            writeln!(output, "{}", serde_json::json!({"summary": self}))?;
        }
        output.flush()?;
        let Self {
            lines,
            valid,
            invalid,
            ..
        } = *self;
        match format {
            _ if options.quiet => {}
            LogFormat::Json => info!(
                event = "publisher.validated",
                lines, valid, invalid, "checked"
            ),
            LogFormat::Text => {
                acequia_telemetry::note!("{lines} lines: {valid} valid, {invalid} invalid");
            }
        }
        Ok(())
    }
}

fn write(json: bool, output: &mut impl Write, line: &CheckedLine) -> io::Result<()> {
    for fault in &line.faults {
        if !json {
            writeln!(output, "line {}: {fault}", line.number)?;
            continue;
        }
        let name = line
            .entity
            .map(|entity| format!("{}.{}", entity.domain, entity.name));
        let fault = Fault {
            line: line.number,
            entity: name,
            field: &fault.path,
            code: fault.code,
            message: &fault.message,
        };
        serde_json::to_writer(&mut *output, &fault)?;
        writeln!(output)?;
    }
    Ok(())
}
