//! `[redis]`: the Redis Cluster in which the distributed gate lives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BackendKind, Checks};

/// `[redis]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Seed nodes of the cluster, `host:port`; three or more, so that losing one does not blind a
    /// starting node. Default none.
    pub nodes: Vec<String>,
    /// User name, where the cluster has access lists. Default empty.
    pub username: String,
    /// Password; empty = none. Default empty.
    pub password: String,
    /// Whether connections are encrypted. Default false.
    pub tls: bool,
    /// How the keys of the gate begin: clusters may be shared. Default "coupon".
    pub key_prefix: String,
    /// Connections per node of the cluster. Default 2.
    pub connections: usize,
    /// How long one call may take before the claims in it go to the ledger, in milliseconds. Default
    /// 250.
    pub command_timeout_ms: u64,
    /// How long opening a connection may take, in milliseconds. Default 500.
    pub connect_timeout_ms: u64,
    /// Commands that may wait in one client, and claims or outcomes at one bucket. Default 10000.
    pub queue_max: usize,
    /// Claims of one script call. Default 256.
    pub batch_max: usize,
    /// Script calls under way at one primary: what waits meanwhile travels together. Default 1.
    pub calls_max: usize,
    /// Failures in a row after which a primary is left alone for a while. Default 2.
    pub breaker_failures: u32,
    /// How long a failing primary is left alone before it is tried again, in milliseconds. Default
    /// 1000.
    pub breaker_open_ms: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            username: String::new(),
            password: String::new(),
            tls: false,
            key_prefix: "coupon".to_owned(),
            connections: 2,
            command_timeout_ms: 250,
            connect_timeout_ms: 500,
            queue_max: 10_000,
            batch_max: 256,
            calls_max: 1,
            breaker_failures: 2,
            breaker_open_ms: 1_000,
        }
    }
}

impl RedisConfig {
    /// How long one call may take.
    pub fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms)
    }

    /// How long opening a connection may take.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// How long a failing primary is left alone.
    pub fn breaker_open(&self) -> Duration {
        Duration::from_millis(self.breaker_open_ms)
    }

    pub(super) fn check(&self, kind: BackendKind, checks: &mut Checks) {
        if kind == BackendKind::Distributed && self.nodes.is_empty() {
            checks.refuse("redis.nodes is empty, name three nodes of the cluster".to_owned());
        }
        for node in &self.nodes {
            let port = node.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                checks.refuse(format!("redis.nodes: {node} is not of the form host:port"));
            }
        }
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '{' | '}');
        if self.key_prefix.is_empty() || !self.key_prefix.chars().all(plain) {
            checks.refuse(
                "redis.key_prefix is empty or has spaces or braces, use letters, digits and dashes"
                    .to_owned(),
            );
        }
        checks.within("redis.connections", self.connections, 1, 64);
        checks.within("redis.command_timeout_ms", self.command_timeout_ms, 10, 60_000);
        checks.within("redis.connect_timeout_ms", self.connect_timeout_ms, 10, 60_000);
        checks.within("redis.queue_max", self.queue_max, 100, 1_000_000);
        checks.within("redis.batch_max", self.batch_max, 1, 1_000);
        checks.within("redis.calls_max", self.calls_max, 1, 1_000);
        checks.within("redis.breaker_failures", self.breaker_failures, 1, 1_000);
        checks.within("redis.breaker_open_ms", self.breaker_open_ms, 10, 600_000);
    }
}
