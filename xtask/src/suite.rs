//! `cargo xtask test`: the whole suite, with what its binaries say added up.

use std::{
    ffi::OsString,
    fmt,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::Stdio,
};

use anyhow::Context as _;

use crate::{cargo, services};

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
}

/// Reads along as the test binaries speak.
#[derive(Debug, Default)]
struct Reader {
    totals: Totals,
    failures: String,
    /// Within the part of a binary's output that shows what its failed tests said.
    in_failures: bool,
    /// Within a backtrace, which is left out there: it is long, and its place has just been named.
    in_backtrace: bool,
}

impl Reader {
    fn read(&mut self, line: &str) {
        self.totals.add_line(line);
        if line.starts_with("---- ") && line.trim_end().ends_with(" stdout ----") {
            self.in_failures = true;
        } else if line.starts_with("failures:") || line.starts_with("test result: ") {
            self.in_failures = false;
        }
        let names_frames = line.starts_with("stack backtrace:");
        self.in_backtrace = names_frames || (self.in_backtrace && line.starts_with("  "));
        if self.in_failures && !self.in_backtrace {
            self.failures.push_str(line);
        }
    }
}

/// Counts of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

impl Totals {
    /// Adds one line of a test binary's output, when it is its closing line:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
    fn add_line(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let Some(count) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            match words.next() {
                Some("passed") => self.passed += count,
                Some("failed") => self.failed += count,
                Some("ignored") => self.skipped += count,
                _ => {}
            }
        }
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
    let Reader { totals, failures, .. } =
        pass_through(BufReader::new(output), io::stdout().lock())?;
    let success = child.wait().context("cannot wait for `cargo test`")?.success();
    Ok(Outcome { totals, success, failures })
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

/// Reads along while the output goes on to `to`.
fn pass_through(mut output: impl BufRead, mut to: impl Write) -> anyhow::Result<Reader> {
    let mut reader = Reader::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).context("cannot read what `cargo test` says")? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        reader.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_closing_lines_and_nothing_else() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test a ... ok",
            "we saw 9 passed; 9 failed",
            "test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 1.2s",
        ] {
            totals.add_line(line);
        }
        assert_eq!(totals, Totals { passed: 13, failed: 2, skipped: 1 });
        assert_eq!(totals.to_string(), "13 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn what_failed_tests_said_is_kept() {
        let said = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nwhy\n\
                    stack backtrace:\n   0: x\n      at y\nnote: less\n\n---- b stdout ----\n\
                    how\n\nfailures:\n    a\n    b\n\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        let mut passed_on = Vec::new();
        let reader = pass_through(said.as_bytes(), &mut passed_on).expect("readable");
        assert_eq!(passed_on, said.as_bytes());
        assert_eq!(
            reader.failures,
            "---- a stdout ----\nwhy\nnote: less\n\n---- b stdout ----\nhow\n\n"
        );
        assert_eq!(reader.totals, Totals { passed: 1, failed: 2, skipped: 0 });
    }

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

    #[test]
    fn nothing_skipped_is_not_mentioned() {
        let totals = Totals { passed: 1, failed: 0, skipped: 0 };
        assert_eq!(totals.to_string(), "1 passed, 0 failed");
    }
}
