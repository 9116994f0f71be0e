//! Options that programs share, from the command line or the environment, secrets also by file: where the servers are,
//! with which login, how times, sizes and ranges are written; and what else their commands have in common.

mod archive;
mod broker;
mod database;
mod ready;
mod setting;
mod signals;
mod user;

pub use archive::{ArchiveUrl, first_instant, instant_after};
pub use broker::{BrokerArgs, ManagementArgs};
pub use database::{
    ApiDatabase, ArchiveDatabase, ArchiveLogin, DatabaseArgs, OperatorDatabase, OperatorLogin,
};
pub use ready::not_ready;
pub use setting::{Limits, Setting, duration, number, size};
pub use signals::stop_on_signal;
pub use user::system_user;
