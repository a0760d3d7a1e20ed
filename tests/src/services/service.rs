//! One service: a process that can be killed, frozen and started again with its port and data.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{dtm, mariadb, program, pulsar, redis};

/// How often a condition is looked at that nobody announces.
pub(super) const POLL: Duration = Duration::from_millis(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Lines of a log that an error quotes.
const QUOTED_LINES: usize = 25;
const PID_FILE: &str = "pid";
const LOG_FILE: &str = "log";

/// What a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A primary of MariaDB.
    Mysql,
    /// A read replica of MariaDB.
    Replica,
    /// A node of the Redis Cluster.
    Redis,
    /// The Pulsar broker.
    Pulsar,
    /// The coordinator dtm, which is no part of a set.
    Dtm,
}

impl Kind {
    /// How long it may take to answer after a start.
    fn start_timeout(self) -> Duration {
        match self {
            Self::Mysql | Self::Replica => Duration::from_secs(90),
            Self::Redis | Self::Dtm => Duration::from_secs(30),
            Self::Pulsar => Duration::from_secs(180),
        }
    }
}

/// How a process is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
}

/// A service of a set. Its process may be down.
#[derive(Debug)]
pub struct Service {
    /// `mysql-0`, `mysql-0-replica`, `redis-3`, `pulsar`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Port of the loopback interface that it listens on.
    pub port: u16,
    /// Further ports that it listens on: the broker's web service first.
    pub more_ports: Vec<u16>,
    /// Holds its data and its log.
    pub folder: PathBuf,
    pub(super) launch: Launch,
    /// Of a process that this one has started: once it has ended, it must be waited for.
    child: Mutex<Option<Child>>,
}

impl Service {
    /// A service that is not running yet.
    pub(super) fn new(
        name: impl Into<String>,
        kind: Kind,
        ports: (u16, Vec<u16>),
        folder: PathBuf,
        launch: Launch,
    ) -> Self {
        let (port, more_ports) = ports;
        Self { name: name.into(), kind, port, more_ports, folder, launch, child: Mutex::new(None) }
    }

    /// Process id; `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        if let Some(child) = self.child().as_mut() {
            return matches!(child.try_wait(), Ok(None)).then(|| child.id());
        }
        let text = fs::read_to_string(self.folder.join(PID_FILE)).ok()?;
        let pid = text.trim().parse().ok()?;
        works_in(pid, &self.folder).then_some(pid)
    }

    /// Whether its process is there, frozen or not.
    pub fn is_alive(&self) -> bool {
        self.pid().is_some()
    }

    /// Whether its process is frozen.
    pub fn is_paused(&self) -> bool {
        self.pid().and_then(|pid| status_field(pid, "State:")).is_some_and(|s| s.starts_with('T'))
    }

    /// Memory that its process holds, in bytes; 0 while it is down.
    pub fn rss_bytes(&self) -> u64 {
        let field = self.pid().and_then(|pid| status_field(pid, "VmRSS:"));
        let kib = field.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1_024
    }

    /// Where its process writes its log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join(LOG_FILE)
    }

    /// The last lines of its log.
    pub fn log(&self, lines: usize) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        program::last_lines(&String::from_utf8_lossy(&bytes), lines)
    }

    /// Kills its process (SIGKILL), frozen or not, and waits until it is gone. Harmless when it is
    /// down.
    ///
    /// # Errors
    /// When it is still there after 20 seconds.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.signal("KILL")?;
        ensure!(self.gone_within(STOP_TIMEOUT).await, "{} cannot be killed", self.name);
        Ok(())
    }

    /// Asks its process to end (SIGTERM) and waits until it is gone; kills it after 20 seconds.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.resume()?;
        self.signal("TERM")?;
        if self.gone_within(STOP_TIMEOUT).await { Ok(()) } else { self.kill().await }
    }

    /// Freezes its process (SIGSTOP): connections stay open and nothing is answered. Returns when it
    /// is frozen.
    ///
    /// # Errors
    /// When the signal cannot be sent, or has no effect.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal("STOP")?;
        self.freezes(true)
    }

    /// Thaws its process (SIGCONT). Returns when it runs.
    ///
    /// # Errors
    /// When the signal cannot be sent, or has no effect.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("CONT")?;
        self.freezes(false)
    }

    /// Waits until it is frozen, or is not; the system needs a moment, longer for many threads.
    fn freezes(&self, frozen: bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.is_alive() && self.is_paused() != frozen {
            ensure!(started.elapsed() < STOP_TIMEOUT, "{} does not heed a signal", self.name);
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Starts it with the port and the data that it had, and waits until it answers; kills it first
    /// when it is up.
    ///
    /// # Errors
    /// When it does not answer; the end of its log is in the message.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.kill().await?;
        self.spawn()?;
        self.answers().await
    }

    /// Starts its process.
    pub(super) fn spawn(&self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.with_context(|| format!("cannot write {}", self.log_path().display()))?;
        let child = Command::new(&self.launch.program)
            .args(&self.launch.args)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at the terminal is meant for the program in front.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.launch.program.display()))?;
        let pid = child.id();
        *self.child() = Some(child);
        fs::write(self.folder.join(PID_FILE), pid.to_string())
            .with_context(|| format!("cannot note the process of {}", self.name))
    }

    /// Waits until it answers.
    pub(super) async fn answers(&self) -> anyhow::Result<()> {
        let limit = self.kind.start_timeout();
        let started = Instant::now();
        loop {
            let answer = match self.kind {
                Kind::Mysql | Kind::Replica => Box::pin(mariadb::ping(self)).await,
                Kind::Redis => redis::ping(self).await,
                Kind::Pulsar => pulsar::ping(self).await,
                Kind::Dtm => dtm::ping(self).await,
            };
            let Err(error) = answer else { return Ok(()) };
            let log = || self.log(QUOTED_LINES);
            if !self.is_alive() {
                bail!("{} ended while it started; its log ends:\n{}", self.name, log());
            }
            if started.elapsed() > limit {
                bail!("{} does not answer: {error:#}; its log ends:\n{}", self.name, log());
            }
            sleep(POLL).await;
        }
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        // `kill` is a builtin of every shell but a program of its own only on some systems.
        let sent = Command::new("sh")
            .args(["-c", "kill -\"$0\" \"$1\" 2>/dev/null", signal, &pid.to_string()])
            .status()
            .context("cannot run `sh` to send a signal")?;
        // It may have ended in between.
        ensure!(sent.success() || !self.is_alive(), "cannot send {signal} to {}", self.name);
        Ok(())
    }

    async fn gone_within(&self, limit: Duration) -> bool {
        let started = Instant::now();
        while self.is_alive() {
            if started.elapsed() > limit {
                return false;
            }
            sleep(POLL).await;
        }
        true
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the process works in this folder or below: its number may have gone to another one since.
/// A process that has ended works nowhere.
fn works_in(pid: u32, folder: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| path.starts_with(folder))
}

fn status_field(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> Service {
        let args = vec!["-c".to_owned(), "echo up; exec cat /dev/zero > /dev/null".to_owned()];
        let launch = Launch { program: PathBuf::from("/bin/sh"), args };
        let folder = folder.canonicalize().unwrap();
        Service::new("sleeper", Kind::Redis, (1, Vec::new()), folder, launch)
    }

    #[tokio::test]
    async fn a_process_is_frozen_thawed_killed_and_told_dead() {
        let folder = tempfile::tempdir().unwrap();
        let service = sleeper(folder.path());
        assert!(!service.is_alive());
        service.spawn().unwrap();
        assert!(service.is_alive());
        assert!(service.rss_bytes() > 0);
        service.pause().unwrap();
        assert!(service.is_paused());
        service.resume().unwrap();
        assert!(!service.is_paused());
        service.pause().unwrap();
        service.kill().await.unwrap();
        assert!(!service.is_alive());
        service.kill().await.unwrap();
        service.spawn().unwrap();
        service.stop().await.unwrap();
        assert_eq!((service.pid(), service.rss_bytes()), (None, 0));
    }

    #[test]
    fn a_number_that_went_to_another_process_is_not_taken_for_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let service = sleeper(folder.path());
        fs::write(folder.path().join(PID_FILE), std::process::id().to_string()).unwrap();
        assert!(!service.is_alive());
    }
}
