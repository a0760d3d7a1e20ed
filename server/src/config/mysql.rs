//! `[mysql]`: the meta database and the shards of the distributed ledger (MySQL or MariaDB).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BackendKind, Checks};

/// `[mysql]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MysqlConfig {
    /// Meta database, `mysql://user:password@host:port/database`; `?socket=/path` uses a unix socket.
    /// Default empty.
    pub meta_url: String,
    /// Primaries of the shards, in the order of their numbers. Default none.
    pub shard_urls: Vec<String>,
    /// Read replicas by shard, in the same order; an empty text or a missing entry = none. Default
    /// none.
    pub replica_urls: Vec<String>,
    /// Groups of claims in flight per shard, those of one bucket never overlapping, and as many of
    /// commands on redemptions. Each has two connections of its own. Default 2.
    pub claim_lanes: usize,
    /// Connections to each primary beside those of the lanes. Default 8.
    pub connections: u32,
    /// How long opening a connection may take, in milliseconds. Default 2000.
    pub connect_timeout_ms: u64,
    /// How long a call waits for a free connection, in milliseconds. Default 2000.
    pub acquire_timeout_ms: u64,
    /// How long a statement may wait for a row lock, in seconds (`innodb_lock_wait_timeout`). Default 1.
    pub lock_wait_s: u32,
    /// How long a write transaction may stand still before the server ends it, in seconds, so that a
    /// frozen node holds no row. MySQL 8 ends any connection that lies idle for so long. Default 2.
    pub idle_transaction_s: u32,
    /// How long one statement may take before its connection is given up, in milliseconds. Default
    /// 5000.
    pub statement_timeout_ms: u64,
    /// Prepared statements kept per connection: more than there are. Default 1024.
    pub statement_cache: usize,
    /// Serve although the servers' settings can lose acknowledged commits
    /// (`innodb_flush_log_at_trx_commit`, `sync_binlog`, `sql_mode`). Default false.
    pub accept_loss: bool,
    /// Replicas further behind than this are not read without a read token, in milliseconds. Default
    /// 1000.
    pub replica_lag_max_ms: u64,
}

impl Default for MysqlConfig {
    fn default() -> Self {
        Self {
            meta_url: String::new(),
            shard_urls: Vec::new(),
            replica_urls: Vec::new(),
            claim_lanes: 2,
            connections: 8,
            connect_timeout_ms: 2_000,
            acquire_timeout_ms: 2_000,
            lock_wait_s: 1,
            idle_transaction_s: 2,
            statement_timeout_ms: 5_000,
            statement_cache: 1_024,
            accept_loss: false,
            replica_lag_max_ms: 1_000,
        }
    }
}

impl MysqlConfig {
    /// How long opening a connection may take.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// How long a call waits for a free connection.
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    /// How long one statement may take.
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    pub(super) fn check(&self, kind: BackendKind, checks: &mut Checks) {
        if kind == BackendKind::Distributed {
            if self.meta_url.is_empty() {
                checks.refuse("mysql.meta_url is empty, name the meta database".to_owned());
            }
            if self.shard_urls.is_empty() {
                checks.refuse("mysql.shard_urls is empty, name at least one primary".to_owned());
            }
            if self.replica_urls.len() > self.shard_urls.len() {
                checks.refuse(
                    "mysql.replica_urls has more entries than mysql.shard_urls, it names one replica per shard"
                        .to_owned(),
                );
            }
        }
        let urls = self.shard_urls.iter().chain([&self.meta_url]).chain(&self.replica_urls);
        for url in urls.filter(|url| !url.is_empty()) {
            if !url.starts_with("mysql://") {
                let shown = super::redact::url(url);
                checks.refuse(format!(
                    "the address {shown} in [mysql] is not of the form mysql://user:password@host:port/database"
                ));
            }
        }
        checks.within("mysql.claim_lanes", self.claim_lanes, 1, 64);
        checks.within("mysql.connections", self.connections, 2, 1_024);
        checks.within("mysql.connect_timeout_ms", self.connect_timeout_ms, 10, 60_000);
        checks.within("mysql.acquire_timeout_ms", self.acquire_timeout_ms, 10, 60_000);
        checks.within("mysql.lock_wait_s", self.lock_wait_s, 1, 60);
        checks.within("mysql.idle_transaction_s", self.idle_transaction_s, 1, 60);
        checks.within("mysql.statement_timeout_ms", self.statement_timeout_ms, 100, 600_000);
        checks.within("mysql.statement_cache", self.statement_cache, 512, 8_192);
        checks.within("mysql.replica_lag_max_ms", self.replica_lag_max_ms, 0, 600_000);
    }
}
