//! `cargo xtask test`: the whole suite, with what its binaries say added up.

use std::{
    ffi::OsString,
    io::{self, BufReader},
    path::PathBuf,
    process::Stdio,
};

use anyhow::Context as _;

use crate::{cargo, dtm, services};

mod reader;

pub(crate) use reader::Totals;
use reader::{Reader, pass_through};

/// Part of the path of every test that needs services.
const DISTRIBUTED: &str = "distributed";

/// Tells tests of the tests where the server with planted faults is.
pub(crate) const SABOTAGED: &str = "COUPON_SABOTAGED_BIN";

/// Which tests, and against what.
pub(crate) struct Options<'a> {
    /// Leave out what needs services, and cut the crash storm short.
    pub(crate) embedded: bool,
    /// Arguments for `cargo test`.
    pub(crate) args: Vec<OsString>,
    /// Folder of ready binaries for tests that start processes; none = they are built here.
    pub(crate) bin_dir: Option<PathBuf>,
    /// Services to run on; none = they are found, or started for this run.
    pub(crate) services: Option<&'a services::Lease>,
}

/// How the run ended.
pub(crate) struct Outcome {
    /// Added up over all test binaries.
    pub(crate) totals: Totals,
    /// What `cargo test` said: false also when something did not compile.
    pub(crate) success: bool,
    /// What the failed tests said, to be told again at the end of a long run.
    pub(crate) failures: String,
    /// Tests that found something missing, each with what: `NAME: needs ...`.
    pub(crate) skips: Vec<String>,
}

impl Outcome {
    /// The skipped tests as a paragraph; empty when there are none.
    pub(crate) fn skipped(&self) -> String {
        if self.skips.is_empty() {
            return String::new();
        }
        format!("\nskipped:\n    {}\n", self.skips.join("\n    "))
    }
}

/// Runs the suite, its output passed through as it comes.
pub(crate) fn run(options: &Options<'_>) -> anyhow::Result<Outcome> {
    let mut command = cargo::cargo()?;
    if let Some(dir) = &options.bin_dir {
        command.env("COUPON_TEST_BIN_DIR", dir);
        command.env("COUPON_SERVER_BIN", dir.join("coupon-server"));
    } else if starts_processes(&options.args) {
        // With `--tests` beside `--bins` the dependencies get the features that `cargo test` gives
        // them, and are built once.
        cargo::run_cargo(&["build", "--workspace", "--bins", "--tests"])?;
    }
    if starts_processes(&options.args) {
        command.env(SABOTAGED, cargo::build_sabotaged()?);
        if !options.embedded
            && let Some(dtm) = dtm::build()?
        {
            command.env(dtm::VARIABLE, dtm);
        }
    }
    if options.embedded {
        command.env("COUPON_TEST_QUICK", "1");
    }
    // Held until the tests have ended.
    let own = if options.embedded || options.services.is_some() || !starts_processes(&options.args)
    {
        None
    } else {
        let lease = services::lease(options.bin_dir.as_deref());
        Some(lease.context("the tests need services (`--embedded` runs those that do not)")?)
    };
    if let Some(lease) = options.services.or(own.as_ref()) {
        command.envs(lease.variables.iter().cloned());
    }
    command.args(["test", "--no-fail-fast"]);
    if !selects_packages(&options.args) {
        command.arg("--workspace");
    }
    command.args(arguments(&options.args, options.embedded)).stdout(Stdio::piped());

    let mut child = command.spawn().context("cannot start `cargo test`")?;
    let output = child.stdout.take().context("`cargo test` has no output to read")?;
    let Reader { totals, failures, skips, .. } =
        pass_through(BufReader::new(output), io::stdout().lock())?;
    let success = child.wait().context("cannot wait for `cargo test`")?.success();
    Ok(Outcome { totals, success, failures, skips })
}

/// The arguments for `cargo test`; without services, what needs them is skipped by its name.
fn arguments(given: &[OsString], embedded: bool) -> Vec<OsString> {
    let mut args = given.to_vec();
    if embedded {
        if !args.iter().any(|arg| arg == "--") {
            args.push("--".into());
        }
        args.extend(["--skip", DISTRIBUTED].map(OsString::from));
    }
    args
}

/// Whether the arguments name packages, so that not all are meant.
fn selects_packages(args: &[OsString]) -> bool {
    let mut words = args.iter().map(|arg| arg.to_string_lossy());
    words.any(|word| word.starts_with("-p") || word.starts_with("--package"))
}

/// Whether tests that start the server as a process are among those selected.
fn starts_processes(args: &[OsString]) -> bool {
    let mut words = args.iter().map(|arg| arg.to_string_lossy());
    !selects_packages(args) || words.any(|word| word.ends_with("coupon-tests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_selection_without_the_harness_needs_no_server() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(starts_processes(&args(&[])));
        assert!(starts_processes(&args(&["claim"])));
        assert!(starts_processes(&args(&["-p", "coupon-tests"])));
        assert!(starts_processes(&args(&["--package=coupon-tests"])));
        assert!(!starts_processes(&args(&["-p", "coupon-domain", "lock"])));
    }

    #[test]
    fn without_services_the_test_binaries_skip_what_needs_them() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(arguments(&args(&["a"]), false), args(&["a"]));
        assert_eq!(arguments(&args(&[]), true), args(&["--", "--skip", "distributed"]));
        assert_eq!(
            arguments(&args(&["-p", "x", "--", "--nocapture"]), true),
            args(&["-p", "x", "--", "--nocapture", "--skip", "distributed"])
        );
    }
}
