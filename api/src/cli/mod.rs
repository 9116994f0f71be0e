//! The commands beside `serve`: their options, and what they print.

pub mod token;
pub mod user;

use std::process::ExitCode;

use acequia_net::SecretUrl;
use acequia_store::db;
use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use sqlx::PgConnection;

use crate::{database, routes};

/// Options of `api openapi`.
#[derive(Debug, Args)]
pub struct OpenapiArgs {
    /// The same: the document is JSON
    #[arg(long)]
    json: bool,
}

/// Prints the OpenAPI document.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn openapi(_: &OpenapiArgs) -> anyhow::Result<ExitCode> {
    print_json(&routes::document())?;
    Ok(ExitCode::SUCCESS)
}

/// Connects, once the schema is known to serve this program.
async fn open(url: &SecretUrl) -> anyhow::Result<PgConnection> {
    let mut connection = db::connect(url, "api").await.context("database")?;
    database::check(&mut connection).await?;
    Ok(connection)
}

fn print_json(report: &(impl Serialize + ?Sized)) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(report)?);
    Ok(())
}

/// Who gives a command, as the tables name it: the user of the system.
fn by() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty());
    format!("cli:{}", user.as_deref().unwrap_or("unknown"))
}

/// Exit code: done, or nothing found.
fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A scope for people.
fn scope(domains: Option<&[String]>) -> String {
    domains.map_or_else(|| "all domains".to_owned(), |domains| domains.join(","))
}

/// A rule of [`crate::access`] that is broken, as an error of the command line.
fn usage((field, why): (&'static str, String)) -> anyhow::Error {
    anyhow::anyhow!("--{field} {why}")
}
