//! The distributed platform on stores that nobody else uses, every link to a database through a proxy.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rand::Rng as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection, Row as _,
    mysql::MySqlConnectOptions,
};
use tokio::time::Instant;

use super::{topic::Topic, wait_until};
use crate::{
    chaos::proxy::{Mode, Proxy},
    cluster::{Cluster, ClusterOptions},
    process::ServerProcess,
    redis::{self, Connection},
    services::{Addresses, Options, Services},
};

/// How long the Redis Cluster may take to be whole again.
const REDIS_WHOLE: Duration = Duration::from_secs(60);
/// How long it may take until a template's gate is loaded.
const KEYS: Duration = Duration::from_secs(30);
/// An alarm is due at the end of its minute, then come the sweeper's grace and its interval.
const SWEPT: Duration = Duration::from_secs(120);
/// `redemption.state` of a lock that holds.
const LOCKED: i64 = 0;

/// How the platform is started.
#[derive(Clone, Debug, Default)]
pub struct FieldOptions {
    /// Further settings of every node, `section.key=value`.
    pub settings: Vec<String>,
    /// Of the services.
    pub services: Options,
}

/// The platform and its stores.
#[derive(Debug)]
pub struct Field {
    // Dropped in this order: nodes, links, stores.
    pub(in crate::chaos) cluster: Cluster,
    /// Of the link to each primary.
    proxies: Vec<Proxy>,
    pub(in crate::chaos) services: Services,
    /// Addresses of the shards, past the proxies.
    pub(in crate::chaos) shard_urls: Vec<String>,
    key_prefix: String,
    topic: Topic,
}

impl Field {
    pub(super) async fn start(options: &FieldOptions) -> anyhow::Result<Self> {
        let services = Services::start(options.services.clone()).await?;
        let mut addresses = services.addresses().clone();
        let mut proxies = Vec::new();
        for url in &mut addresses.mysql_shards {
            let (account, server) = split(url)?;
            let proxy = Proxy::start(server).await?;
            // Without a socket, which would lead around the proxy.
            *url = format!("{account}@{}", proxy.addr());
            proxies.push(proxy);
        }
        // The checker reads what was just written, with clients that carry no read token.
        addresses.mysql_replicas = vec![String::new(); addresses.mysql_shards.len()];
        let settings = ["alarms.sweeper_interval_s=2", "alarms.sweeper_grace_s=10"];
        let settings = settings.map(str::to_owned);
        let cluster_options = ClusterOptions {
            settings: settings.into_iter().chain(options.settings.clone()).collect(),
            ..ClusterOptions::new(addresses.clone())
        };
        let cluster = Cluster::start(&cluster_options).await?;
        let shard_urls = direct(&cluster.databases.shard_urls, &proxies, services.addresses())?;
        let config = std::fs::read_to_string(cluster.any_config())?;
        let config: toml::Table = config.parse().context("a node's configuration is broken")?;
        let text = |section: &str, key: &str| {
            let value = config.get(section).and_then(|section| section.get(key));
            value.and_then(toml::Value::as_str).map(str::to_owned)
        };
        let topic = Topic {
            admin_url: addresses.pulsar_admin_url.clone(),
            name: text("pulsar", "alarm_topic").context("no alarm topic is configured")?,
            subscription: text("pulsar", "subscription").unwrap_or("coupon-workers".to_owned()),
        };
        let key_prefix = text("redis", "key_prefix").context("no key prefix is configured")?;
        Ok(Self { cluster, proxies, services, shard_urls, key_prefix, topic })
    }

    /// Every node that was not taken down, by its name.
    pub(super) fn processes(&mut self) -> Vec<(String, &mut ServerProcess)> {
        let apis =
            self.cluster.apis.iter_mut().enumerate().map(|(i, node)| (format!("api {i}"), node));
        let workers = self.cluster.workers.iter_mut().enumerate();
        let workers = workers.map(|(i, node)| (format!("worker {i}"), node));
        let nodes = apis.chain(workers);
        nodes.filter_map(|(name, node)| Some((name, node.process.as_mut()?))).collect()
    }

    pub(super) fn logs(&self) -> String {
        let nodes = self.cluster.apis.iter().chain(&self.cluster.workers);
        let logs = nodes.filter_map(|node| node.process.as_ref()).map(|process| process.log());
        logs.collect::<Vec<_>>().join("\n--\n")
    }

    pub(super) async fn finish(mut self) -> anyhow::Result<(bool, String)> {
        self.links(Mode::Pass);
        self.cluster.drain().await?;
        self.cluster.command("audit").await
    }

    /// Says to every link to a database what to do.
    pub(in crate::chaos) fn links(&self, mode: Mode) {
        for proxy in &self.proxies {
            proxy.set(mode);
        }
    }

    /// Says to the link to one primary what to do.
    pub(in crate::chaos) fn link(&self, primary: usize, mode: Mode) {
        if let Some(proxy) = self.proxies.get(primary) {
            proxy.set(mode);
        }
    }

    /// Connections that were cut so far.
    pub(in crate::chaos) fn cuts(&self) -> u64 {
        self.proxies.iter().map(Proxy::cuts).sum()
    }

    /// The address of a Redis node that is up and answers.
    async fn redis_witness(&self) -> anyhow::Result<String> {
        for node in (0..self.services.redis_len()).map(|index| self.services.redis(index)) {
            let address = redis::local(node.port);
            if !node.is_paused() && redis::ask(&address, &["PING"]).await.is_ok() {
                return Ok(address);
            }
        }
        anyhow::bail!("no redis node answers")
    }

    async fn primaries(&self) -> anyhow::Result<Vec<redis::Peer>> {
        let peers = redis::peers(&self.redis_witness().await?).await?;
        Ok(peers.into_iter().filter(|peer| peer.primary && !peer.failed).collect())
    }

    /// A Redis primary by chance: its number among the services.
    pub(in crate::chaos) async fn redis_primary(
        &self,
        random: &mut impl rand::RngCore,
    ) -> anyhow::Result<usize> {
        let mut primaries = self.primaries().await?;
        primaries.retain(|peer| !peer.slots.is_empty());
        ensure!(!primaries.is_empty(), "redis has no primary");
        let chosen = &primaries[random.random_range(0..primaries.len())];
        let mut indices = 0..self.services.redis_len();
        let found = indices.find(|index| self.services.redis(*index).port == chosen.port);
        found.context("a redis primary is none of the services")
    }

    /// Waits until every slot of Redis is served by primaries that answer.
    pub(in crate::chaos) async fn redis_whole(&self) -> anyhow::Result<()> {
        wait_until("every slot of redis is served", REDIS_WHOLE, async || {
            let witness = self.redis_witness().await?;
            if !redis::is_ok(&witness).await? {
                return Ok(false);
            }
            for peer in redis::peers(&witness).await? {
                if peer.primary && !peer.slots.is_empty() && !redis::is_ok(&peer.address).await? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// Sends the same command to every Redis primary.
    pub(in crate::chaos) async fn tell_redis(&self, words: &[&str]) -> anyhow::Result<()> {
        for primary in self.primaries().await? {
            redis::ask(&primary.address, words).await?;
        }
        Ok(())
    }

    /// Moves up to `count` slots that hold keys of this platform to other primaries. Answers how many
    /// it was.
    pub(in crate::chaos) async fn move_slots(&self, count: usize) -> anyhow::Result<usize> {
        let primaries = self.primaries().await?;
        ensure!(primaries.len() > 1, "redis has one primary, slots have nowhere to go");
        wait_until("redis holds a key of the platform", KEYS, async || {
            Ok(!self.slots_in_use(&primaries).await?.is_empty())
        })
        .await?;
        let slots = self.slots_in_use(&primaries).await?;
        let moved = count.min(slots.len());
        for slot in slots.iter().take(count) {
            let from = primaries.iter().position(|peer| peer.owns(*slot));
            let from = from.context("a slot is nobody's")?;
            let to = &primaries[(from + 1) % primaries.len()];
            redis::migrate(*slot, &primaries[from], to).await?;
        }
        Ok(moved)
    }

    /// Slots that hold keys of this platform.
    async fn slots_in_use(&self, primaries: &[redis::Peer]) -> anyhow::Result<BTreeSet<u16>> {
        let pattern = format!("{}*", self.key_prefix);
        let mut slots = BTreeSet::new();
        for primary in primaries {
            let mut connection = Connection::open(&primary.address).await?;
            for key in connection.ask(&["KEYS", &pattern]).await?.texts() {
                let slot = connection.ask(&["CLUSTER", "KEYSLOT", &key]).await?.texts();
                slots.extend(slot.first().and_then(|slot| slot.parse::<u16>().ok()));
            }
        }
        Ok(slots)
    }

    /// Delivers every alarm again; answers how many messages there are.
    pub(in crate::chaos) async fn repeat_alarms(&self) -> anyhow::Result<u64> {
        self.topic.deliver_again().await
    }

    /// Loses every alarm that waits; answers how many messages that was.
    pub(in crate::chaos) async fn lose_alarms(&self) -> anyhow::Result<u64> {
        self.topic.lose().await
    }

    /// A connection to a shard, past its proxy.
    pub(in crate::chaos) async fn shard(&self, shard: usize) -> anyhow::Result<MySqlConnection> {
        let url = self.shard_urls.get(shard).with_context(|| format!("no shard {shard}"))?;
        let options: MySqlConnectOptions = url.parse().context("a shard's address is broken")?;
        Ok(options.connect().await?)
    }

    /// Slots of users who hold coupons on a shard.
    pub(in crate::chaos) async fn slots_of(&self, shard: usize) -> anyhow::Result<HashSet<i64>> {
        let mut connection = self.shard(shard).await?;
        let sql = "SELECT DISTINCT user_id % 10000 FROM coupon";
        let rows = sqlx::query(sql).fetch_all(&mut connection).await?;
        connection.close().await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Runs a statement on a shard's server.
    pub(in crate::chaos) async fn execute(&self, shard: usize, sql: &str) -> anyhow::Result<()> {
        let mut connection = self.shard(shard).await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Waits until no lock that has run out is stored as holding: somebody has swept it, an alarm or
    /// the sweeper.
    pub(in crate::chaos) async fn swept(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        for shard in 0..self.shard_urls.len() {
            // By the database's clock, once: what runs out later need not be waited for.
            let now = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
            let mut connection = self.shard(shard).await?;
            let until: i64 = sqlx::query(now).fetch_one(&mut connection).await?.try_get(0)?;
            connection.close().await?;
            let limit = SWEPT.saturating_sub(began.elapsed());
            wait_until("locks that have run out are swept", limit, async || {
                let mut connection = self.shard(shard).await?;
                let sql = "SELECT COUNT(*) FROM redemption WHERE locked_until <= ? AND state = ?";
                let left = sqlx::query(sql).bind(until).bind(LOCKED);
                let left: i64 = left.fetch_one(&mut connection).await?.try_get(0)?;
                connection.close().await?;
                Ok(left == 0)
            })
            .await?;
        }
        Ok(())
    }
}

/// `mysql://account@host:port/...`: everything before `@`, and host and port.
fn split(url: &str) -> anyhow::Result<(&str, &str)> {
    let parts = url.rsplit_once('@').context("an address of MySQL names no account")?;
    let server = parts.1.split(['/', '?']).next().unwrap_or_default();
    Ok((parts.0, server))
}

/// The same databases past the proxies.
fn direct(
    urls: &[String],
    proxies: &[Proxy],
    addresses: &Addresses,
) -> anyhow::Result<Vec<String>> {
    let past = |url: &String| {
        let (_, server) = split(url)?;
        let home = proxies.iter().position(|proxy| proxy.addr().to_string() == server);
        let home = home.with_context(|| format!("{server} is no proxy"))?;
        Ok(url.replace(server, split(&addresses.mysql_shards[home])?.1))
    };
    urls.iter().map(past).collect()
}
