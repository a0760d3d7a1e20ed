//! `cargo xtask services`, and services for everything that runs on the distributed back end: those
//! of the environment, a set that is up, or a set for this run alone.

use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail};

use crate::cargo;

mod install;

/// Variables that hold addresses of services; the last may be missing.
const VARIABLES: [&str; 5] = [
    "COUPON_TEST_MYSQL_SHARDS",
    "COUPON_TEST_REDIS_NODES",
    "COUPON_TEST_PULSAR_URL",
    "COUPON_TEST_PULSAR_ADMIN",
    "COUPON_TEST_MYSQL_REPLICAS",
];
const BINARY: &str = "coupon-services";
/// Last line of `coupon-services hold` before it waits.
const READY: &str = "ready";

/// `cargo xtask services ...`
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Install what is missing (asks first), start MariaDB, Redis Cluster and Pulsar, print addresses
    Up {
        /// Install missing packages without asking
        #[arg(long)]
        yes: bool,
        /// Further arguments: `--folder DIR`, `--json`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Stop them and remove their data
    Down(crate::Passed),
    /// Tell which run and what memory they hold
    Status(crate::Passed),
    /// Print the end of their logs: `logs pulsar`
    Logs(crate::Passed),
}

/// Runs the command.
pub(crate) fn run(command: &Verb) -> anyhow::Result<ExitCode> {
    let (verb, args) = match command {
        Verb::Up { yes, args } => {
            match Given::of_environment(|name| env::var(name).ok())? {
                Given::All => {
                    println!("COUPON_TEST_* are set: those services are used, nothing is started.");
                    return Ok(ExitCode::SUCCESS);
                }
                Given::None => install::provide(*yes)?,
            }
            ("up", args)
        }
        Verb::Down(passed) => ("down", &passed.args),
        Verb::Status(passed) => ("status", &passed.args),
        Verb::Logs(passed) => ("logs", &passed.args),
    };
    cargo::exec(Command::new(binary(None)?).arg(verb).args(args))
}

/// Installs what services need and is missing; asks first.
pub(crate) fn install() -> anyhow::Result<()> {
    install::provide(false)
}

/// Services that are there for as long as this lives.
pub(crate) struct Lease {
    /// Variables for the programs that use them; none when this process has them already.
    pub(crate) variables: Vec<(String, String)>,
    /// Of a set for this run: ends when its standard input does.
    holder: Option<Child>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            drop(holder.stdin.take());
            // It says itself what went wrong.
            let _ = holder.wait();
        }
    }
}

/// Finds or starts services. `bin_dir` is a folder of ready binaries; none = they are built.
pub(crate) fn lease(bin_dir: Option<&Path>) -> anyhow::Result<Lease> {
    if Given::of_environment(|name| env::var(name).ok())? == Given::All {
        println!("services: those that COUPON_TEST_* name");
        return Ok(Lease { variables: Vec::new(), holder: None });
    }
    let binary = binary(bin_dir)?;
    let there = Command::new(&binary).arg("env").stderr(Stdio::null()).output();
    let there = there.context("cannot start coupon-services")?;
    if there.status.success() {
        println!("services: those of `cargo xtask services up`");
        let text = String::from_utf8_lossy(&there.stdout);
        let variables = text.lines().filter_map(exported).collect();
        return Ok(Lease { variables, holder: None });
    }
    install::provide(false)?;
    println!("services: starting MariaDB, Redis Cluster and Pulsar for this run");
    hold(&binary)
}

/// Finds services, or starts a set that stays up; answers the variables that name it.
pub(crate) fn up(bin_dir: &Path) -> anyhow::Result<Vec<(String, String)>> {
    if Given::of_environment(|name| env::var(name).ok())? == Given::All {
        return Ok(Vec::new());
    }
    install::provide(false)?;
    let binary = binary(Some(bin_dir))?;
    cargo::run(Command::new(&binary).arg("up"))?;
    let there = Command::new(&binary).arg("env").output();
    let text = there.context("cannot start coupon-services")?.stdout;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(exported).collect())
}

/// Starts a set that lives as long as the lease.
fn hold(binary: &Path) -> anyhow::Result<Lease> {
    let child = Command::new(binary)
        .arg("hold")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start coupon-services")?;
    let mut lease = Lease { variables: Vec::new(), holder: Some(child) };
    let output = lease.holder.as_mut().and_then(|child| child.stdout.take());
    let output = output.context("coupon-services has no output to read")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what coupon-services says")?;
        if line == READY {
            return Ok(lease);
        }
        lease.variables.extend(exported(&line));
    }
    bail!("the services did not start; `--embedded` runs the tests that need none")
}

/// `export NAME='VALUE'`
fn exported(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
    let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
    Some((name.to_owned(), value.to_owned()))
}

/// Path of `coupon-services`.
fn binary(bin_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(binary) = bin_dir.map(|dir| dir.join(BINARY)).filter(|path| path.is_file()) {
        return Ok(binary);
    }
    // The same packages as everywhere, so that dependencies keep their features.
    cargo::run_cargo(&[
        "build",
        "-q",
        "-p",
        "coupon-server",
        "-p",
        "coupon-tests",
        "--bin",
        BINARY,
    ])?;
    Ok(cargo::target_dir()?.join("debug").join(BINARY))
}

/// What the environment names.
#[derive(Debug, PartialEq, Eq)]
enum Given {
    All,
    None,
}

impl Given {
    /// Some addresses and not others are a mistake: tests would run against a mixture.
    fn of_environment(lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let set = |name: &&str| lookup(name).is_some_and(|value| !value.trim().is_empty());
        let needed = &VARIABLES[..4];
        if needed.iter().all(set) {
            return Ok(Self::All);
        }
        if let Some(one) = VARIABLES.iter().find(|name| set(name)) {
            let missing: Vec<_> = needed.iter().filter(|name| !set(name)).copied().collect();
            bail!("{one} is set and {} is not: set all of them or none", missing.join(", "));
        }
        Ok(Self::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(names: &[&str]) -> anyhow::Result<Given> {
        Given::of_environment(|name| names.contains(&name).then(|| "x".to_owned()))
    }

    #[test]
    fn all_addresses_or_none() {
        assert_eq!(given(&VARIABLES).unwrap(), Given::All);
        assert_eq!(given(&VARIABLES[..4]).unwrap(), Given::All, "replicas may be missing");
        assert_eq!(given(&[]).unwrap(), Given::None);
        for one in VARIABLES {
            let error = given(&[one]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{one} is set and ")), "{error}");
        }
    }

    #[test]
    fn exported_lines_are_read() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(exported("export A='b=c,d'"), pair("A", "b=c,d"));
        assert_eq!(exported("export A=''"), pair("A", ""));
        assert_eq!(exported("ready"), None);
    }
}
