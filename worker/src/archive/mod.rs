//! The life cycle of data: closed partitions go to an object store as Parquet files, come back when
//! they are wanted, and are given up when their time is over. `docs/lifecycle.md` is for people.

pub mod block;
mod commands;
pub mod due;
pub mod file;
pub mod form;
mod list;
mod partition;
pub mod progress;
mod purge;
pub mod restore;
mod schedule;
pub mod session;
pub mod sink;
pub mod store;
mod verify;

pub use commands::{ArchiveArgs, PurgeArgs, RestoreArgs, archive, purge, restore};
pub use partition::Manifest;
pub use schedule::{Archiver, cron};
