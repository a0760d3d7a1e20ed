//! The measures at the ports of the server's library. A program of its own takes them, because it
//! links the server, which the programs that drive it from outside must not.

use std::{env, path::PathBuf, process::Stdio};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::{Violation, frame::Frame, report::Row, selection::Selection, stage::new_dir};

/// Names the program (`cargo xtask bench` builds it and sets this).
pub const PROGRAM: &str = "COUPON_BENCH_PORTS";
/// Its exit code when a checker has found a violation, which is then all that it says.
pub const VIOLATED: u8 = 3;

/// Has one measure taken by the program.
///
/// # Errors
/// A [`Violation`] when its checker finds one; anything else when it cannot be run or fails.
pub async fn measure(frame: &Frame, selection: &Selection) -> anyhow::Result<Vec<Row>> {
    let program = env::var_os(PROGRAM).map(PathBuf::from);
    let program = program.with_context(|| {
        format!("{PROGRAM} does not name the program of the ports: run `cargo xtask bench`")
    })?;
    let folder = new_dir(&frame.root)?;
    let json = folder.path().join("rows.json");
    let plan = &frame.plan;
    let mut command = Command::new(&program);
    command.arg(&selection.name).arg("--json").arg(&json).arg("--root").arg(&frame.root);
    command.args(["--runs", &plan.runs.to_string()]);
    command.args(["--millis", &plan.length.as_millis().to_string()]);
    command.args(["--rows-max", &plan.rows_max.to_string()]);
    command.args(["--rows", &plan.rows.to_string()]);
    command.args(["--warm-up-millis", &plan.warm_up_max.as_millis().to_string()]);
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?
        .wait_with_output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.code() == Some(i32::from(VIOLATED)) {
        return Err(Violation(said).into());
    }
    ensure!(output.status.success(), "{} failed: {} {said}", program.display(), output.status);
    let text = std::fs::read_to_string(&json).context("the program of the ports told nothing")?;
    Ok(serde_json::from_str(&text)?)
}
