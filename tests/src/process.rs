//! The server as a process of its own: started, found, stopped and killed from outside.

use std::{
    collections::VecDeque,
    env,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Last lines of stderr that an error message quotes.
const KEPT_LINES: usize = 60;
const LISTENING: &str = "listening on ";

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it keeps its data; made when it is not there.
    pub data_dir: PathBuf,
    /// Address to listen on; `None` = a free port of the loopback interface.
    pub listen: Option<String>,
    /// Configuration file; `None` = the embedded default.
    pub config: Option<PathBuf>,
    /// Start of the test clock in RFC 3339; `None` = wall time.
    pub test_clock: Option<String>,
    /// Further arguments of `serve`.
    pub args: Vec<String>,
    /// The program; `None` = [`server_binary`].
    pub program: Option<PathBuf>,
    /// Added to its environment.
    pub envs: Vec<(String, String)>,
}

impl ServerOptions {
    /// Wall time and a free port over `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: None,
            config: None,
            test_clock: None,
            args: Vec::new(),
            program: None,
            envs: Vec::new(),
        }
    }

    fn command(&self) -> anyhow::Result<Command> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => server_binary()?,
        };
        let mut command = Command::new(program);
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command.arg("serve").arg("--data-dir").arg(&self.data_dir);
        command.args(["--listen", self.listen.as_deref().unwrap_or("127.0.0.1:0")]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if let Some(start) = &self.test_clock {
            command.args(["--test-clock", start]);
        }
        command.args(&self.args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        Ok(command)
    }
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    pid: u32,
    addr: SocketAddr,
    stderr: Tail,
}

impl ServerProcess {
    /// Starts the server and waits until it serves. Fails with the end of its log when it exits
    /// before, or does not serve within a minute.
    pub async fn start(options: ServerOptions) -> anyhow::Result<Self> {
        let mut child = options.command()?.spawn().context("cannot start coupon-server")?;
        let pid = child.id().context("coupon-server ended at once")?;
        let stdout = child.stdout.take().context("stdout of coupon-server is not piped")?;
        let stderr = child.stderr.take().context("stderr of coupon-server is not piped")?;
        let mut stderr = Tail::follow(stderr);
        match timeout(START_TIMEOUT, listening(stdout)).await {
            Ok(Ok(addr)) => Ok(Self { child, pid, addr, stderr }),
            Ok(Err(error)) => {
                // It may have closed stdout without ending; an error must not leave it running.
                let _ = child.start_kill();
                let status = child.wait().await?;
                let log = stderr.finish().await;
                bail!("coupon-server did not start ({error:#}, {status}); its log ends:\n{log}")
            }
            Err(_) => bail!(
                "coupon-server does not serve after {START_TIMEOUT:?}; its log ends:\n{}",
                stderr.text()
            ),
        }
    }

    /// URI for a client, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The last lines that it has logged.
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// Asks it to drain (SIGTERM) and waits for the end. Fails when it exits with an error, or has
    /// to be killed after ten seconds.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.terminate().await?;
        let Ok(status) = timeout(STOP_TIMEOUT, self.child.wait()).await else {
            self.kill().await;
            bail!(
                "coupon-server did not stop within {STOP_TIMEOUT:?} and was killed; its log ends:\n{}",
                self.stderr.finish().await
            );
        };
        let status = status.context("cannot wait for coupon-server")?;
        ensure!(
            status.success(),
            "coupon-server stopped with {status}; its log ends:\n{}",
            self.stderr.finish().await
        );
        Ok(())
    }

    /// Kills it (SIGKILL) and waits until it is gone, as a crash would leave it. Harmless when it
    /// has already ended.
    pub async fn kill(&mut self) {
        // Fails only when the process has already been waited for.
        let _ = self.child.kill().await;
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.wait().await.context("cannot wait for coupon-server")
    }

    /// Sends SIGTERM and returns at once.
    pub async fn terminate(&mut self) -> anyhow::Result<()> {
        // The id is still ours: a child keeps it until it has been waited for.
        if self.child.id().is_none() {
            return Ok(());
        }
        // `kill` is a builtin of every shell but a program of its own only on some systems.
        let status = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\""])
            .arg(self.pid.to_string())
            .status()
            .await
            .context("cannot run `sh` to send SIGTERM")?;
        ensure!(status.success(), "cannot send SIGTERM to process {}", self.pid);
        Ok(())
    }
}

/// Reads stdout up to the line that says where the server listens, then keeps reading in the
/// background, so that the server never blocks on a full pipe or fails on a closed one.
async fn listening(stdout: ChildStdout) -> anyhow::Result<SocketAddr> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(addr) = line.strip_prefix(LISTENING) {
            let addr = addr.trim().parse().with_context(|| format!("bad address in {line:?}"))?;
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(addr);
        }
    }
    bail!("it ended before it said `{LISTENING}ADDRESS`")
}

/// Last lines of a stream, collected in the background.
#[derive(Debug)]
struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Tail {
    fn follow(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT_LINES)));
        let sink = Arc::clone(&lines);
        let reader = tokio::spawn(async move {
            let mut stream = BufReader::new(stream).lines();
            while let Ok(Some(line)) = stream.next_line().await {
                let mut lines = sink.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == KEPT_LINES {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
        Self { lines, reader }
    }

    /// What there is so far.
    fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// What there is once the process has closed the stream. Bounded, because a grandchild may hold
    /// the stream open.
    async fn finish(&mut self) -> String {
        let _ = timeout(Duration::from_secs(1), &mut self.reader).await;
        self.text()
    }
}

/// Path of the server: `COUPON_SERVER_BIN`, else `coupon-server` beside the running program or one
/// folder up. Fails when there is none, with what to do.
pub fn server_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("COUPON_SERVER_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "COUPON_SERVER_BIN names {}, which is no file", path.display());
        return Ok(path);
    }
    sibling_binary("coupon-server").context("run `cargo build -p coupon-server` first")
}

/// Path of another program of this workspace: `name` beside the running program or one folder up
/// (tests run from `target/PROFILE/deps`).
pub fn sibling_binary(name: &str) -> anyhow::Result<PathBuf> {
    let current = env::current_exe().context("cannot tell the path of the running program")?;
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let folders = current.ancestors().skip(1).take(2);
    for folder in folders {
        let path = folder.join(&file);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("there is no {file} beside {} or one folder up", current.display())
}
