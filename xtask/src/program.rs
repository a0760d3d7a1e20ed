//! The programs of the `tests` crate that drive a release server: demo, replay, bench.

use std::{ffi::OsString, process::Command, process::ExitCode};

use crate::cargo;

/// Builds the release binaries and becomes the one named, with the arguments passed through.
pub(crate) fn run(name: &str, args: &[OsString]) -> anyhow::Result<ExitCode> {
    let binary = cargo::build_binaries(true, true)?.join(name);
    cargo::exec(Command::new(binary).args(args))
}
