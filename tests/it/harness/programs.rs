//! The programs of the workspace, run as their users run them.

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::Stdio,
    thread,
    time::Duration,
};

use coupon_tests::process::{server_binary, sibling_binary};
use tokio::{process::Command, time::timeout};

/// Longer than anything takes that is not meant to run on.
const PATIENCE: Duration = Duration::from_secs(600);

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Whether long tests are to be cut short.
pub(crate) fn quick() -> bool {
    env::var_os("COUPON_TEST_QUICK").is_some_and(|value| value == "1")
}

/// Says that the test that calls this does nothing, because something is not there: `needs Go ...`.
/// `cargo xtask test` counts it as skipped and lists it.
pub(crate) fn skipped(needs: &str) {
    let thread = thread::current();
    let line = format!("\nSKIPPED {}: {needs}\n", thread.name().unwrap_or("a test"));
    // Not `println!`, which is shown for failed tests only. In one piece, because others write too,
    // and on a line of its own, because the name of the test may already stand there.
    let mut stdout = io::stdout();
    let written = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    written.expect("standard output takes a line");
}

/// A program of the workspace: in the folder that `COUPON_TEST_BIN_DIR` names, else beside the
/// tests.
pub(crate) fn program(name: &str) -> PathBuf {
    if let Some(folder) = env::var_os("COUPON_TEST_BIN_DIR") {
        let path = PathBuf::from(folder).join(name);
        assert!(path.is_file(), "COUPON_TEST_BIN_DIR has no {name}: {}", path.display());
        return path;
    }
    let found = sibling_binary(name);
    found.unwrap_or_else(|error| panic!("{error:#}; run `cargo build -p coupon-tests --bins`"))
}

/// Runs a program to its end.
pub(crate) async fn run(program: PathBuf, args: &[&str], envs: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(&program);
    command.args(args).envs(envs.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{} does not end", program.display()));
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the server's program to its end.
pub(crate) async fn server(args: &[&str]) -> Ended {
    server_with(args, &[]).await
}

/// Runs the server's program to its end, with these in its environment.
pub(crate) async fn server_with(args: &[&str], envs: &[(&str, &str)]) -> Ended {
    let path = server_binary().unwrap_or_else(|error| panic!("{error:#}"));
    run(path, args, envs).await
}
