//! The life cycle of data: closed partitions go to an object store as Parquet files, come back when
//! they are wanted, and are purged when their retention ends. `docs/lifecycle.md` is for people.

pub mod due;
pub mod encoding;
pub mod file;
pub mod list;
mod partition;
mod progress;
pub mod purge;
pub mod restore;
pub mod row_group;
mod run;
pub mod session;
mod sink;
pub mod store;
pub mod verify;

pub use partition::Manifest;
