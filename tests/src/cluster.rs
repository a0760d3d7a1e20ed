//! The distributed platform: several server processes on real stores, with databases, keys and a
//! topic of their own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use toml::{Table, Value};

use crate::{
    process::{ServerOptions, ServerProcess, server_binary},
    redis,
    services::{Addresses, FreshDatabases},
};

/// The files that a user starts from; only the addresses are put in.
const API: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/distributed/api.toml"));
const WORKER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/distributed/worker.toml"));

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The stores.
    pub addresses: Addresses,
    /// Shards of the ledger, dealt over the primaries in turn.
    pub shards: usize,
    /// Nodes that serve.
    pub apis: usize,
    /// Nodes that run the background loops. With none, the API nodes run them too.
    pub workers: usize,
    /// Ports of the API nodes from this one on; `None` = free ones.
    pub first_port: Option<u16>,
    /// Start of the test clock; needs one API node and no worker.
    pub test_clock: Option<String>,
    /// Further settings of every node, `section.key=value`.
    pub settings: Vec<String>,
    /// Where configuration files are kept; `None` = a temporary folder.
    pub folder: Option<PathBuf>,
}

impl ClusterOptions {
    /// Two shards, two API nodes and a worker.
    pub fn new(addresses: Addresses) -> Self {
        Self {
            addresses,
            shards: 2,
            apis: 2,
            workers: 1,
            first_port: None,
            test_clock: None,
            settings: Vec::new(),
            folder: None,
        }
    }

    /// One node that does everything, on a test clock.
    pub fn on_test_clock(addresses: Addresses, start: impl Into<String>) -> Self {
        Self {
            apis: 1,
            workers: 0,
            test_clock: Some(start.into()),
            // A year passes in minutes: longer hops, as the broker is asked for each of them.
            settings: vec!["alarms.hop_max_s=864000".to_owned()],
            ..Self::new(addresses)
        }
    }
}

/// A node: how it was started, and its process.
#[derive(Debug)]
pub struct Node {
    /// Its configuration.
    pub config: PathBuf,
    options: ServerOptions,
    /// `None` while it is down.
    pub process: Option<ServerProcess>,
}

impl Node {
    async fn start(options: ServerOptions, config: PathBuf) -> anyhow::Result<Self> {
        let process = ServerProcess::start(options.clone()).await?;
        Ok(Self { config, options, process: Some(process) })
    }

    /// Starts it again, on the address it had.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if let Some(mut old) = self.process.take() {
            self.options.listen = Some(old.addr().to_string());
            old.kill().await;
        }
        self.process = Some(ServerProcess::start(self.options.clone()).await?);
        Ok(())
    }

    /// What it is started with the next time.
    pub fn options_mut(&mut self) -> &mut ServerOptions {
        &mut self.options
    }

    /// `http://127.0.0.1:PORT`; empty while it is down.
    pub fn endpoint(&self) -> String {
        self.process.as_ref().map(ServerProcess::endpoint).unwrap_or_default()
    }
}

/// A running cluster. Its processes are killed when it is dropped; [`Cluster::stop`] drains them and
/// drops their data too.
#[derive(Debug)]
pub struct Cluster {
    /// Nodes that serve.
    pub apis: Vec<Node>,
    /// Nodes that work.
    pub workers: Vec<Node>,
    /// The databases.
    pub databases: FreshDatabases,
    redis_nodes: Vec<String>,
    /// How its keys and its topic begin.
    name: String,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl Cluster {
    /// Makes databases, writes configurations, migrates and starts every node.
    ///
    /// # Errors
    /// When a store or a node does not answer; the node's log is in the message.
    pub async fn start(options: &ClusterOptions) -> anyhow::Result<Self> {
        let mut cluster = Self::prepare(options).await?;
        cluster.migrate().await?;
        for index in 0..options.apis {
            let port = options.first_port.map(|first| first + u16::try_from(index).unwrap_or(0));
            let node = cluster.node(options, "api", index, port).await?;
            cluster.apis.push(node);
        }
        for index in 0..options.workers {
            let node = cluster.node(options, "worker", index, None).await?;
            cluster.workers.push(node);
        }
        Ok(cluster)
    }

    /// Makes empty databases and writes configurations; migrates and starts nothing.
    ///
    /// # Errors
    /// When a store does not answer, or a file cannot be written.
    pub async fn prepare(options: &ClusterOptions) -> anyhow::Result<Self> {
        let temporary = match options.folder {
            Some(_) => None,
            None => Some(tempfile::tempdir().context("cannot make a temporary folder")?),
        };
        let folder = match (&options.folder, &temporary) {
            (Some(folder), _) => folder.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => PathBuf::new(),
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let databases = FreshDatabases::create(&options.addresses, options.shards).await?;
        let cluster = Self {
            apis: Vec::new(),
            workers: Vec::new(),
            databases,
            redis_nodes: options.addresses.redis_nodes.clone(),
            name: unique_name(),
            folder,
            _temporary: temporary,
        };
        cluster.write_configurations(options, &cluster.name)?;
        Ok(cluster)
    }

    fn write_configurations(&self, options: &ClusterOptions, name: &str) -> anyhow::Result<()> {
        let role = if options.workers == 0 { "all" } else { "api" };
        for index in 0..options.apis {
            let text = self.configuration(API, options, name, role)?;
            self.write(&format!("api-{index}.toml"), &text)?;
        }
        for index in 0..options.workers {
            let text = self.configuration(WORKER, options, name, "worker")?;
            self.write(&format!("worker-{index}.toml"), &text)?;
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(file);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The example file with the addresses of this cluster.
    fn configuration(
        &self,
        example: &str,
        options: &ClusterOptions,
        name: &str,
        role: &str,
    ) -> anyhow::Result<String> {
        let mut table: Table = example.parse().context("the example configuration is broken")?;
        let list = |entries: &[String]| {
            Value::Array(entries.iter().map(|entry| Value::from(entry.as_str())).collect())
        };
        let Addresses { redis_nodes, pulsar_url, .. } = &options.addresses;
        let mut set = |section: &str, key: &str, value: Value| {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(key.to_owned(), value);
            }
        };
        set("server", "listen", "127.0.0.1:0".into());
        set("server", "drain_notice_ms", 0.into());
        set("backend", "role", role.into());
        set("mysql", "meta_url", self.databases.meta_url.as_str().into());
        set("mysql", "shard_urls", list(&self.databases.shard_urls));
        set("mysql", "replica_urls", list(&self.databases.replica_urls));
        set("redis", "nodes", list(redis_nodes));
        set("redis", "key_prefix", name.into());
        set("pulsar", "url", pulsar_url.as_str().into());
        let topic = format!("persistent://public/default/{name}");
        set("pulsar", "alarm_topic", topic.into());
        set("logging", "format", "text".into());
        Ok(toml::to_string(&table)?)
    }

    /// A configuration that names the databases, for `migrate`, `audit` and `check-config`.
    pub fn any_config(&self) -> PathBuf {
        self.folder.join("api-0.toml")
    }

    /// Brings the schemas up to date.
    async fn migrate(&self) -> anyhow::Result<()> {
        let (success, output) = self.command("migrate").await?;
        ensure!(success, "the databases cannot be migrated: {output}");
        Ok(())
    }

    /// Runs `coupon-server COMMAND` on the cluster's databases; answers whether it succeeded and what
    /// it said.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn command(&self, command: &str) -> anyhow::Result<(bool, String)> {
        run_command(command, &self.any_config()).await
    }

    async fn node(
        &self,
        options: &ClusterOptions,
        kind: &str,
        index: usize,
        port: Option<u16>,
    ) -> anyhow::Result<Node> {
        let config = self.folder.join(format!("{kind}-{index}.toml"));
        let mut server = ServerOptions::new(self.folder.join("unused"));
        server.config = Some(config.clone());
        server.listen = port.map(|port| format!("127.0.0.1:{port}"));
        server.test_clock.clone_from(&options.test_clock);
        for setting in &options.settings {
            server.args.extend(["--set".to_owned(), setting.clone()]);
        }
        Node::start(server, config).await.with_context(|| format!("{kind} node {index}"))
    }

    /// Addresses of the API nodes that are up.
    pub fn endpoints(&self) -> Vec<String> {
        let up = self.apis.iter().filter(|node| node.process.is_some());
        up.map(Node::endpoint).collect()
    }

    /// Every node, the API nodes first.
    pub fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.apis.iter_mut().chain(&mut self.workers)
    }

    /// Drains every node.
    ///
    /// # Errors
    /// When a node does not stop cleanly.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        for node in self.apis.iter_mut().chain(&mut self.workers) {
            if let Some(process) = node.process.take() {
                process.stop().await?;
            }
        }
        Ok(())
    }

    /// Drops the databases and deletes the keys.
    ///
    /// # Errors
    /// When a store does not answer.
    pub async fn drop_data(&self) -> anyhow::Result<()> {
        let dropped = self.databases.drop_all().await;
        redis::delete_keys(&self.redis_nodes, &self.name).await.and(dropped)
    }

    /// Drains every node and drops its data.
    ///
    /// # Errors
    /// When a node does not stop cleanly, or its data cannot be dropped.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.drain().await?;
        self.drop_data().await
    }
}

/// Runs `coupon-server COMMAND --config FILE`; answers whether it succeeded and what it said.
///
/// # Errors
/// When it cannot be run.
pub async fn run_command(command: &str, config: &Path) -> anyhow::Result<(bool, String)> {
    let output = Command::new(server_binary()?)
        .arg(command)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("cannot run `coupon-server {command}`"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).trim().to_owned()))
}

/// A name that no other cluster has used on these stores.
fn unique_name() -> String {
    format!("coupon-{:016x}", rand::random::<u64>())
}
