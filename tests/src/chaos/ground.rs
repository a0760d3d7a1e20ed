//! What is shaken: the platform, embedded or distributed, with every part within reach.

mod field;
mod topic;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

pub use self::field::{Field, FieldOptions};
use crate::process::{ServerOptions, ServerProcess, server_binary};

/// How often a condition is looked at that nobody announces.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// The platform under test.
#[derive(Debug)]
pub struct Ground {
    endpoints: Vec<String>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Embedded(Box<Embedded>),
    Distributed(Box<Field>),
}

#[derive(Debug)]
struct Embedded {
    process: ServerProcess,
    options: ServerOptions,
    folder: TempDir,
}

/// What a node is started with instead of the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The program; `None` = the server.
    pub program: Option<PathBuf>,
    /// Added to its environment.
    pub envs: Vec<(String, String)>,
}

impl Start {
    fn apply(&self, options: &mut ServerOptions) {
        options.program.clone_from(&self.program);
        options.envs.clone_from(&self.envs);
    }
}

impl Ground {
    /// One embedded server over a folder of its own.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn embedded(start: &Start) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary data directory")?;
        let mut options = ServerOptions::new(folder.path());
        start.apply(&mut options);
        let process = ServerProcess::start(options.clone()).await?;
        options.listen = Some(process.addr().to_string());
        let endpoints = vec![process.endpoint()];
        let embedded = Embedded { process, options, folder };
        Ok(Self { endpoints, kind: Kind::Embedded(Box::new(embedded)) })
    }

    /// Two API nodes and a worker over stores of their own, which nobody else uses.
    ///
    /// # Errors
    /// When a store or a node does not come up.
    pub async fn distributed(options: &FieldOptions) -> anyhow::Result<Self> {
        let field = Box::pin(Field::start(options)).await?;
        let endpoints = field.cluster.endpoints();
        Ok(Self { endpoints, kind: Kind::Distributed(Box::new(field)) })
    }

    /// Addresses of the nodes that serve, whether they are up or not.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The stores; `None` when embedded.
    pub fn field(&self) -> Option<&Field> {
        match &self.kind {
            Kind::Embedded(_) => None,
            Kind::Distributed(field) => Some(field),
        }
    }

    /// Shards of the ledger.
    pub fn shards(&self) -> usize {
        self.field().map_or(1, |field| field.shard_urls.len())
    }

    fn process(&mut self, node: usize) -> anyhow::Result<&mut ServerProcess> {
        let process = match &mut self.kind {
            Kind::Embedded(embedded) => Some(&mut embedded.process),
            Kind::Distributed(field) => {
                field.cluster.apis.get_mut(node).and_then(|node| node.process.as_mut())
            }
        };
        process.with_context(|| format!("there is no node {node}"))
    }

    /// Kills a node (SIGKILL).
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.process(node)?.kill().await;
        Ok(())
    }

    /// Waits until a node has ended by itself; false when it has not in this time.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ends_within(&mut self, node: usize, limit: Duration) -> anyhow::Result<bool> {
        match timeout(limit, self.process(node)?.wait()).await {
            Ok(ended) => ended.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    /// Starts a node again with its address and data, killing it when it is up.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn restart(&mut self, node: usize, start: &Start) -> anyhow::Result<()> {
        match &mut self.kind {
            Kind::Embedded(embedded) => {
                embedded.process.kill().await;
                start.apply(&mut embedded.options);
                embedded.process = ServerProcess::start(embedded.options.clone()).await?;
            }
            Kind::Distributed(field) => {
                let node = field.cluster.apis.get_mut(node).context("there is no such node")?;
                start.apply(node.options_mut());
                node.restart().await?;
            }
        }
        Ok(())
    }

    /// Freezes a node (SIGSTOP): its connections stay open.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn freeze(&mut self, node: usize) -> anyhow::Result<()> {
        signal(self.process(node)?.pid(), "STOP").await
    }

    /// Thaws a node (SIGCONT).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn thaw(&mut self, node: usize) -> anyhow::Result<()> {
        signal(self.process(node)?.pid(), "CONT").await
    }

    /// Nodes that have ended and were not started again.
    ///
    /// # Errors
    /// When one cannot be waited for.
    pub async fn ended(&mut self) -> anyhow::Result<Vec<String>> {
        let processes: Vec<(String, &mut ServerProcess)> = match &mut self.kind {
            Kind::Embedded(embedded) => vec![("the server".to_owned(), &mut embedded.process)],
            Kind::Distributed(field) => field.processes(),
        };
        let mut ended = Vec::new();
        for (name, process) in processes {
            if timeout(Duration::ZERO, process.wait()).await.is_ok() {
                ended.push(name);
            }
        }
        Ok(ended)
    }

    /// The ends of the nodes' logs.
    pub fn logs(&self) -> String {
        match &self.kind {
            Kind::Embedded(embedded) => embedded.process.log(),
            Kind::Distributed(field) => field.logs(),
        }
    }

    /// Drains the nodes, audits what is stored, and removes it. Answers whether the audit is clean,
    /// and its words.
    ///
    /// # Errors
    /// When a node does not stop cleanly, or the audit cannot be run.
    pub async fn finish(self) -> anyhow::Result<(bool, String)> {
        match self.kind {
            Kind::Embedded(embedded) => {
                let Embedded { process, folder, .. } = *embedded;
                process.stop().await?;
                audit(folder.path()).await
            }
            Kind::Distributed(field) => Box::pin(field.finish()).await,
        }
    }
}

async fn audit(folder: &Path) -> anyhow::Result<(bool, String)> {
    let mut command = Command::new(server_binary()?);
    command.arg("audit").arg("--data-dir").arg(folder).stdin(Stdio::null());
    let output = command.output().await.context("cannot run `coupon-server audit`")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).trim().to_owned()))
}

async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    // `kill` is a builtin of every shell but a program of its own only on some systems.
    let status = Command::new("sh")
        .args(["-c", "kill -\"$0\" \"$1\"", name, &pid.to_string()])
        .status()
        .await
        .context("cannot run `sh` to send a signal")?;
    ensure!(status.success(), "cannot send SIG{name} to process {pid}");
    Ok(())
}

/// Waits for a condition.
///
/// # Errors
/// When it does not hold in time; says what was waited for, and the last trouble.
pub(super) async fn wait_until<F: Future<Output = anyhow::Result<bool>>>(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    loop {
        let trouble = match holds().await {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= end {
            let trouble = trouble.map_or_else(String::new, |error| format!(": {error:#}"));
            anyhow::bail!("{what}: not within {limit:?}{trouble}");
        }
        sleep(POLL).await;
    }
}
