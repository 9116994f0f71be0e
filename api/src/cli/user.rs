//! `api user`: people who log in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use acequia_args::ApiDatabase;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{by, code, open, print_json, scope, usage};
use crate::access;
use crate::auth::{Role, password, secret};
use crate::data::people;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a person; without a password file a password is generated and printed once
    Add(AddArgs),
    /// List people
    List(ListArgs),
    /// Set a password and end the person's sessions; without a file it is generated and printed. Exit 1 for an unknown name
    SetPassword(SetPasswordArgs),
    /// Remove a person. Exit 1 when there is none
    Remove(RemoveArgs),
}

/// Options of `api user add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    #[command(flatten)]
    database: ApiDatabase,
    /// Login name: small letters, digits and . _ @ -
    name: String,
    /// Role of the person
    #[arg(long, value_enum)]
    role: Role,
    /// Domain that the role is for; may be repeated; all when not given
    #[arg(long, value_delimiter = ',')]
    domain: Vec<String>,
    /// File that holds the password, 12 to 256 bytes
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Options of `api user list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    database: ApiDatabase,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Options of `api user set-password`.
#[derive(Debug, Args)]
pub struct SetPasswordArgs {
    #[command(flatten)]
    database: ApiDatabase,
    /// Login name
    name: String,
    /// File that holds the password, 12 to 256 bytes
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Options of `api user remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    database: ApiDatabase,
    /// Login name
    name: String,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs a command and prints what it has to say.
///
/// # Errors
/// When it is used wrongly, or the database does not answer.
pub async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Add(args) => add(args).await,
        Command::List(args) => list(args).await,
        Command::SetPassword(args) => set_password(args).await,
        Command::Remove(args) => remove(args).await,
    }
}

/// The password from a file, or a generated one, which the command prints.
fn password_of(file: Option<&Path>) -> anyhow::Result<(String, bool)> {
    let Some(file) = file else {
        return Ok((secret::password(), true));
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("--password-file: cannot read {}", file.display()))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    password::check(&text).map_err(|why| anyhow::anyhow!("--password-file: the password {why}"))?;
    Ok((text, false))
}

async fn add(args: AddArgs) -> anyhow::Result<ExitCode> {
    let domains = (!args.domain.is_empty()).then_some(args.domain.as_slice());
    access::check_name(&args.name)
        .and_then(|()| access::check_domains(domains))
        .map_err(usage)?;
    let (password, shown) = password_of(args.password_file.as_deref())?;
    let hash = password::hash(password.clone()).await?;
    let mut connection = open(&args.database.url()?).await?;
    let added = people::add(
        &mut connection,
        &args.name,
        &hash,
        args.role,
        domains,
        &by(),
    )
    .await;
    let person = match added {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            bail!(
                "there is a person of that name: `api user set-password {}` sets a new password",
                args.name
            )
        }
        added => added.context("database")?,
    };
    let secret = shown.then_some(password);
    if args.json {
        print_json(&json!({"password": secret, "person": person}))?;
    } else {
        if let Some(secret) = secret {
            println!("{secret}");
        }
        acequia_telemetry::note!(
            "{} may log in: {} for {}",
            person.name,
            person.role.as_str(),
            scope(person.domains.as_deref())
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut connection = open(&args.database.url()?).await?;
    let people = people::list(&mut connection).await.context("database")?;
    if args.json {
        print_json(&people)?;
    } else if people.is_empty() {
        acequia_telemetry::note!("no user may log in; `api user add` creates one");
    } else {
        for person in &people {
            let login = person.last_login_at.map_or_else(
                || "never logged in".to_owned(),
                |at| format!("logged in {}", at.format("%Y-%m-%dT%H:%MZ")),
            );
            let (role, scope) = (person.role.as_str(), scope(person.domains.as_deref()));
            println!(
                "{}  {role}  {scope}  {login}  {} sessions",
                person.name, person.sessions
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn set_password(args: SetPasswordArgs) -> anyhow::Result<ExitCode> {
    let (password, shown) = password_of(args.password_file.as_deref())?;
    let hash = password::hash(password.clone()).await?;
    let mut connection = open(&args.database.url()?).await?;
    let there = people::set_password(&mut connection, &args.name, &hash, None)
        .await
        .context("database")?;
    let secret = (shown && there).then_some(password);
    if args.json {
        print_json(&json!({"changed": there, "password": secret}))?;
    } else if let Some(secret) = secret {
        println!("{secret}");
    } else if !there {
        acequia_telemetry::note!("no user is named {}", args.name);
    }
    Ok(code(there))
}

async fn remove(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let mut connection = open(&args.database.url()?).await?;
    let was_there = people::remove(&mut connection, &args.name)
        .await
        .context("database")?;
    if args.json {
        print_json(&json!({"removed": was_there}))?;
    } else if !was_there {
        acequia_telemetry::note!("no user is named {}", args.name);
    }
    Ok(code(was_there))
}
