//! `cargo xtask ci`: everything that CI checks, and nothing that only CI can run. Each step prints
//! its name and how long it took; a failed step does not stop the later ones, so that one run tells
//! everything.

use std::{
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{cargo, lint_proto, services, suite, tidy};

/// The demo of CI: every phase of the sale, at a tenth of its size.
const DEMO_ARGS: [&str; 4] = ["--users", "2000", "--stock", "200"];

/// Runs every step, prints a table of them and the totals of the tests.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut steps = Steps::default();
    let mut totals = suite::Totals::default();
    let (mut failures, mut skipped) = (String::new(), String::new());
    let mut services = None;

    steps.step("format", || cargo::run_cargo(&["fmt", "--all", "--check"]));
    steps.step("clippy", || {
        cargo::run_cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    });
    steps.step("tidy", tidy::check_workspace);
    steps.step("lint-proto", lint_proto::run);
    steps.step("deny", deny);
    steps.step("release build", || cargo::build_binaries(true, true).map(drop));
    // Held to the end of the run. Without them the tests try once more, and fail.
    steps.step("services", || {
        services = Some(services::lease(Some(&cargo::target_dir()?.join("release")))?);
        Ok(())
    });
    steps.step("test", || {
        let outcome = suite::run(&suite::Options {
            embedded: false,
            args: Vec::new(),
            bin_dir: Some(cargo::target_dir()?.join("release")),
            services: services.as_ref(),
        })?;
        totals = outcome.totals;
        skipped = outcome.skipped();
        failures = outcome.failures;
        if !outcome.success {
            bail!("tests failed, or something did not compile");
        }
        Ok(())
    });
    steps.step("demo", || {
        let demo = cargo::target_dir()?.join("release/coupon-demo");
        cargo::run(Command::new(demo).args(DEMO_ARGS))
    });

    if !failures.is_empty() {
        println!("\nwhat the failed tests said:\n\n{failures}");
    }
    println!("{skipped}\n{}", steps.table());
    println!("{totals}");
    Ok(crate::code(steps.all_passed()))
}

/// Licences, sources and bans of the dependencies, after `deny.toml`. The advisories are left out:
/// they come from the network and would fail a commit that has not changed.
fn deny() -> anyhow::Result<()> {
    let found = Command::new("cargo-deny").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("skipped: cargo-deny is not installed (`cargo install cargo-deny --locked`)");
        return Ok(());
    }
    cargo::run_cargo(&["deny", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
}

#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, bool, Duration)>,
}

impl Steps {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> anyhow::Result<()>) {
        println!("\n=== {name}");
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        match &result {
            Ok(()) => println!("=== {name}: ok in {:.1} s", took.as_secs_f64()),
            Err(error) => println!("=== {name}: FAILED in {:.1} s: {error:#}", took.as_secs_f64()),
        }
        self.done.push((name, result.is_ok(), took));
    }

    fn all_passed(&self) -> bool {
        self.done.iter().all(|(_, ok, _)| *ok)
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for (name, ok, took) in &self.done {
            let verdict = if *ok { "ok" } else { "FAILED" };
            text += &format!("{name:<14} {verdict:<7} {:>7.1} s\n", took.as_secs_f64());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_told_and_does_not_stop_the_next() {
        let mut steps = Steps::default();
        let mut ran = false;
        steps.step("first", || bail!("no"));
        steps.step("second", || {
            ran = true;
            Ok(())
        });
        assert!(ran);
        assert!(!steps.all_passed());
        assert!(steps.table().contains("first          FAILED"));
    }

    #[test]
    fn all_good_steps_pass() {
        let mut steps = Steps::default();
        steps.step("only", || Ok(()));
        assert!(steps.all_passed());
    }
}
