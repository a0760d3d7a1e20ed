//! The programs of the `tests` crate that drive release servers: demo, replay, bench, chaos.

use std::{ffi::OsString, process::Command, process::ExitCode};

use anyhow::Context as _;

use crate::{cargo, code, services, suite};

/// The argument of those that can run on the distributed back end.
const DISTRIBUTED: &str = "--distributed";

/// Builds the release binaries and runs the one named, with the arguments passed through. One that
/// runs on the distributed back end gets services for as long as it runs.
pub(crate) fn run(name: &str, args: &[OsString]) -> anyhow::Result<ExitCode> {
    let bin_dir = cargo::build_binaries(true, true)?;
    let mut command = Command::new(bin_dir.join(name));
    command.args(args);
    if args.iter().any(|arg| arg == DISTRIBUTED) {
        let services = services::lease(Some(&bin_dir))?;
        let status = command.envs(services.variables.iter().cloned()).status();
        let status = status.with_context(|| format!("cannot start {name}"))?;
        return Ok(code(status.success()));
    }
    cargo::exec(&mut command)
}

/// Builds the release binaries and the server with failpoints, and becomes `coupon-chaos`, which starts
/// services of its own.
pub(crate) fn chaos(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let embedded = args.iter().any(|arg| arg == "--embedded" || arg == "--help");
    if !embedded {
        services::install()?;
    }
    let binary = cargo::build_binaries(true, true)?.join("coupon-chaos");
    let sabotaged = cargo::build_sabotaged()?;
    cargo::exec(Command::new(binary).args(args).env(suite::SABOTAGED, sabotaged))
}
