//! The coordinator dtm, which tests of transactions over several services start. It is built of its
//! Go module, where Go is installed.

use std::{
    env,
    ffi::OsString,
    process::{Command, Stdio},
};

use crate::cargo;

/// Tells the tests where it is.
pub(crate) const VARIABLE: &str = "COUPON_DTM_BIN";
/// Names its module and version, in the workspace.
const MODULE: &str = "tests/dtm";
const PACKAGE: &str = "github.com/dtm-labs/dtm";

/// Builds it and returns its path; the one that the environment names is taken as it is. Without Go
/// there is none: its tests then say what they need, and count as skipped.
///
/// # Errors
/// When it does not build.
pub(crate) fn build() -> anyhow::Result<Option<OsString>> {
    if let Some(named) = env::var_os(VARIABLE) {
        return Ok(Some(named));
    }
    let found = Command::new("go").arg("version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let binary = cargo::target_dir()?.join("dtm/dtm");
    println!("building dtm, which takes two minutes the first time");
    // Without symbols it links faster and is a third smaller.
    let mut build = Command::new("go");
    build.args(["build", "-ldflags=-s -w", "-o"]).arg(&binary).arg(PACKAGE);
    cargo::run(build.current_dir(cargo::root().join(MODULE)))?;
    Ok(Some(binary.into()))
}
