//! The `api` command.
#![warn(clippy::print_stderr)]

use std::process::ExitCode;

use acequia_api::cli::{self, token, user};
use acequia_api::config::ServeArgs;
use acequia_api::run::{self, Servers};
use acequia_args::{
    ApiDatabase, ArchiveLogin, ArchiveUrl, BrokerArgs, OperatorLogin, stop_on_signal,
};
use acequia_ops::archives::Depot;
use acequia_telemetry::LogArgs;
use clap::{Parser, Subcommand};

/// The platform over HTTP: state, quarantine, marts, messages.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 nothing found or nothing to do, 2 usage, settings or connections."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve. Stops cleanly on SIGTERM or Ctrl-C
    Serve {
        #[command(flatten)]
        database: ApiDatabase,
        #[command(flatten)]
        operator: OperatorLogin,
        #[command(flatten)]
        archive: ArchiveLogin,
        #[command(flatten)]
        archive_url: ArchiveUrl,
        #[command(flatten)]
        broker: Box<BrokerArgs>,
        #[command(flatten)]
        settings: Box<ServeArgs>,
    },
    /// Make tokens for programs, list them, revoke them
    Token {
        #[command(subcommand)]
        command: token::Command,
    },
    /// Add people who log in, list them, set passwords, remove them
    User {
        #[command(subcommand)]
        command: user::Command,
    },
    /// Print the OpenAPI document
    Openapi(cli::OpenapiArgs),
    /// Ask a running API whether it is ready; exit 0 or 1
    Health(cli::HealthArgs),
}

/// The log filter, unless somebody sets another.
const LOG: &str = "info,lapin=off";

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = async {
        let _written_at_the_end = cli.log.start_service(LOG)?;
        execute(cli.command).await
    };
    outcome.await.unwrap_or_else(|error| {
        cli.log.failed(&error);
        ExitCode::from(2)
    })
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve {
            database,
            operator,
            archive,
            archive_url,
            broker,
            settings,
        } => {
            let database = database.url()?;
            let archives = match (archive_url.given(), archive.url(&database)?) {
                (Some(url), Some(login)) => Some(Depot::open(url, login)?),
                _ => None,
            };
            let servers = Servers {
                operator: operator.url(&database)?,
                broker: broker.given()?,
                archives,
                database,
            };
            run::run(servers, *settings, stop_on_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Token { command } => token::execute(command).await,
        Command::User { command } => user::execute(command).await,
        Command::Openapi(args) => cli::openapi(&args),
        Command::Health(args) => cli::health(&args).await,
    }
}
