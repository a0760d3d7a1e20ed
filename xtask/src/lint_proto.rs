//! `cargo xtask lint-proto`: buf's STANDARD rules over the protos. What is checked is configured in
//! `proto/buf.yaml`.

use std::{
    io::ErrorKind,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::cargo;

/// The pinned buf, as npm names it. This is the only place that names its version.
const BUF: &str = "@bufbuild/buf@1.75.0";

/// Runs `buf lint`; every complaint is printed by buf itself.
pub(crate) fn run() -> anyhow::Result<()> {
    let found = Command::new("npx").arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => {}
        Ok(status) => bail!("npx does not work ({status}): install Node.js with npm again"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("npx is missing: install Node.js with npm (Debian: apt-get install nodejs npm)")
        }
        Err(error) => return Err(error).context("cannot start npx"),
    }
    let mut buf = Command::new("npx");
    buf.args(["--yes", BUF, "lint"]).current_dir(cargo::root().join("proto"));
    cargo::run(&mut buf)
}
