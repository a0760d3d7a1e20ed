//! `cargo xtask bench`: builds what the measures named need, and takes them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{cargo, code, services};

/// Tells `coupon-bench` where the program of the ports is.
const PORTS: &str = "COUPON_BENCH_PORTS";

/// Beginnings of the names that are measured at the ports. Whatever is left out here is still built,
/// by a second build with other features of the dependencies.
const AT_PORTS: [&str; 4] = ["M3", "M4-PORT", "M6", "M7"];

/// What must be there besides `coupon-bench` itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Needs {
    /// MySQL, Redis Cluster and Pulsar.
    services: bool,
    /// The program that measures at the ports of the server's library.
    ports: bool,
}

impl Needs {
    /// As the program says; an error in the arguments is left for the run proper to tell.
    fn of(bench: &Path, args: &[OsString]) -> anyhow::Result<Self> {
        let output = Command::new(bench)
            .arg("--needs")
            .args(args)
            .stderr(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", bench.display()))?;
        Ok(Self::read(&String::from_utf8_lossy(&output.stdout)))
    }

    fn read(said: &str) -> Self {
        let says = |word: &str| said.lines().any(|line| line == word);
        Self { services: says("services"), ports: says("ports") }
    }
}

/// Whether the argument asks for something at the ports.
fn is_at_ports(arg: &OsString) -> bool {
    let name = arg.to_string_lossy().to_ascii_uppercase();
    let measure = name.split('@').next().unwrap_or_default();
    AT_PORTS.contains(&measure) || name == "--DISTRIBUTED"
}

/// Builds the release binaries and runs `coupon-bench`, with the arguments passed through and with
/// services for as long as it runs, where it needs them.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut ports = None;
    if args.iter().any(is_at_ports) {
        ports = Some(build_ports()?);
    } else {
        cargo::build_binaries(true, true)?;
    }
    let bin_dir = cargo::target_dir()?.join("release");
    let bench = bin_dir.join("coupon-bench");
    let needs = Needs::of(&bench, args)?;
    let mut command = Command::new(&bench);
    command.args(args);
    if needs.ports {
        command.env(PORTS, ports.map_or_else(build_ports, Ok)?);
    }
    if !needs.services {
        return cargo::exec(&mut command);
    }
    let services = services::lease(Some(&bin_dir))?;
    let status = command.envs(services.variables.iter().cloned()).status();
    Ok(code(status.context("cannot start coupon-bench")?.success()))
}

/// Builds the binaries and the program of the ports; the latter's path, which cargo chooses.
fn build_ports() -> anyhow::Result<PathBuf> {
    let mut command = cargo::cargo()?;
    command.args(["build", "--release", "-p", "coupon-server", "-p", "coupon-tests"]);
    command.args(["--bins", "--bench", "ports", "--message-format", "json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the program of the ports does not build");
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo does not say where it has built the program of the ports")
}

/// The path in cargo's message about the target `ports`.
fn executable(messages: &str) -> Option<PathBuf> {
    let about = |line: &&str| line.contains(r#""name":"ports""#);
    let line = messages.lines().filter(about).find(|line| line.contains(r#""executable":""#))?;
    let (_, rest) = line.split_once(r#""executable":""#)?;
    let (path, _) = rest.split_once('"')?;
    Some(PathBuf::from(path.replace(r"\\", r"\")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_read_off_the_message_of_its_target() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"it"},"executable":"/t/it-1"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"ports"},"executable":"/t/ports-2"}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/ports-2")));
        assert_eq!(executable(r#"{"target":{"name":"ports"},"executable":null}"#), None);
    }

    #[test]
    fn what_is_measured_at_the_ports_is_known_by_its_name() {
        let at_ports = |arg: &str| is_at_ports(&OsString::from(arg));
        assert!(["m3", "M4-PORT@1e6", "M7", "--distributed"].into_iter().all(at_ports));
        assert!(!["M4", "M14", "--runs", "M2@1e6"].into_iter().any(at_ports));
    }

    #[test]
    fn needs_are_whole_lines() {
        assert_eq!(Needs::read("services\nports\n"), Needs { services: true, ports: true });
        assert_eq!(Needs::read("Usage: needs services"), Needs::default());
    }
}
