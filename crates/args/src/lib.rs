//! Options that programs share, from the command line or the environment, secrets also by file: where the servers are,
//! with which login, how times, sizes and ranges are written; and the signals that end a program.

mod broker;
mod database;
mod setting;
mod signals;

pub use broker::{BrokerArgs, ManagementArgs};
pub use database::{
    ApiDatabase, ArchiveDatabase, ArchiveLogin, DatabaseArgs, OperatorDatabase, OperatorLogin,
};
pub use setting::{Limits, Setting, duration, number, size};
pub use signals::stop_on_signal;
