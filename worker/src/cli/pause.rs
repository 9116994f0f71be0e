//! `worker pause` and `worker resume`: whether workers take the messages of a domain.

use std::process::ExitCode;

use acequia_args::OperatorDatabase;
use acequia_ops::streams::{self, Change};
use anyhow::Context;
use clap::Args;

use super::actor;
use super::connection;
use super::output::{print_json, printable, time};

/// Options of both.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Domain
    #[arg(value_name = "DOMAIN")]
    domain: String,
    #[command(flatten)]
    database: OperatorDatabase,
    /// Why; kept in core.audit_log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who does it; the user of the system unless given, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Pauses the stream of a domain, or resumes it; done again it changes nothing.
///
/// # Errors
/// When it is used wrongly, or the database does not answer.
pub async fn execute(args: PauseArgs, pause: bool) -> anyhow::Result<ExitCode> {
    let reason = args.reason.trim();
    anyhow::ensure!(!reason.is_empty(), "--reason must say something");
    let mut connection = connection::open(&args.database.url()?, "pause").await?;
    let who = actor::name(args.by.as_deref());
    let change = streams::set_paused(&mut connection, &args.domain, pause, who.as_deref(), reason)
        .await
        .context("database")?;
    let change = change.with_context(|| {
        let known: Vec<_> = acequia_contracts::catalog()
            .iter()
            .map(|domain| domain.name)
            .collect();
        format!(
            "there is no domain {}; there is {}",
            args.domain,
            known.join(", ")
        )
    })?;
    if args.json {
        print_json(&change)?;
    } else {
        println!("{}", said(&change));
    }
    Ok(ExitCode::SUCCESS)
}

fn said(change: &Change) -> String {
    let domain = printable(&change.domain);
    match (change.paused, change.changed) {
        (true, true) => format!(
            "{domain} is paused: workers take what they hold to its end and nothing more from its queues, until `worker resume {domain}`"
        ),
        (true, false) => format!(
            "{domain} was paused already, since {} by {}: {}",
            change.since.map(time).unwrap_or_default(),
            printable(change.who.as_deref().unwrap_or_default()),
            printable(change.reason.as_deref().unwrap_or_default())
        ),
        (false, true) => format!("{domain} is resumed: workers take its messages again"),
        (false, false) => format!("{domain} was not paused"),
    }
}
