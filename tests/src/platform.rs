//! The platform as demo and replay see it: one endpoint on a test clock, embedded or distributed.

use std::process::Stdio;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    cluster::{Cluster, ClusterOptions},
    process::{ServerOptions, ServerProcess, server_binary},
    services::Addresses,
};

/// A platform of our own, gone when it is dropped.
#[derive(Debug)]
pub enum Platform {
    /// One process over a folder.
    Embedded(Box<ServerProcess>, TempDir),
    /// A node over MySQL, Redis and Pulsar.
    Distributed(Box<Cluster>),
}

/// What `coupon-server audit` said.
#[derive(Debug)]
pub struct Audit {
    /// Whether every invariant holds.
    pub success: bool,
    /// Its words.
    pub output: String,
}

impl Platform {
    /// Starts one on a test clock; `distributed` names the stores of the distributed back end.
    ///
    /// # Errors
    /// When a store or the server does not answer.
    pub async fn start(distributed: Option<&Addresses>, clock: &str) -> anyhow::Result<Self> {
        if let Some(addresses) = distributed {
            let options = ClusterOptions::on_test_clock(addresses.clone(), clock);
            return Ok(Self::Distributed(Box::new(Cluster::start(&options).await?)));
        }
        let folder = tempfile::tempdir().context("cannot make a temporary data directory")?;
        let options = ServerOptions {
            test_clock: Some(clock.to_owned()),
            ..ServerOptions::new(folder.path())
        };
        Ok(Self::Embedded(Box::new(ServerProcess::start(options).await?), folder))
    }

    fn process(&self) -> Option<&ServerProcess> {
        match self {
            Self::Embedded(process, _) => Some(process),
            Self::Distributed(cluster) => cluster.apis.first()?.process.as_ref(),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.process().map(ServerProcess::endpoint).unwrap_or_default()
    }

    /// The end of the server's log.
    pub fn log(&self) -> String {
        self.process().map(ServerProcess::log).unwrap_or_default()
    }

    /// Waits until the server ends by itself; answers how.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn wait(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        let process = match self {
            Self::Embedded(process, _) => Some(process.as_mut()),
            Self::Distributed(cluster) => {
                cluster.apis.first_mut().and_then(|node| node.process.as_mut())
            }
        };
        match process {
            Some(process) => process.wait().await,
            None => std::future::pending().await,
        }
    }

    /// Drains the server and audits what it left; answers how stopping went, and the audit.
    ///
    /// # Errors
    /// When the audit cannot be run.
    pub async fn finish(self) -> anyhow::Result<(anyhow::Result<()>, Audit)> {
        match self {
            Self::Embedded(process, folder) => {
                let stopped = process.stop().await;
                let mut command = Command::new(server_binary()?);
                command.arg("audit").arg("--data-dir").arg(folder.path());
                let output = command.stdin(Stdio::null()).output().await;
                let output = output.context("cannot run `coupon-server audit`")?;
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text).trim().to_owned();
                Ok((stopped, Audit { success: output.status.success(), output: text }))
            }
            Self::Distributed(mut cluster) => {
                let stopped = cluster.drain().await;
                let (success, output) = cluster.command("audit").await?;
                cluster.drop_data().await?;
                Ok((stopped, Audit { success, output }))
            }
        }
    }
}
