//! Which rows of the quarantine a command is about: the same options for every command.

use acequia_args::duration;
use acequia_contracts::Stage;
use acequia_ops::quarantine::{Filters, Id, Status};
use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum};

/// State of a row.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum StatusArg {
    /// Nobody has dealt with it
    Open,
    /// Sent again
    Replayed,
    /// Given up
    Discarded,
    /// A message of the same id was accepted
    Resolved,
}

impl From<StatusArg> for Status {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Open => Self::Open,
            StatusArg::Replayed => Self::Replayed,
            StatusArg::Discarded => Self::Discarded,
            StatusArg::Resolved => Self::Resolved,
        }
    }
}

/// Options that choose rows, combined by "and"; the values of one option, by "or".
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters: all must hold; of one given several times, any")]
pub struct FilterArgs {
    /// Domain
    #[arg(long, value_delimiter = ',')]
    domain: Vec<String>,
    /// Entity, without its domain; (unknown) for messages without one
    #[arg(long, value_delimiter = ',')]
    entity: Vec<String>,
    /// Stage: decode, contract, load, merge or broker
    #[arg(long, value_delimiter = ',', value_parser = stages())]
    stage: Vec<String>,
    /// Code, as orphan; docs/contracts.md has the list
    #[arg(long, value_delimiter = ',')]
    code: Vec<String>,
    /// First offending field
    #[arg(long, value_delimiter = ',')]
    field: Vec<String>,
    /// First arrived at this time or later: 2024-06-10T08:00:00Z, or 2h for two hours ago
    #[arg(long, value_parser = instant, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    /// First arrived before this time
    #[arg(long, value_parser = instant, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
    /// Fingerprint, as stats shows it: same domain, entity, code and field
    #[arg(long, value_delimiter = ',')]
    fingerprint: Vec<String>,
    /// Number of the row, or the id that the message was published with; may be repeated
    #[arg(long, value_parser = id)]
    id: Vec<Id>,
    /// Program that published it: the AMQP property app_id
    #[arg(long, value_delimiter = ',')]
    app_id: Vec<String>,
    /// The id that the message was published with, also one that looks like a number; may be repeated
    #[arg(long, value_parser = message_id, value_name = "ID")]
    message_id: Vec<Id>,
    /// Text in the body, as it is written there
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// Status
    #[arg(long, value_delimiter = ',')]
    status: Vec<StatusArg>,
    /// At most this many: list and show take the newest, the other commands the oldest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl FilterArgs {
    /// The conditions that are meant.
    pub fn filters(self) -> Filters {
        Filters {
            domain: self.domain,
            entity: self.entity,
            stage: self.stage,
            code: self.code,
            field: self.field,
            since: self.since,
            until: self.until,
            fingerprint: self.fingerprint,
            id: self.id,
            app_id: self.app_id,
            message_id: self.message_id,
            status: self.status.into_iter().map(Status::from).collect(),
            contains: self.contains,
            through: None,
            limit: self.limit,
        }
    }
}

fn stages() -> impl clap::builder::TypedValueParser<Value = String> {
    let names = [
        Stage::Decode,
        Stage::Contract,
        Stage::Load,
        Stage::Merge,
        Stage::Broker,
    ];
    PossibleValuesParser::new(names.map(Stage::as_str)).map(|name| name)
}

/// A number is the number of a row; any other text is an id as the publisher gave it.
fn id(text: &str) -> Result<Id, String> {
    match text.trim().parse() {
        Ok(number) => Ok(Id::Number(number)),
        Err(_) => message_id(text),
    }
}

/// An id as the publisher gave it.
#[allow(clippy::unnecessary_wraps)] // the form clap wants
fn message_id(text: &str) -> Result<Id, String> {
    Ok(Id::of_message(text))
}

/// An instant, or a time span before now.
fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    duration(text)
        .ok()
        .and_then(|span| chrono::TimeDelta::from_std(span).ok())
        .and_then(|span| Utc::now().checked_sub_signed(span))
        .ok_or_else(|| {
            "must be an instant as 2024-06-10T08:00:00Z, or a time span before now as 30m, 2h or 7d"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        filters: FilterArgs,
    }

    fn parse(options: &[&str]) -> Result<Filters, clap::Error> {
        let words = ["x"].iter().chain(options);
        Cli::try_parse_from(words).map(|cli| cli.filters.filters())
    }

    #[test]
    fn times_are_instants_or_spans() {
        let at = parse(&["--since", "2024-06-10T08:00:00-06:00"]).unwrap();
        assert_eq!(at.since.unwrap().to_rfc3339(), "2024-06-10T14:00:00+00:00");
        let ago = parse(&["--until", "2h"]).unwrap().until.unwrap();
        let age = Utc::now() - ago;
        assert!(age >= chrono::TimeDelta::hours(2) && age < chrono::TimeDelta::hours(3));
        for wrong in ["yesterday", "5", "999999999999d", ""] {
            assert!(parse(&["--since", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_are_numbers_or_messages() {
        let uuid = "0190163d-8694-739b-aea5-966c26f8ad91";
        let filters = parse(&["--id", "17", "--id", uuid, "--id", "order-17"]).unwrap();
        assert_eq!(
            filters.id,
            [
                Id::Number(17),
                Id::Message(uuid.parse().unwrap()),
                Id::of_message("order-17")
            ]
        );
    }

    #[test]
    fn an_id_that_looks_like_a_number_can_be_meant() {
        let filters = parse(&["--message-id", "17"]).unwrap();
        assert_eq!(filters.message_id, [Id::of_message("17")]);
        assert!(filters.is_narrow());
    }

    #[test]
    fn everything_must_be_meant() {
        for none in [&[][..], &["--status", "open"], &["--limit", "5"]] {
            assert!(!parse(none).unwrap().is_narrow(), "{none:?}");
        }
        for some in [
            ["--code", "orphan"],
            ["--since", "1h"],
            ["--id", "1"],
            ["--app-id", "registrar"],
            ["--status", "discarded"],
            ["--status", "open,replayed"],
        ] {
            assert!(parse(&some).unwrap().is_narrow(), "{some:?}");
        }
        assert!(parse(&["--stage", "nowhere"]).is_err());
        assert!(parse(&["--status", "done"]).is_err());
        assert!(parse(&["--limit", "0"]).is_err());
    }
}
