//! Ends the services of a set when the process that started them has ended, however it ended: a test
//! run is interrupted or killed without a chance to clean up.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;

/// Waits for the end of its standard input, then kills every process that is noted in the folder and
/// still works there, and with `remove` also removes the folder: what lays out data when a start is cut
/// short may still write for a second. The word `stay` sends it away instead.
const SCRIPT: &str = r#"
read -r word
[ "$word" = stay ] && exit 0
for file in "$0"/*/pid; do
    pid=$(cat "$file" 2>/dev/null) || continue
    case "$(readlink "/proc/$pid/cwd")" in
        "$0"/*) kill -KILL "$pid" ;;
    esac
done
[ "$1" = remove ] || exit 0
for attempt in 1 2 3 4 5; do
    rm -rf "$0" && break
    sleep 1
done
"#;

/// The process that watches.
#[derive(Debug)]
pub(super) struct Watchdog {
    child: Child,
}

impl Watchdog {
    /// Watches over the services whose folders are in this one, and over the folder itself when it is
    /// a temporary one.
    pub(super) fn over(folder: &Path, temporary: bool) -> anyhow::Result<Self> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(folder)
            .arg(if temporary { "remove" } else { "keep" })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What interrupts the process in front must not reach it.
            .process_group(0)
            .spawn()
            .context("cannot run `sh` to watch over the services")?;
        Ok(Self { child })
    }

    /// Sends it away: the services stay.
    pub(super) fn dismiss(mut self) -> anyhow::Result<()> {
        if let Some(mut input) = self.child.stdin.take() {
            input.write_all(b"stay\n").context("cannot keep the services running")?;
        }
        self.child.wait().context("cannot keep the services running")?;
        Ok(())
    }
}

/// Has it kill the services, and waits until it has.
impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends by itself once its input has ended.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// A process that works in the folder `a` of a set and runs until it is killed.
    fn worker(set: &Path) -> (Child, PathBuf) {
        let set = set.canonicalize().unwrap();
        let folder = set.join("a");
        fs::create_dir(&folder).unwrap();
        let child = Command::new("sh")
            .args(["-c", "exec cat"])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        fs::write(folder.join("pid"), child.id().to_string()).unwrap();
        (child, set)
    }

    #[test]
    fn the_end_of_its_input_ends_the_services() {
        let set = tempfile::tempdir().unwrap();
        let (mut worker, set) = worker(set.path());
        drop(Watchdog::over(&set, false).unwrap());
        assert!(!worker.wait().unwrap().success());
        assert!(set.is_dir(), "the folder is somebody's");
    }

    #[test]
    fn a_temporary_folder_goes_too() {
        let set = tempfile::tempdir().unwrap();
        let (mut worker, set) = worker(set.path());
        drop(Watchdog::over(&set, true).unwrap());
        assert!(!worker.wait().unwrap().success());
        assert!(!set.exists());
    }

    #[test]
    fn sent_away_it_leaves_them_alone() {
        let set = tempfile::tempdir().unwrap();
        let (mut worker, set) = worker(set.path());
        Watchdog::over(&set, true).unwrap().dismiss().unwrap();
        assert!(worker.try_wait().unwrap().is_none() && set.is_dir());
        drop(worker.stdin.take());
        assert!(worker.wait().unwrap().success(), "it ended by its own input");
    }
}
