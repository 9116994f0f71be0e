//! The `api` command.
#![warn(clippy::print_stderr)]

use std::process::ExitCode;

use acequia_api::cli::{self, token, user};
use acequia_api::config::{ActionArgs, DatabaseArgs, ServeArgs};
use acequia_api::run::{self, Servers};
use acequia_telemetry::LogArgs;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

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
        database: DatabaseArgs,
        #[command(flatten)]
        actions: Box<ActionArgs>,
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
            actions,
            settings,
        } => {
            let servers = Servers {
                database: database.url()?,
                operator: actions.operator(&database)?,
                broker: actions.broker(&database)?,
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

/// A token that is cancelled by SIGTERM or SIGINT.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}
