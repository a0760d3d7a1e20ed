//! `coupon-server check-config`.
#![allow(clippy::print_stdout, reason = "the command's answer goes to standard output")]

use std::process::ExitCode;

use coupon_server::config::Config;
use coupon_server::data_dir::{self, FolderState};

/// Prints the effective configuration and, as a comment, the state of the data folder, so that the
/// output is a configuration file itself.
pub(crate) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    print!("{}", config.to_toml()?);
    let folder = &config.storage.data_dir;
    let state = match data_dir::inspect(folder)? {
        FolderState::Missing => "does not exist yet, serve creates it",
        FolderState::Free => "exists and is writable",
        FolderState::InUse => "exists, is writable, and a server is running on it",
    };
    println!("\n# the data folder {} {state}", folder.display());
    Ok(ExitCode::SUCCESS)
}
