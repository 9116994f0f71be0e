//! `api token`: tokens of programs.

use std::process::ExitCode;

use acequia_args::ApiDatabase;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{by, code, open, print_json, scope, usage};
use crate::access;
use crate::auth::Role;
use crate::auth::secret::Secret;
use crate::data::tokens::{self, New, Token};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and print it: it is shown once and kept nowhere
    Create(CreateArgs),
    /// List tokens
    List(ListArgs),
    /// Revoke a token; it ends within five seconds. Exit 1 when there is none
    Revoke(RevokeArgs),
}

/// Options of `api token create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    database: ApiDatabase,
    /// Name of the program: small letters, digits and . _ @ -; the app_id of what it sends
    #[arg(long)]
    name: String,
    /// Role of the token
    #[arg(long, value_enum)]
    role: Role,
    /// Domain that the role is for; may be repeated; all when not given
    #[arg(long, value_delimiter = ',')]
    domain: Vec<String>,
    /// Days of validity
    #[arg(long, default_value_t = access::DAYS)]
    days: i32,
    /// Calls per second; the default of the API when not given
    #[arg(long)]
    rate: Option<i32>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Options of `api token list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    database: ApiDatabase,
    /// Also those that were revoked or have expired
    #[arg(long)]
    all: bool,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Options of `api token revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    database: ApiDatabase,
    /// Name or number of the token
    token: String,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Runs a command and prints what it has to say.
///
/// # Errors
/// When it is used wrongly, or the database does not answer.
pub async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<ExitCode> {
    let domains = (!args.domain.is_empty()).then_some(args.domain.as_slice());
    access::check_name(&args.name)
        .and_then(|()| access::check_domains(domains))
        .and_then(|()| access::check_days(args.days))
        .and_then(|()| access::check_rate(args.rate))
        .map_err(usage)?;
    let mut connection = open(&args.database.url()?).await?;
    let secret = Secret::token();
    let by = by();
    let new = New {
        name: &args.name,
        role: args.role,
        domains,
        rate: args.rate,
        days: args.days,
        by: &by,
    };
    let token = match tokens::create(&mut connection, &new, &secret).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            bail!(
                "there is a token of that name: revoke it first, `api token revoke {}`",
                args.name
            )
        }
        made => made.context("database")?,
    };
    if args.json {
        print_json(&json!({"secret": secret.text, "token": token}))?;
    } else {
        println!("{}", secret.text);
        acequia_telemetry::note!(
            "{} for {}, until {}; it is not shown again",
            token.role.as_str(),
            scope(token.domains.as_deref()),
            token.expires_at.format("%Y-%m-%d")
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut connection = open(&args.database.url()?).await?;
    let tokens = tokens::list(&mut connection, args.all)
        .await
        .context("database")?;
    if args.json {
        print_json(&tokens)?;
    } else {
        tokens.iter().for_each(print);
        if tokens.is_empty() {
            acequia_telemetry::note!("there is no token; `api token create` makes one");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(token: &Token) {
    let end = match token.revoked_at {
        Some(at) => format!("revoked {}", at.format("%Y-%m-%d")),
        None => format!("until {}", token.expires_at.format("%Y-%m-%d")),
    };
    let used = token.last_used_at.map_or_else(
        || "never used".to_owned(),
        |at| format!("used {}", at.format("%Y-%m-%dT%H:%MZ")),
    );
    println!(
        "{}  {}  {}...  {}  {}  {end}  {used}",
        token.token_id,
        token.name,
        token.hint,
        token.role.as_str(),
        scope(token.domains.as_deref())
    );
}

async fn revoke(args: RevokeArgs) -> anyhow::Result<ExitCode> {
    let mut connection = open(&args.database.url()?).await?;
    let id = args.token.parse().ok();
    let revoked = tokens::revoke(&mut connection, Some(&args.token), id, &by())
        .await
        .context("database")?;
    if args.json {
        print_json(&revoked)?;
    } else if revoked.is_empty() {
        acequia_telemetry::note!("there is no valid token {}", args.token);
    } else {
        revoked.iter().for_each(print);
    }
    Ok(code(!revoked.is_empty()))
}
