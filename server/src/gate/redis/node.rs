//! One node of the cluster: fred clients that talk to it alone, and its breaker.
//!
//! fred's own cluster client has one task for all nodes, and while that task reconnects to one of them,
//! which takes as long as a failover does, no command for any other node is written. A client per node
//! keeps them apart; where slots live and redirections are [`super::cluster`]'s work.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    prelude::{Error, ReconnectPolicy, Server, ServerConfig, TcpConfig, Value},
    types::{
        Builder, ClusterHash, CustomCommand,
        config::{Config, TlsConnector, UnresponsiveConfig},
    },
    util::sha1_hash,
};
use tokio::sync::Semaphore;

use super::breaker::Breaker;
use crate::config::RedisConfig;

/// Between two tries to connect, at least and at most, in milliseconds.
const RECONNECT_MS: (u32, u32) = (50, 1_000);
/// A command is never sent a second time by the client itself: who sent it knows better.
const ATTEMPTS: u32 = 1;
/// How long a goodbye may take.
const QUIT: Duration = Duration::from_secs(1);

/// A script with its name in the nodes' caches.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    sha: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, sha: sha1_hash(text) }
    }
}

/// What is asked of a node.
#[derive(Debug, Clone)]
pub(super) struct Command<'a> {
    name: &'static str,
    args: Vec<Value>,
    script: Option<&'a Script>,
}

impl<'a> Command<'a> {
    /// Runs a script on keys of one slot.
    pub(super) fn script(script: &'a Script, keys: &[Bytes], args: Vec<Value>) -> Self {
        let mut all = Vec::with_capacity(2 + keys.len() + args.len());
        all.push(script.sha.as_str().into());
        all.push(i64::try_from(keys.len()).unwrap_or(0).into());
        all.extend(keys.iter().cloned().map(Value::Bytes));
        all.extend(args);
        Self { name: "EVALSHA", args: all, script: Some(script) }
    }

    /// SET with a life in milliseconds.
    pub(super) fn set(key: &Bytes, value: Bytes, life_ms: i64) -> Self {
        let key = Value::Bytes(key.clone());
        let args = vec![key, Value::Bytes(value), "PX".into(), life_ms.into()];
        Self { name: "SET", args, script: None }
    }

    /// EXISTS.
    pub(super) fn exists(key: &Bytes) -> Self {
        Self { name: "EXISTS", args: vec![Value::Bytes(key.clone())], script: None }
    }

    /// The same with the text in place of its name: it runs, and fills this node's cache; the others'
    /// are left alone.
    fn spelt_out(mut self, script: &Script) -> Self {
        self.name = "EVAL";
        if let Some(sha) = self.args.first_mut() {
            *sha = script.text.into();
        }
        self
    }
}

/// A node.
pub(super) struct Node {
    /// `host:port`.
    pub(super) address: String,
    pub(super) breaker: Breaker,
    /// One for each script call that may be under way.
    pub(super) turns: Arc<Semaphore>,
    clients: Vec<Client>,
}

impl Node {
    /// Connects in the background, for as long as it takes.
    ///
    /// # Errors
    /// A configuration that the client refuses.
    pub(super) fn start(address: &str, config: &RedisConfig) -> anyhow::Result<Self> {
        let clients: Result<Vec<Client>, Error> =
            (0..config.connections.max(1)).map(|_| client(address, config)).collect();
        let clients = clients.map_err(|error| {
            anyhow::anyhow!("redis at {address} cannot be used: {error}; see [redis]")
        })?;
        for client in &clients {
            // Its task ends with `quit`.
            drop(client.connect());
        }
        let breaker = Breaker::new(config.breaker_failures, config.breaker_open());
        let turns = Arc::new(Semaphore::new(config.calls_max));
        Ok(Self { address: address.to_owned(), breaker, turns, clients })
    }

    /// Carries a command out on the connection of `lane`: those of one lane keep their order.
    pub(super) async fn call(
        &self,
        lane: u16,
        command: Command<'_>,
        asking: bool,
    ) -> Result<Value, Error> {
        let client = &self.clients[usize::from(lane) % self.clients.len()];
        let script = command.script;
        let spare = script.map(|_| command.clone());
        match (send(client, command, asking).await, script, spare) {
            (Err(error), Some(script), Some(spare)) if error.details().starts_with("NOSCRIPT") => {
                send(client, spare.spelt_out(script), asking).await
            }
            (other, ..) => other,
        }
    }

    /// What the node says of the cluster's slots.
    pub(super) async fn slots(&self) -> Result<Value, Error> {
        let command = CustomCommand::new_static("CLUSTER", ClusterHash::Random, false);
        self.clients[0].custom(command, vec!["SLOTS"]).await
    }

    /// Whether it answers.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        self.clients[0].ping::<Value>(None).await.map(drop)
    }

    /// Closes the connections.
    pub(super) async fn quit(&self) {
        for client in &self.clients {
            // One that never connected has nobody to say goodbye to.
            let _ = tokio::time::timeout(QUIT, client.quit()).await;
        }
    }
}

async fn send(client: &Client, command: Command<'_>, asking: bool) -> Result<Value, Error> {
    let named = CustomCommand::new_static(command.name, ClusterHash::Random, false);
    if !asking {
        return client.custom(named, command.args).await;
    }
    // To the node that a slot is moving to, in one piece with the word that it must have.
    let pipeline = client.pipeline();
    let asking = CustomCommand::new_static("ASKING", ClusterHash::Random, false);
    pipeline.custom::<(), Value>(asking, Vec::new()).await?;
    pipeline.custom::<(), Value>(named, command.args).await?;
    pipeline.last().await
}

/// Every option that matters is named: the defaults lose connections for good, wait for ever and queue
/// without bound.
fn client(address: &str, config: &RedisConfig) -> Result<Client, Error> {
    let server = match address.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => Server::new(host.trim_matches(['[', ']']), port),
        _ => Server::new(address, 6_379),
    };
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let tls = config.tls.then(TlsConnector::default_rustls).transpose()?.map(Into::into);
    let settings = Config {
        server: ServerConfig::Centralized { server },
        username: some(&config.username),
        password: some(&config.password),
        // A node that is down at the start is waited for.
        fail_fast: false,
        tls,
        ..Config::default()
    };
    let timeout = config.command_timeout();
    let (least, most) = RECONNECT_MS;
    Builder::from_config(settings)
        .set_policy(ReconnectPolicy::new_exponential(0, least, most, 2))
        .with_performance_config(|performance| performance.default_command_timeout = timeout)
        .with_connection_config(|connection| {
            connection.connection_timeout = config.connect_timeout();
            connection.internal_command_timeout = config.connect_timeout().max(timeout);
            connection.max_command_attempts = ATTEMPTS;
            connection.max_redirections = 0;
            connection.max_command_buffer_len = config.queue_max;
            connection.reconnect_on_auth_error = true;
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(timeout * 3),
                interval: (timeout / 2).max(Duration::from_millis(5)),
            };
        })
        .build()
}
