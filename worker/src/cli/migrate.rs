//! `worker migrate`.

use std::process::ExitCode;

use acequia_args::DatabaseArgs;
use clap::Args;

use super::output::print_json;
use crate::config::{KeepArgs, PasswordArgs};

/// Options of `worker migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    passwords: PasswordArgs,
    /// Set passwords also of roles that other databases of this server use
    #[arg(long)]
    take_over_roles: bool,
    #[command(flatten)]
    keep: KeepArgs,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `worker migrate`.
///
/// # Errors
/// When it is used wrongly, or the schema cannot be brought to this version.
pub async fn execute(args: MigrateArgs) -> anyhow::Result<ExitCode> {
    let options = acequia_schema::Options {
        passwords: args.passwords.passwords()?,
        take_over_roles: args.take_over_roles,
        keep: args.keep.given(),
    };
    let report = acequia_schema::migrate_with(&args.database.url()?, &options).await?;
    if args.json {
        print_json(&report)?;
    } else {
        println!(
            "schema version {}: {} migrations and {} routines applied, {} rights changed",
            report.version,
            report.migrations.len(),
            report.routines.len(),
            report.rights
        );
    }
    Ok(ExitCode::SUCCESS)
}
