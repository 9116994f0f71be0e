//! The `worker` command.
#![warn(clippy::print_stderr)]

use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use acequia_args::{BrokerArgs, DatabaseArgs, not_ready, stop_on_signal};
use acequia_telemetry::LogArgs;
use acequia_worker::cli::{
    archive, doctor, gate, ledger, migrate, pause, purge, quarantine, rules, trace,
};
use acequia_worker::config::LoopArgs;
use acequia_worker::{run, settings};
use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

/// Moves messages from RabbitMQ to marts in PostgreSQL, and accounts for every one.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 something is wrong with the data or a check failed, 2 usage, settings or connections."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the schema to this version: migrations, functions, views, rules, roles
    Migrate(Box<migrate::MigrateArgs>),
    /// Run the loops: ingest, promote, check, refresh. Stops cleanly on SIGTERM or Ctrl-C
    Run {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        broker: BrokerArgs,
        #[command(flatten)]
        settings: Box<LoopArgs>,
    },
    /// Check broker, database, roles, versions and topology, and suggest repairs
    Doctor(Box<doctor::DoctorArgs>),
    /// Run the data quality rules once; exit 1 when a rule of severity error fails
    Check(rules::CheckArgs),
    /// Refresh the marts whose core has changed, once; exit 1 when a rule blocks one of them
    Refresh(rules::RefreshArgs),
    /// List, replay, discard and restore messages in quarantine
    Quarantine {
        #[command(subcommand)]
        command: quarantine::Command,
    },
    /// List marts that failing rules block; open and close their gates
    Gate {
        #[command(subcommand)]
        command: gate::Command,
    },
    /// Leave the messages of a domain in its queues until `worker resume`
    Pause(pause::PauseArgs),
    /// Take the messages of a paused domain again
    Resume(pause::PauseArgs),
    /// List messages whose staged rows somebody removed, and write them off
    Ledger {
        #[command(subcommand)]
        command: ledger::Command,
    },
    /// Move closed partitions to the object store; list and verify archives
    Archive(archive::ArchiveArgs),
    /// Bring archived partitions back into the database
    Restore(archive::RestoreArgs),
    /// Delete archived partitions permanently
    Purge(purge::PurgeArgs),
    /// Follow a message, or all messages of a key; exit 1 when none is known
    Trace(trace::TraceArgs),
    /// Ask a running worker whether it is ready; exit 0 or 1
    Health {
        /// Address of the worker
        #[arg(
            long,
            env = "HTTP_ADDR",
            default_value = "127.0.0.1:9464",
            value_name = "HOST:PORT"
        )]
        addr: std::net::SocketAddr,
        /// Keep asking for this long before giving up
        #[arg(long, default_value = "0s", value_parser = |text: &str| settings::HEALTH_WAIT.parse(text), value_name = "TIME")]
        wait: std::time::Duration,
    },
}

/// The log filter, unless somebody sets another.
const LOG: &str = "info,lapin=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = (|| {
        let _written_at_the_end = cli.log.start_service(LOG)?;
        let runtime = runtime()?;
        runtime.block_on(execute(cli.command))
    })();
    outcome.unwrap_or_else(|error| {
        cli.log.failed(&error);
        ExitCode::from(2)
    })
}

/// One thread for two cores, unless `TOKIO_WORKER_THREADS` says otherwise. The AMQP library has threads
/// of its own and most of the work is done by servers: more threads would mostly wake each other.
fn runtime() -> anyhow::Result<Runtime> {
    let threads = match std::env::var("TOKIO_WORKER_THREADS") {
        Ok(text) => (settings::TOKIO_WORKER_THREADS.parse(&text)).map_err(anyhow::Error::msg)?,
        Err(_) => (available_parallelism().map_or(1, NonZero::get) / 2).max(1),
    };
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all();
    builder.build().context("starting threads")
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Migrate(args) => migrate::execute(*args).await,
        Command::Run {
            database,
            broker,
            settings,
        } => {
            run::run(database.url()?, broker.url()?, *settings, stop_on_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor(args) => doctor::execute(*args).await,
        Command::Check(args) => rules::check(args).await,
        Command::Refresh(args) => rules::refresh(args).await,
        Command::Quarantine { command } => quarantine::execute(command).await,
        Command::Gate { command } => gate::execute(command).await,
        Command::Pause(args) => pause::execute(args, true).await,
        Command::Resume(args) => pause::execute(args, false).await,
        Command::Ledger { command } => ledger::execute(command).await,
        Command::Archive(args) => archive::archive(args, stop_on_signal()?).await,
        Command::Restore(args) => archive::restore(args, stop_on_signal()?).await,
        Command::Purge(args) => purge::purge(args, stop_on_signal()?).await,
        Command::Trace(args) => trace::execute(args).await,
        Command::Health { addr, wait } => health(addr, wait).await,
    }
}

/// Asks until the worker is ready, or the time is over.
async fn health(addr: std::net::SocketAddr, wait: std::time::Duration) -> anyhow::Result<ExitCode> {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let Some(found) = not_ready(addr).await else {
            println!("ready");
            return Ok(ExitCode::SUCCESS);
        };
        if tokio::time::Instant::now() >= deadline {
            acequia_telemetry::note!("not ready: {found}");
            return Ok(ExitCode::FAILURE);
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
