//! Where the workspace and its binaries are, and how cargo and other programs are started.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, bail};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// The target folder in use, whether it comes from the environment, a configuration or the default:
/// the one that this very program was built into (`TARGET/debug/xtask`).
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("cannot tell where this program is")?;
    match program.ancestors().nth(2) {
        Some(dir) => Ok(dir.to_path_buf()),
        None => {
            bail!("{} is not inside a target folder: start it as `cargo xtask`", program.display())
        }
    }
}

/// A cargo command in the workspace's root, with the target folder of this program.
pub(crate) fn cargo() -> anyhow::Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env("CARGO_TARGET_DIR", target_dir()?);
    Ok(command)
}

/// Runs `cargo ARGS` to its end; not succeeding is an error.
pub(crate) fn run_cargo<S: AsRef<OsStr>>(args: &[S]) -> anyhow::Result<()> {
    let mut command = cargo()?;
    command.args(args);
    run(&mut command)
}

/// Runs the command to its end; not succeeding is an error that shows the command.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// Builds the server (`programs` = false) or the server and all programs that drive it, and returns
/// the folder of the binaries. Both ways select the same packages, so that dependencies keep the
/// same features and nothing is built twice.
pub(crate) fn build_binaries(release: bool, programs: bool) -> anyhow::Result<PathBuf> {
    let mut args = vec!["build", "-p", "coupon-server", "-p", "coupon-tests"];
    if release {
        args.push("--release");
    }
    if programs {
        args.push("--bins");
    } else {
        args.extend(["--bin", "coupon-server"]);
    }
    run_cargo(&args)?;
    Ok(target_dir()?.join(if release { "release" } else { "debug" }))
}

/// Builds the server with planted faults, for tests of the tests, and returns its path. It is never
/// optimised: release builds refuse those faults.
pub(crate) fn build_sabotaged() -> anyhow::Result<PathBuf> {
    const NAME: &str = "coupon-server-sabotaged";
    let packages = ["build", "-p", "coupon-server", "-p", "coupon-tests"];
    let what = ["--features", "coupon-server/sabotage", "--bin", NAME];
    run_cargo(&[&packages[..], &what].concat())?;
    Ok(target_dir()?.join("debug").join(NAME))
}

/// Becomes the command: signals then reach it and nobody else, and its exit code is ours. Returns
/// only when it cannot be started.
#[cfg(unix)]
pub(crate) fn exec(command: &mut Command) -> anyhow::Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;

    let shown = shown(command);
    Err(anyhow::Error::new(command.exec()).context(format!("cannot start `{shown}`")))
}

/// Runs the command to its end and passes its success on.
#[cfg(not(unix))]
pub(crate) fn exec(command: &mut Command) -> anyhow::Result<ExitCode> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    Ok(crate::code(status.success()))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
