//! `coupon-server check-config`.
#![allow(clippy::print_stdout, reason = "the command's answer goes to standard output")]

use std::process::ExitCode;

use coupon_server::backend::reach;
use coupon_server::config::{BackendKind, Config};
use coupon_server::data_dir::{self, FolderState};

/// Prints the effective configuration and, as comments, the state of what it stands on, so that the
/// output is a configuration file itself. Fails when something that is needed does not answer.
pub(crate) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    print!("{}", config.to_toml()?);
    println!();
    match config.backend.kind {
        BackendKind::Embedded => folder(config),
        BackendKind::Distributed => Ok(dependencies(config).await),
    }
}

fn folder(config: &Config) -> anyhow::Result<ExitCode> {
    let folder = &config.storage.data_dir;
    let state = match data_dir::inspect(folder)? {
        FolderState::Missing => "does not exist yet, serve creates it",
        FolderState::Free => "exists and is writable",
        FolderState::InUse => "exists, is writable, and a server is running on it",
    };
    println!("# the data folder {} {state}", folder.display());
    Ok(ExitCode::SUCCESS)
}

async fn dependencies(config: &Config) -> ExitCode {
    let mut well = true;
    for dependency in Box::pin(reach::dependencies(config)).await {
        let (word, state) = match &dependency.state {
            Ok(state) => ("ok", state),
            Err(state) => ("FAILED", state),
        };
        well &= dependency.state.is_ok();
        println!("# {word:6} {}: {state}", dependency.name);
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
