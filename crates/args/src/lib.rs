//! Options that programs share, from the command line or the environment, secrets also by file: where the servers are,
//! with which login, and how times, sizes and ranges are written.

mod broker;
mod database;
mod setting;

pub use broker::{BrokerArgs, ManagementArgs};
pub use database::{ArchiveDatabase, ArchiveLogin, DatabaseArgs, OperatorDatabase};
pub use setting::{Limits, Setting, duration, number, size};
