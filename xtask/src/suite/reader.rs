//! What `cargo test` says, read along: counts, what failed tests said, and what was skipped.

use std::{
    fmt,
    io::{BufRead, Write},
};

use anyhow::Context as _;

/// Beginning of the line in which a test says that something is not there that it needs:
/// `SKIPPED NAME: needs ...`. It is written past the capturing of its output. The test then passes as
/// far as its binary knows, and is counted as skipped here.
const SKIPPED: &str = "SKIPPED ";

/// Reads along as the test binaries speak.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) totals: Totals,
    pub(super) failures: String,
    /// What skipped tests said, without the mark.
    pub(super) skips: Vec<String>,
    /// Of them, those that the binary at work will count as passed when it closes.
    skips_in_binary: u64,
    /// Within the part of a binary's output that shows what its failed tests said.
    in_failures: bool,
    /// Within a backtrace, which is left out there: it is long, and its place has just been named.
    in_backtrace: bool,
}

impl Reader {
    fn read(&mut self, line: &str) {
        if let Some(skip) = line.strip_prefix(SKIPPED) {
            self.skips.push(skip.trim_end().to_owned());
            self.skips_in_binary += 1;
            return;
        }
        if self.totals.add_line(line) {
            self.totals.skip(std::mem::take(&mut self.skips_in_binary));
        }
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
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`. Answers whether it is.
    fn add_line(&mut self, line: &str) -> bool {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return false;
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
        true
    }

    /// That many of the passed have done nothing.
    fn skip(&mut self, count: u64) {
        self.passed = self.passed.saturating_sub(count);
        self.skipped += count;
    }
}

/// Reads along while the output goes on to `to`.
pub(super) fn pass_through(mut output: impl BufRead, mut to: impl Write) -> anyhow::Result<Reader> {
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
            assert_eq!(totals.add_line(line), line.starts_with("test result: "));
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
        assert_eq!(reader.skips, [] as [&str; 0]);
    }

    #[test]
    fn tests_that_lack_something_are_skipped_not_passed() {
        // The second of a binary that runs one test after the other, whose name is already there.
        let said = "test a ... ok\n\nSKIPPED b: needs Go\ntest b ... ok\n\
                    test c ... \nSKIPPED c: needs Go\nok\n\
                    test result: ok. 3 passed; 0 failed; 1 ignored\n\
                    test it says SKIPPED d: no\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored\n";
        let reader = pass_through(said.as_bytes(), Vec::new()).expect("readable");
        assert_eq!(reader.totals, Totals { passed: 3, failed: 0, skipped: 3 });
        assert_eq!(reader.skips, ["b: needs Go", "c: needs Go"]);
    }

    #[test]
    fn nothing_skipped_is_not_mentioned() {
        let totals = Totals { passed: 1, failed: 0, skipped: 0 };
        assert_eq!(totals.to_string(), "1 passed, 0 failed");
    }
}
