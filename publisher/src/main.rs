//! `publisher`: see `publisher --help`.

use std::process::ExitCode;

use acequia_publisher::{cli, execute};

fn main() -> ExitCode {
    execute(&cli::command().get_matches())
}
