//! Everything a contributor types: `cargo xtask run`, `demo`, `replay`, `bench`, `chaos`,
//! `services`, `test`, `fuzz`, `tidy`, `lint-proto` and `ci`.
#![allow(clippy::print_stdout, reason = "a command-line tool talks to its user on stdout")]

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

mod bench;
mod cargo;
mod ci;
mod dtm;
mod fuzz;
mod lint_proto;
mod program;
mod run;
mod services;
mod suite;
mod tidy;

/// The coupon platform's development commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the server, start it with its data in a folder, and print what to try next
    Run {
        /// Build without optimisation: quicker to build, slower to run
        #[arg(long)]
        debug: bool,
        /// Address to listen on; port 0 = any free port
        #[arg(long, default_value = "127.0.0.1:50051")]
        listen: String,
        /// Folder of the data [default: data/ in the workspace]
        #[arg(long)]
        data_dir: Option<PathBuf>,
        /// Run the distributed back end: two API nodes and a worker on MySQL shards, Redis Cluster and
        /// Pulsar, which are started when they do not run
        #[arg(long, conflicts_with_all = ["listen", "data_dir"])]
        distributed: bool,
        /// Further arguments for `coupon-server serve` (`coupon-cluster` when distributed), after `--`
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Drive a flash sale against a server of its own and check every invariant
    #[command(disable_help_flag = true)]
    Demo(Passed),
    /// Replay a folder of real coupon campaigns through the public API, on a test clock
    #[command(disable_help_flag = true)]
    Replay(Passed),
    /// Measure, each bench beside its baseline
    #[command(disable_help_flag = true)]
    Bench(Passed),
    /// Break every part of a platform under load, one after the other, and check every answer
    #[command(disable_help_flag = true)]
    Chaos(Passed),
    /// Start, watch and stop MariaDB, Redis Cluster and Pulsar for the distributed back end
    #[command(subcommand)]
    Services(services::Verb),
    /// Build what the tests need, run them all, and add up what the test binaries say. Services come
    /// from COUPON_TEST_*, else from `services up`, else are started for this run
    Test {
        /// The quick subset, which needs no services: tests of the distributed back end are left out,
        /// the crash storm is cut short (COUPON_TEST_QUICK=1)
        #[arg(long)]
        embedded: bool,
        /// Arguments for `cargo test`, after `--`: `-- -p coupon-domain lock`
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Feed the evaluator and refunds with whatever libFuzzer makes up, and check what must hold of them.
    /// Needs the nightly toolchain and a C++ compiler
    Fuzz(fuzz::Options),
    /// Check the house rules: edges between crates and rooms, file length, banned names
    Tidy,
    /// Run `buf lint` on the protos, through npx
    LintProto,
    /// Everything that CI checks, one step after the other
    Ci,
}

/// Arguments that belong to the program started, `--help` included.
#[derive(clap::Args)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { debug, distributed: true, args, .. } => run::run_distributed(debug, &args),
        Command::Run { debug, listen, data_dir, args, .. } => {
            run::run(&run::Options { debug, listen, data_dir, args })
        }
        Command::Demo(passed) => program::run("coupon-demo", &passed.args),
        Command::Replay(passed) => program::run("coupon-replay", &passed.args),
        Command::Bench(passed) => bench::run(&passed.args),
        Command::Chaos(passed) => program::chaos(&passed.args),
        Command::Services(verb) => services::run(&verb),
        Command::Test { embedded, args } => {
            let options = suite::Options { embedded, args, bin_dir: None, services: None };
            let outcome = suite::run(&options)?;
            println!("{}\n{}", outcome.skipped(), outcome.totals);
            Ok(code(outcome.success))
        }
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Tidy => tidy::run(),
        Command::LintProto => lint_proto::run().map(|()| ExitCode::SUCCESS),
        Command::Ci => ci::run(),
    }
}

fn code(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
