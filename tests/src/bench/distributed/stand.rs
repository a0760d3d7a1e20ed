//! A cluster under load, with the processes of its stores and a look into its databases.

use anyhow::Context as _;

use super::super::{
    Violation,
    load::{Budget, Load, Operation, closed},
    mysql::{Primary, rows::Rows},
    open::{Schedule, open},
    server::{Node, check_load},
    stores::{Stores, Usage},
    workload::{claim, template},
};
use crate::{
    cluster::{Cluster, ClusterOptions},
    services::Addresses,
};
use std::sync::{Arc, atomic::AtomicU64};

/// A user whom no measured operation names.
const OUTSIDER: u64 = 1 << 39;
/// Beyond so many stored coupons the full audit takes longer than the measurement; the counts are
/// checked all the same.
const AUDITED_ROWS_MAX: u64 = 2_000_000;

/// One API node that does everything, on its own databases.
pub(super) struct Stand {
    cluster: Cluster,
    /// The ways to the node.
    pub(super) node: Node,
    /// The processes of the stores.
    pub(super) stores: Stores,
    /// The shards.
    pub(super) shards: Vec<Primary>,
    server_pid: u32,
    stored: u64,
}

impl Stand {
    /// Starts it with so many shards.
    pub(super) async fn start(
        addresses: &Addresses,
        shards: usize,
        settings: &[&str],
    ) -> anyhow::Result<Self> {
        let options = ClusterOptions {
            shards,
            apis: 1,
            workers: 0,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            ..ClusterOptions::new(addresses.clone())
        };
        let cluster = Cluster::start(&options).await?;
        match Self::attach(addresses, &cluster).await {
            Ok((node, stores, shards, server_pid)) => {
                Ok(Self { cluster, node, stores, shards, server_pid, stored: 0 })
            }
            Err(error) => {
                discard(cluster).await;
                Err(error)
            }
        }
    }

    async fn attach(
        addresses: &Addresses,
        cluster: &Cluster,
    ) -> anyhow::Result<(Node, Stores, Vec<Primary>, u32)> {
        let process = cluster.apis.first().and_then(|node| node.process.as_ref());
        let process = process.context("the cluster has no node")?;
        let node = Node::connect(process).await?;
        let stores = Stores::find(addresses, &cluster.databases.shard_urls).await?;
        let mut shards = Vec::new();
        for url in &cluster.databases.shard_urls {
            let mut primary = Primary::open(url).await?;
            primary.limit_buffer_pool().await?;
            shards.push(primary);
        }
        Ok((node, stores, shards, process.pid()))
    }

    /// Stores so many coupons of a template that no measurement touches; the ledger has one shard.
    pub(super) async fn store(&mut self, rows: u64, say: fn(&str)) -> anyhow::Result<()> {
        let stored = self.node.publish(template("stored", super::PLENTY)).await?;
        // Brings the alarm, and is what the others look like.
        self.node.client.claim(claim(OUTSIDER, stored)).await?;
        let primary = self.shards.first().context("the ledger has no shard")?;
        let written = Rows::of(primary, stored).await?.fill(rows, say).await?;
        say(&format!(
            "stored {} coupons in {:.1} s, {:.0} per second",
            written.rows,
            written.elapsed.as_secs_f64(),
            written.rate()
        ));
        self.stored += written.rows;
        Ok(())
    }

    /// What the node and the stores have used so far.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        self.stores.usage(&[self.server_pid])
    }

    /// A closed loop, checked, and what it cost.
    pub(super) async fn closed<O: Operation>(
        &self,
        operation: &O,
        budget: &Budget,
    ) -> anyhow::Result<(Load, Usage)> {
        let before = self.usage()?;
        let load = closed(&self.node.target, operation, budget).await?;
        check_load(&load)?;
        Ok((load, self.usage()?.since(before)))
    }

    /// An open loop, checked.
    pub(super) async fn open<O: Operation>(
        &self,
        operation: &O,
        next: &Arc<AtomicU64>,
        schedule: Schedule,
    ) -> anyhow::Result<Load> {
        let load = open(&self.node.target, operation, next, schedule).await?;
        check_load(&load)?;
        Ok(load)
    }

    /// Asks one number of every shard and adds them up.
    pub(super) async fn sum(&self, sql: &'static str, template_id: i64) -> anyhow::Result<i64> {
        let mut sum = 0;
        for shard in &self.shards {
            let query = sqlx::query_scalar::<_, i64>(sql).bind(template_id);
            sum += query.fetch_one(&shard.pool).await?;
        }
        Ok(sum)
    }

    /// The node's configuration.
    pub(super) fn configuration(&self) -> anyhow::Result<toml::Table> {
        let path = self.cluster.any_config();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.parse()?)
    }

    /// Ends it. After a success what is stored is audited first; after a failure that failure is what
    /// is told.
    pub(super) async fn conclude<T>(self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        let Self { mut cluster, node, shards, stored, .. } = self;
        // Connections that stay open would hold up the drain.
        drop((node, shards));
        let value = match outcome {
            Ok(value) => value,
            Err(error) => {
                discard(cluster).await;
                return Err(error);
            }
        };
        let ended = async {
            cluster.drain().await?;
            if stored > AUDITED_ROWS_MAX {
                return Ok(());
            }
            let (sound, said) = cluster.command("audit").await?;
            anyhow::ensure!(sound, Violation(format!("audit of the ledger: {said}")));
            anyhow::Ok(())
        };
        let ended = ended.await;
        let dropped = cluster.drop_data().await;
        ended.and(dropped).map(|()| value)
    }
}

/// Ends a cluster of which nothing is expected any more.
async fn discard(mut cluster: Cluster) {
    // Whatever goes wrong here hides what has gone wrong before.
    let _ = cluster.drain().await;
    let _ = cluster.drop_data().await;
}
