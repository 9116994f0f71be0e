//! `worker trace`: follows a message, or all messages of a key.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use acequia_args::DatabaseArgs;
use acequia_ops::trace::{self, LostMessages, Target, Trace};
use acequia_store::db;
use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;

use super::output::{code, print_json};
use super::trace_text;
use crate::settings;

/// Options of `worker trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Id of a message, as its publisher sent it or as quarantine, staging or core have it; or
    /// <domain>.<entity> with its key after it
    #[arg(
        value_name = "MESSAGE_ID | DOMAIN.ENTITY",
        allow_negative_numbers = true
    )]
    target: String,
    /// Key of the entity, in the catalog's order when it has several columns
    #[arg(value_name = "KEY", allow_negative_numbers = true)]
    key: Vec<String>,
    /// Print a JSON object, described in docs/operations.md
    #[arg(long)]
    json: bool,
    /// Show the values of the message too, which may be personal data
    #[arg(long)]
    values: bool,
    /// Longest time for one database query; a key is searched in all of staging
    #[arg(long, default_value = "30s", value_parser = |text: &str| settings::TRACE_TIMEOUT.parse(text), value_name = "TIME")]
    timeout: Duration,
}

/// Runs the command. Exit code 1 when nothing is known of the message or the key.
///
/// # Errors
/// When it is used wrongly, or the database does not answer, refuses, or takes too long.
pub async fn execute(args: TraceArgs) -> anyhow::Result<ExitCode> {
    let target = Target::parse(&args.target, &args.key).map_err(|error| {
        anyhow::anyhow!(
            "{error}\nUse `worker trace MESSAGE_ID`, or `worker trace` with an entity and its key."
        )
    })?;
    let mut connection = db::connect(&args.database.url()?, "trace")
        .await
        .context("database")?;
    trace::insist_on_rights(&mut connection).await?;
    acequia_schema::check(&mut connection).await?;
    let looked = trace::trace(&mut connection, &target, args.values, args.timeout).await;
    let found = looked.map_err(|error| match error.is::<trace::TookTooLong>() {
        true => error.context("--timeout"),
        false => error,
    })?;
    let known = found.is_known();
    if args.json {
        print_json(&found)?;
    } else {
        match &found {
            _ if !known => {
                let lost = match &found {
                    Trace::Message(trace) => lost_text(&trace.lost),
                    Trace::Key(_) => lost_text(&trace::lost(&mut connection, None).await?),
                };
                acequia_telemetry::note!("{}{lost}", unknown(&target));
            }
            Trace::Message(trace) => print!("{}", trace_text::message(trace)),
            Trace::Key(trace) => print!("{}", trace_text::key(trace)),
        }
    }
    Ok(code(known))
}

/// The possible reasons why nothing was found.
fn unknown(target: &Target) -> String {
    match target {
        Target::Message(asked, identity) => format!(
            "nothing is known of message {asked:?}{}. It can be one of these:
- It has not arrived: it waits in the queue, or was never sent, or its publisher got no confirm.
- It is older than STAGING_KEEP (30 days by default) or, in quarantine, QUARANTINE_KEEP: ask by its key.
- It came under another id. The id is AMQP message_id; without it the body's event_id; else it is made of queue,
  publish time and bytes, and the message is found by its key or in raw.quarantine.",
            if identity.id.to_string() == asked.trim() {
                String::new()
            } else {
                format!(" (identity {})", identity.id)
            }
        ),
        Target::Key(entity, key) => format!(
            "nothing is known of {}.{} {}. No message of that key was accepted within STAGING_KEEP (30 days by default),
and the core has no such row. Messages that were refused are found by their id or in raw.quarantine.",
            entity.domain,
            entity.name,
            key.join(" ")
        ),
    }
}

/// Lost batches in words, appended to the other possible reasons why nothing was found.
fn lost_text(lost: &[LostMessages]) -> String {
    let mut text = String::new();
    for one in lost {
        let time = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%SZ");
        let timeline = one
            .timeline
            .map(|timeline| format!(", now timeline {timeline}"));
        let _ = write!(
            text,
            "\n- It was lost: {} acknowledged messages of {}, published from {} to {}, are missing since a failover of the
  database (noticed {}{}). Let its publisher send it again, with the same id: docs/runbooks/AcequiaMessagesLost.md.",
            one.messages,
            one.domain,
            time(one.from),
            time(one.until),
            time(one.noticed_at),
            timeline.unwrap_or_default()
        );
    }
    text
}
