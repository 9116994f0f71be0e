//! `worker check` and `worker refresh`.

use std::process::ExitCode;

use acequia_args::DatabaseArgs;
use acequia_store::marts::{self, Refreshed};
use acequia_store::quality;
use clap::Args;

use super::connection;
use super::output::{code, print_json};
use crate::config::RuleArgs;

/// Options of `worker check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    rules: RuleArgs,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Options of `worker refresh`.
#[derive(Debug, Args)]
pub struct RefreshArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    rules: RuleArgs,
}

/// Runs `worker check`.
///
/// # Errors
/// When the database does not answer, or its schema is another.
pub async fn check(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let mut connection = connection::open(&args.database.url()?, "check").await?;
    let mut results = Vec::new();
    for domain in acequia_contracts::catalog() {
        let found = quality::check(&mut connection, domain.name, args.rules.rule_max);
        results.extend(found.await?);
    }
    if args.json {
        print_json(&results)?;
    } else {
        for result in &results {
            println!(
                "{:<6} {:<7} {}",
                result.outcome, result.severity, result.rule
            );
        }
    }
    let good = |outcome: &str| matches!(outcome, "pass" | "warn");
    Ok(code(results.iter().all(|result| good(&result.outcome))))
}

/// Runs `worker refresh`.
///
/// # Errors
/// When the database does not answer, or its schema is another.
pub async fn refresh(args: RefreshArgs) -> anyhow::Result<ExitCode> {
    let mut connection = connection::open(&args.database.url()?, "refresh").await?;
    let mut all = true;
    for domain in acequia_contracts::catalog() {
        for (mart, _) in marts::due(&mut connection, domain.name, None).await? {
            match marts::refresh(&mut connection, &mart, args.rules.rule_max).await? {
                Refreshed::Rows(rows) => println!("{mart}: {rows} rows"),
                Refreshed::Busy => println!("{mart}: another process is refreshing it"),
                Refreshed::Blocked(rules) => {
                    all = false;
                    println!("{mart}: blocked, see worker gate list: {}", rules.join(" "));
                }
            }
        }
    }
    Ok(code(all))
}
