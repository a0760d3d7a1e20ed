//! `cargo xtask fuzz`: the evaluator and refunds under libFuzzer, or one input outside it.

mod jobs;
mod said;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, bail};

use self::jobs::Outcome;
use crate::{cargo, code};

const TARGET: &str = "evaluator";
/// What libFuzzer starts from; what it finds is kept apart.
const SEEDS: &str = "domain/fuzz/corpus/evaluator";
/// Longer inputs hold nothing that shorter ones do not.
const INPUT_MAX_BYTES: u32 = 1_024;

/// The instrumentation that libFuzzer needs, and every check that a release build leaves out. One unit
/// for each crate, because the coverage of a function that several units hold is counted apart.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
    "-Ccodegen-units=1",
];

/// Chosen on the command line.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Ends after this time; 0 = goes on until something is found
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Processes at once, each on a core of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Runs this input only, outside libFuzzer: shows what it decodes to and which property it breaks
    #[arg(long, conflicts_with_all = ["minutes", "jobs"])]
    input: Option<PathBuf>,
}

/// Where a run keeps things.
struct Places {
    /// Of the build, and of the folders below.
    root: PathBuf,
    /// Inputs that got further than others.
    corpus: PathBuf,
    /// Inputs that broke something.
    artifacts: PathBuf,
    /// What each process said.
    logs: PathBuf,
}

impl Places {
    fn make() -> anyhow::Result<Self> {
        let root = cargo::target_dir()?.join("fuzz");
        let folder = |name: &str| -> anyhow::Result<PathBuf> {
            let path = root.join(name);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
            Ok(path)
        };
        let (corpus, artifacts) = (folder("corpus")?, folder("artifacts")?);
        let logs = folder("logs")?;
        Ok(Self { root, corpus, artifacts, logs })
    }
}

/// The command.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(input) = &options.input {
        return run_input(input);
    }
    let host = check_tools()?;
    let places = Places::make()?;
    let binary = build(&host, &places.root)?;
    let jobs: Vec<Command> = (0..options.jobs).map(|_| job(&binary, &places, options)).collect();
    println!("fuzzing; what each process says is in {}", places.logs.display());
    let outcome = jobs::run(jobs, &places.logs)?;
    print!("{}", report(&outcome, &places.corpus));
    Ok(code(outcome.found.is_empty() && !outcome.failed))
}

fn run_input(input: &Path) -> anyhow::Result<ExitCode> {
    let input = std::path::absolute(input).context("cannot tell where the input is")?;
    let mut command = cargo::cargo()?;
    command.args(["run", "--quiet", "-p", "coupon-fuzz", "--bin", "fuzz-input", "--"]).arg(input);
    cargo::exec(&mut command)
}

/// The host triple of the nightly toolchain. All that is missing is told at once.
fn check_tools() -> anyhow::Result<String> {
    let mut missing = Vec::new();
    let host = output(nightly("rustc").arg("-vV")).and_then(|said| host(&said));
    if host.is_none() {
        missing.push(
            "the nightly toolchain, whose compiler instruments the code: \
             `rustup toolchain install nightly --profile minimal`",
        );
    }
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    if output(Command::new(compiler).arg("--version")).is_none() {
        missing.push(
            "a C++ compiler, which builds libFuzzer: `apt-get install g++` on Debian, \
             `xcode-select --install` on macOS, or name one in CXX",
        );
    }
    match host {
        Some(host) if missing.is_empty() => Ok(host),
        _ => bail!("fuzzing needs what is missing here\n  - {}", missing.join("\n  - ")),
    }
}

/// What the program prints, if it is there and succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn host(said: &str) -> Option<String> {
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// A program of the nightly toolchain, free of what the cargo that runs this one has set.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(name);
    }
    command
}

/// Builds the target. Build scripts must stay without instrumentation, which is why the host is named
/// as the target: cargo then keeps the two apart.
fn build(host: &str, target_dir: &Path) -> anyhow::Result<PathBuf> {
    let mut command = nightly("cargo");
    command.args(["build", "--release", "-p", "coupon-fuzz", "--features", "libfuzzer"]);
    command.args(["--bin", TARGET, "--target", host]);
    command.current_dir(cargo::root());
    command.env("CARGO_TARGET_DIR", target_dir).env("RUSTFLAGS", FLAGS.join(" "));
    cargo::run(&mut command)?;
    Ok(target_dir.join(host).join("release").join(TARGET))
}

fn job(binary: &Path, places: &Places, options: &Options) -> Command {
    let mut command = Command::new(binary);
    command.arg(&places.corpus).arg(cargo::root().join(SEEDS));
    command.arg(format!("-max_total_time={}", u64::from(options.minutes) * 60));
    command.arg(format!("-max_len={INPUT_MAX_BYTES}"));
    // A path that ends with the separator: libFuzzer puts the name right behind it.
    command.arg(format!("-artifact_prefix={}/", places.artifacts.display()));
    command.args(["-print_final_stats=1", "-use_value_profile=1"]);
    command
}

/// The end of a run in plain words.
fn report(outcome: &Outcome, corpus: &Path) -> String {
    let hours = outcome.hours();
    let mut text = format!(
        "\n{} executions in {hours:.2} hours of {} jobs, {:.0} a second and job; {} inputs in {}\n",
        outcome.executions,
        outcome.jobs,
        outcome.per_second(),
        fs::read_dir(corpus).map_or(0, Iterator::count),
        corpus.display(),
    );
    for found in &outcome.found {
        text += &format!("\nbroken: {}\n", found.message);
        text += &format!("to see it again: cargo xtask fuzz --input {}\n", found.input.display());
    }
    text += match (outcome.found.is_empty(), outcome.failed) {
        (false, _) => "",
        (true, true) => "a process failed without an input that breaks anything: see its log\n",
        (true, false) => "nothing found\n",
    };
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{jobs::Found, *};

    fn outcome(found: Vec<Found>) -> Outcome {
        let elapsed = Duration::from_secs(1_800);
        Outcome { jobs: 2, executions: 3_600_000, elapsed, found, failed: false }
    }

    #[test]
    fn the_host_is_read_off_the_compilers_version() {
        let said = "rustc 1.99.0-nightly\nbinary: rustc\nhost: aarch64-apple-darwin\n";
        assert_eq!(host(said).as_deref(), Some("aarch64-apple-darwin"));
        assert_eq!(host("rustc 1.99.0"), None);
    }

    #[test]
    fn a_run_ends_with_executions_and_hours() {
        let text = report(&outcome(Vec::new()), Path::new("no such folder"));
        assert!(text.contains("3600000 executions in 1.00 hours of 2 jobs, 1000 a second and job"));
        assert!(text.ends_with("nothing found\n"));
    }

    #[test]
    fn what_was_found_comes_with_the_way_to_see_it_again() {
        let found = Found { input: "crash-1".into(), message: "payable: -1".to_owned() };
        let text = report(&outcome(vec![found]), Path::new("no such folder"));
        assert!(text.contains("broken: payable: -1\n"));
        assert!(text.ends_with("cargo xtask fuzz --input crash-1\n"));
    }
}
