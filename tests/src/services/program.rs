//! Programs of the operating system: where they are, and running them to their end.

use std::{
    env,
    ffi::OsStr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// Servers stand here on Debian, outside an ordinary user's PATH.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Path of a program; fails with what to do when there is none.
pub(super) fn find(name: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    match folders.map(|folder| folder.join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "{name} is not installed: run `cargo xtask services up`, which says how to install it"
        ),
    }
}

/// Whether this process may do everything: MariaDB runs as root only when told to.
pub(super) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// Runs a program to its end and answers what it said on stdout; not succeeding is an error with the
/// end of what it said.
pub(super) async fn run<S: AsRef<OsStr>>(
    program: &Path,
    folder: &Path,
    args: impl IntoIterator<Item = S>,
) -> anyhow::Result<String> {
    let name = program.file_name().unwrap_or_default().display().to_string();
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {name}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = format!("{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
        bail!("{name} failed ({}):\n{}", output.status, last_lines(&said, 30));
    }
    Ok(stdout)
}

/// The last lines of a text, blank ones left out.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The target folder: the one of the running program, else the workspace's.
pub(super) fn target_dir() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    // Cargo marks its target folders so.
    let mut folders = program.ancestors().skip(1);
    let marked = folders.find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_remedy() {
        let error = find("coupon-no-such-program").unwrap_err().to_string();
        assert!(error.contains("coupon-no-such-program is not installed"), "{error}");
        assert!(error.contains("cargo xtask services up"), "{error}");
        assert!(find("sh").is_ok());
    }

    #[test]
    fn the_end_of_a_text_is_kept() {
        assert_eq!(last_lines("a\n\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }

    #[tokio::test]
    async fn failing_programs_are_quoted() {
        let sh = find("sh").unwrap();
        let folder = env::temp_dir();
        assert_eq!(run(&sh, &folder, ["-c", "echo yes"]).await.unwrap(), "yes\n");
        let error = run(&sh, &folder, ["-c", "echo why >&2; exit 3"]).await.unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }

    #[test]
    fn tests_find_their_target_folder() {
        assert!(target_dir().is_dir());
    }
}
