//! Which rows of the quarantine a command is about: the same options for every command.

use acequia_contracts::Stage;
use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use serde::Serialize;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::config::duration;
use crate::ingest::{Identity, UNKNOWN};

/// State of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has dealt with it
    Open,
    /// Sent again
    Replayed,
    /// Given up
    Discarded,
    /// A message of the same id was accepted
    Resolved,
}

impl Status {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Resolved => "resolved",
        }
    }
}

/// A row as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// By the number of the row.
    Number(i64),
    /// By the identity of the message.
    Message(Uuid),
}

/// Options that choose rows. All of them must hold; of an option given several times, one.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Filters: all must hold; of one given several times, any")]
pub struct Filters {
    /// Domain
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domain: Vec<String>,
    /// Entity, without its domain; (unknown) for messages without one
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entity: Vec<String>,
    /// Stage: decode, contract, load, merge or broker
    #[arg(long, value_delimiter = ',', value_parser = stages())]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stage: Vec<String>,
    /// Code, as orphan; docs/contracts.md has the list
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
    /// First offending field
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub field: Vec<String>,
    /// First arrived at this time or later: 2024-06-10T08:00:00Z, or 2h for two hours ago
    #[arg(long, value_parser = instant, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// First arrived before this time
    #[arg(long, value_parser = instant, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Fingerprint, as stats shows it: same domain, entity, code and field
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fingerprint: Vec<String>,
    /// Number of the row, or the id that the message was published with; may be repeated
    #[arg(long, value_parser = id)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id: Vec<Id>,
    /// Program that published it: the AMQP property app_id
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub app_id: Vec<String>,
    /// The id that the message was published with, also one that looks like a number; may be repeated
    #[arg(long, value_parser = message_id, value_name = "ID")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub message_id: Vec<Id>,
    /// Status
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Status>,
    /// At most this many: list and show take the newest, replay and discard the oldest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Filters {
    /// Only open rows, unless the operator chose a status.
    #[must_use]
    pub fn or_open(mut self) -> Self {
        if self.status.is_empty() {
            self.status.push(Status::Open);
        }
        self
    }

    /// Insists on a filter for a command that changes rows. The limit is none, and neither is
    /// `--status open`, which such a command implies anyway.
    ///
    /// # Errors
    /// When there is none and not everything is meant.
    pub fn insist(&self, all: bool) -> anyhow::Result<()> {
        let lists = [
            self.domain.is_empty(),
            self.entity.is_empty(),
            self.stage.is_empty(),
            self.code.is_empty(),
            self.field.is_empty(),
            self.fingerprint.is_empty(),
            self.id.is_empty(),
            self.app_id.is_empty(),
            self.status.iter().all(|status| *status == Status::Open),
            self.message_id.is_empty(),
            self.since.is_none() && self.until.is_none(),
        ];
        if !all && lists.iter().all(|empty| *empty) {
            bail!("no filter is given: give one, or --all for every row");
        }
        Ok(())
    }

    /// The limit as SQL takes it.
    #[must_use]
    pub fn limit(&self, default: u32) -> i64 {
        i64::from(self.limit.unwrap_or(default))
    }

    /// Adds the conditions, each beginning with `and`, to a query on `raw.quarantine q`.
    pub fn conditions(&self, query: &mut QueryBuilder<Postgres>) {
        let mut any = |column: &str, values: &[String]| {
            if !values.is_empty() {
                query.push(format_args!(" and {column} = any("));
                query.push_bind(values.to_vec()).push(")");
            }
        };
        any("q.domain", &self.domain);
        any(&format!("coalesce(q.entity, '{UNKNOWN}')"), &self.entity);
        any("q.stage", &self.stage);
        any("q.code", &self.code);
        any("q.field_path", &self.field);
        any("q.fingerprint", &self.fingerprint);
        any("q.properties ->> 'app_id'", &self.app_id);
        let status: Vec<_> = self
            .status
            .iter()
            .map(|one| one.as_str().to_owned())
            .collect();
        any("q.status", &status);
        if let Some(since) = self.since {
            query.push(" and q.received_at >= ").push_bind(since);
        }
        if let Some(until) = self.until {
            query.push(" and q.received_at < ").push_bind(until);
        }
        for ids in [&self.id, &self.message_id] {
            if ids.is_empty() {
                continue;
            }
            let (mut numbers, mut messages) = (Vec::new(), Vec::new());
            for id in ids {
                match id {
                    Id::Number(number) => numbers.push(*number),
                    Id::Message(message) => messages.push(*message),
                }
            }
            query
                .push(" and (q.quarantine_id = any(")
                .push_bind(numbers);
            query
                .push(") or q.message_id = any(")
                .push_bind(messages.clone());
            query.push(") or q.identity = any(").push_bind(messages);
            query.push("))");
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
    Ok(Id::Message(Identity::of_text(text).id))
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
        filters: Filters,
    }

    fn parse(options: &[&str]) -> Result<Filters, clap::Error> {
        let words = ["x"].iter().chain(options);
        Cli::try_parse_from(words).map(|cli| cli.filters)
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
                Id::Message(Identity::of_text("order-17").id)
            ]
        );
    }

    #[test]
    fn an_id_that_looks_like_a_number_can_be_meant() {
        let filters = parse(&["--message-id", "17"]).unwrap();
        assert_eq!(
            filters.message_id,
            [Id::Message(Identity::of_text("17").id)]
        );
        assert!(filters.insist(false).is_ok());
    }

    #[test]
    fn everything_must_be_meant() {
        for none in [&[][..], &["--status", "open"], &["--limit", "5"]] {
            let filters = parse(none).unwrap();
            assert!(filters.insist(false).is_err(), "{none:?}");
            assert!(filters.insist(true).is_ok());
        }
        for some in [
            ["--code", "orphan"],
            ["--since", "1h"],
            ["--id", "1"],
            ["--app-id", "registrar"],
            ["--status", "discarded"],
            ["--status", "open,replayed"],
        ] {
            assert!(parse(&some).unwrap().insist(false).is_ok(), "{some:?}");
        }
        assert!(parse(&["--stage", "nowhere"]).is_err());
        assert!(parse(&["--status", "done"]).is_err());
        assert!(parse(&["--limit", "0"]).is_err());
    }
}
