//! `worker quarantine feed`: notices of refused messages for publishers.

use std::process::ExitCode;

use acequia_args::OperatorDatabase;
use acequia_ops::quarantine::{feeds, switch_feed};
use anyhow::Context;
use clap::{Args, ValueEnum};

use super::open;
use crate::cli::actor;
use crate::cli::output::{print_json, print_table, time};

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Notices are published on exchange acequia.rejected
    On,
    /// No notices
    Off,
}

/// Options of `worker quarantine feed`.
#[derive(Debug, Args)]
pub struct FeedArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    /// New state; without it the command shows the feeds
    #[arg(requires = "domain")]
    switch: Option<Switch>,
    /// Domain to be switched; may be repeated
    #[arg(long, value_name = "DOMAIN", requires = "switch", value_parser = domains())]
    domain: Vec<String>,
    /// Who does it; the user of the system unless given, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

fn domains() -> clap::builder::PossibleValuesParser {
    let domains = acequia_contracts::catalog().iter();
    domains.map(|domain| domain.name).collect::<Vec<_>>().into()
}

/// Switches feeds, and shows all of them.
///
/// # Errors
/// When the database does not answer.
pub async fn feed(args: FeedArgs) -> anyhow::Result<ExitCode> {
    let mut connection = open(&args.database).await?;
    let who = actor::name(args.by.as_deref());
    if let Some(switch) = args.switch {
        for domain in &args.domain {
            switch_feed(
                &mut connection,
                domain,
                switch == Switch::On,
                who.as_deref(),
            )
            .await
            .context("database")?;
        }
    }
    let feeds = feeds(&mut connection).await.context("database")?;
    if args.json {
        print_json(&feeds)?;
    } else {
        print_table(
            &["domain", "feed", "since", "by"],
            feeds.iter().map(|feed| {
                vec![
                    feed.domain.clone(),
                    if feed.on { "on" } else { "off" }.to_owned(),
                    feed.since.map_or_else(String::new, time),
                    feed.by.clone().unwrap_or_default(),
                ]
            }),
        );
    }
    Ok(ExitCode::SUCCESS)
}
