//! The command line. Its `generate` commands are those of the catalog's domains.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use acequia_contracts::{Domain, catalog};
use acequia_net::{AllowPlaintext, BrokerTls, SecretUrl, broker};
use acequia_telemetry::LogArgs;
use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};

use crate::plan::Mix;
use crate::publisher::Settings;

/// The broker of a machine set up by the project's scripts.
const DEFAULT_URL: &str = "amqp://app:app_password@127.0.0.1:5672/%2f";

const NAME: &str = "AMQP_URL";
const EXAMPLE: &str = "amqp://user:password@host:5672/%2f";

/// Where and how to send.
#[derive(Clone, Args)]
#[command(next_help_heading = "Broker")]
pub struct Broker {
    /// URL of the broker, amqps:// with TLS; by default that of the project's scripts, on
    /// 127.0.0.1:5672
    #[arg(long, value_name = "URL", env = "AMQP_URL", hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// File with the URL; takes precedence over AMQP_URL, and is read again for each connection
    #[arg(
        long,
        value_name = "FILE",
        env = "AMQP_URL_FILE",
        hide_env_values = true
    )]
    pub amqp_url_file: Option<PathBuf>,
    /// Certificates.
    #[command(flatten)]
    pub tls: BrokerTls,
    /// Whether another machine may be reached without TLS.
    #[command(flatten)]
    pub plaintext: AllowPlaintext,
    /// Messages per second, at most
    #[arg(long, value_name = "MSG_S", value_parser = rate)]
    pub rate: Option<f64>,
    /// Messages that may wait for the broker's confirm at a time
    #[arg(long, value_name = "N", default_value = "1000", value_parser = |text: &str| whole::<u32>(text, 1, 65_535))]
    pub window: u32,
    /// Attempts for a message that the broker refuses or has no queue for; eight take 13 s
    #[arg(long, value_name = "N", default_value = "8", value_parser = |text: &str| whole::<u32>(text, 1, 1_000))]
    pub attempts: u32,
    /// Seconds after which a missing confirm counts as a lost connection
    #[arg(long, value_name = "S", default_value = "30", value_parser = |text: &str| whole::<u64>(text, 1, 3_600))]
    pub confirm_timeout: u64,
    /// Seconds to keep trying without a working broker, also at the start; 0: no limit
    #[arg(long, value_name = "S", default_value = "60", value_parser = |text: &str| whole::<u64>(text, 0, 31_536_000))]
    pub retry_for: u64,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    /// The URL: from the command line, else from the file, else from the environment.
    ///
    /// # Errors
    /// When a file cannot be read, there is no URL in it, or it leads to another machine without
    /// TLS.
    pub fn url(&self, matches: &ArgMatches) -> anyhow::Result<SecretUrl> {
        let typed = matches.value_source("amqp_url") == Some(ValueSource::CommandLine);
        let file = self.amqp_url_file.as_deref().filter(|_| !typed);
        let text = match file {
            Some(_) => None,
            None => Some(self.amqp_url.as_deref().unwrap_or(DEFAULT_URL)),
        };
        let url = SecretUrl::from_setting(text, file, NAME, EXAMPLE, broker::SCHEMES)?
            .with_tls(self.tls.clone().into())
            .with_plaintext(self.plaintext.0);
        broker::check(&url).context(NAME)?;
        Ok(url)
    }

    /// The settings of a run.
    #[must_use]
    pub fn settings(&self, exchange: bool) -> Settings {
        let retry_for = Duration::from_secs(self.retry_for);
        Settings {
            window: self.window as usize,
            attempts: self.attempts,
            confirm_timeout: Duration::from_secs(self.confirm_timeout),
            retry_for: (!retry_for.is_zero()).then_some(retry_for),
            rate: self.rate,
            exchange,
        }
    }
}

/// A whole number within limits.
pub(crate) fn whole<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let number = text.parse::<u64>().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

/// A rate above zero.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("must be a number from 0.001 to 1e9".to_owned()),
    }
}

/// Options of the output.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Report")]
pub struct Report {
    /// Print the result as a JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// Show no progress and no summary, only warnings and errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Serve /metrics at this address while it runs
    #[arg(long, value_name = "HOST:PORT", env = "PUBLISHER_HTTP_ADDR")]
    pub http_addr: Option<SocketAddr>,
}

/// Where generated messages go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Write the messages to a file, one per line, instead of sending them; - is stdout
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["rate", "legacy", "json"])]
    pub output: Option<PathBuf>,
}

/// A file to send.
#[derive(Debug, Clone, Args)]
pub struct Input {
    /// File with one JSON object per line; - is stdin
    pub file: PathBuf,
    /// Domain of all lines; objects whose entity is unknown are sent too, and go to quarantine
    #[arg(long, value_name = "DOMAIN", value_parser = domains())]
    pub domain: Option<String>,
    /// Skip the lines before this one, to continue where an earlier run stopped (last_line of --json)
    #[arg(long, value_name = "N", default_value = "1", value_parser = |text: &str| whole::<u64>(text, 1, u64::MAX))]
    pub from_line: u64,
    /// Write undelivered lines, unchanged, to this file, for correction and another run
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
}

fn domains() -> PossibleValuesParser {
    catalog()
        .iter()
        .map(|domain| domain.name)
        .collect::<Vec<_>>()
        .into()
}

/// The name of an existing entity.
fn entity(text: &str) -> Result<String, String> {
    let entities = catalog().iter().flat_map(|domain| &domain.entities);
    let names: Vec<_> = entities
        .map(|entity| format!("{}.{}", entity.domain, entity.name))
        .collect();
    if names.iter().any(|name| name == text) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be one of {}", names.join(", ")))
    }
}

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    // Texts come last: the groups of options bring their own.
    let generators = catalog().iter().filter_map(|domain| {
        let command = Output::augment_args(mixer(domain)?);
        let command = Report::augment_args(Broker::augment_args(command));
        Some(command.about(format!("Messages of the domain {}", domain.name)))
    });
    let generate = Command::new("generate")
        .about("Send synthetic messages of a domain, or write them to a file")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand_value_name("DOMAIN")
        .subcommand_help_heading("Domains")
        .disable_help_subcommand(true)
        .subcommands(generators);
    let send = Input::augment_args(Command::new("send"));
    let send = Report::augment_args(Broker::augment_args(send))
        .about("Send the lines of a file, each a JSON object that names its entity")
        .after_help(
            "Lines that cannot be sent, because they are no JSON object or name no entity, are reported \
             with their number, the others are sent. A line with an event_id is sent under this id, so that sending it again \
             does no harm; lines without one are other messages each time.\n\
             After an interruption every line up to last_line is with the broker or in --rejects: \
             send that file, and go on with --from-line, one more than last_line.",
        );
    let schema = Command::new("schema")
        .about("Print the JSON Schema of an entity, or of all, to check messages with before they are sent")
        .arg(
            clap::Arg::new("entity")
                .help("As domain.entity; all of them, in an object by name, when left out")
                .value_name("ENTITY")
                .value_parser(entity),
        );
    LogArgs::augment_args(Command::new("publisher"))
        .about("Sends messages and makes sure that the broker has them")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(generate)
        .subcommand(send)
        .subcommand(schema)
        .after_help(examples())
}

/// `generate <domain>` with the options that decide which messages are made; none for a domain
/// without generator.
pub(crate) fn mixer(domain: &Domain) -> Option<Command> {
    let generator = domain.generator?;
    let command = Command::new(domain.name).next_help_heading("Data");
    Some(Mix::augment_args(generator.options(command)))
}

fn examples() -> String {
    let domain = catalog().iter().find(|domain| domain.generator.is_some());
    let domain = domain.map_or("DOMAIN", |domain| domain.name);
    format!(
        "Examples:
  publisher generate {domain}
  publisher generate {domain} --seed 7 --rate 2000
  publisher generate {domain} --invalid 2 --duplicates 1.5 --shuffle
  publisher generate {domain} --output sample.ndjson
  publisher send sample.ndjson

Exit status: 0 the broker has all messages, 1 it has not, or lines could not be sent,
2 wrong usage or no connection, 130 or 143 interrupted."
    )
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
