//! `worker quarantine`: lists, shows, replays, discards and restores quarantined messages, and switches the feed for publishers.

mod change;
mod feed;
mod filters;
mod read;
mod whole;

use std::process::ExitCode;

use acequia_args::OperatorDatabase;
use clap::{Args, Subcommand};
use sqlx::PgConnection;

use self::change::{MarkArgs, ReplayArgs, discard, replay, restore};
use self::feed::{FeedArgs, feed};
use self::filters::FilterArgs;
use self::read::{list, show, stats};
use super::connection;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List rows, open ones unless --status says otherwise; 100 unless --limit says otherwise
    List(ReadArgs),
    /// Show rows whole, 20 unless --limit says otherwise: reason, properties, body and its versions, what was done
    Show(ReadArgs),
    /// Send messages again, the way they came in, under the same identity
    Replay(Box<ReplayArgs>),
    /// Discard messages: they stay as evidence until their retention ends
    Discard(Box<MarkArgs>),
    /// Open discarded messages again
    Restore(Box<MarkArgs>),
    /// Count by domain, entity, code and field
    Stats(ReadArgs),
    /// Show or switch the feeds of the domains: notices of refused messages for publishers, on exchange
    /// acequia.rejected
    Feed(FeedArgs),
}

/// Options of the commands that change nothing.
#[derive(Debug, Args)]
pub struct ReadArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
    // Last: their heading goes on to the end.
    #[command(flatten)]
    filters: FilterArgs,
}

/// Runs a command and prints its result. Exit code 1 when nothing matched or something
/// could not be done.
///
/// # Errors
/// When it is used wrongly, or database or broker do not answer.
pub async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
        Command::Replay(args) => replay(*args).await,
        Command::Discard(args) => discard(*args).await,
        Command::Restore(args) => restore(*args).await,
        Command::Stats(args) => stats(args).await,
        Command::Feed(args) => feed(args).await,
    }
}

async fn open(database: &OperatorDatabase) -> anyhow::Result<PgConnection> {
    connection::open(&database.url()?, "quarantine").await
}
