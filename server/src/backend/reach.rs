//! What a configuration stands on, and whether it answers: for `check-config`.

use std::time::Duration;

use coupon_migrations::{MetaMigrator, ShardMigrator};
use sea_orm_migration::MigratorTrait;

use super::mysql;
use crate::{
    alarm::pulsar::PulsarAlarms,
    config::{BackendKind, Config, MysqlConfig, redact},
    gate::redis::RedisGate,
    ledger::{ShardId, router::Router, sql::Replica},
};

/// How long the cluster may take to answer.
const REDIS: Duration = Duration::from_secs(5);

/// A dependency and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Which, with its address.
    pub name: String,
    /// In plain words: that it is well, or what is wrong and what to do.
    pub state: Result<String, String>,
}

/// Asks every dependency of the distributed back end; the embedded one has none.
pub async fn dependencies(config: &Config) -> Vec<Dependency> {
    if config.backend.kind == BackendKind::Embedded {
        return Vec::new();
    }
    let mysql = &config.mysql;
    let mut found = Vec::new();
    let state = database::<MetaMigrator>(mysql, &mysql.meta_url, false).await;
    found.push(named("meta database", &mysql.meta_url, state));
    for (number, url) in (0_u16..).zip(&mysql.shard_urls) {
        let replica = mysql.replica_urls.get(usize::from(number)).filter(|url| !url.is_empty());
        let state = database::<ShardMigrator>(mysql, url, replica.is_some()).await;
        found.push(named(&format!("primary of shard {number}"), url, state));
        if let Some(url) = replica {
            let state = replica_of(number, mysql, url).await;
            found.push(named(&format!("replica of shard {number}"), url, state));
        }
    }
    let nodes = config.redis.nodes.join(", ");
    found.push(Dependency { name: format!("redis cluster {nodes}"), state: redis(config).await });
    let pulsar = PulsarAlarms::check(&config.pulsar).await;
    found.push(Dependency {
        name: format!("pulsar broker {}", config.pulsar.url),
        state: pulsar.map(|()| "answers, its alarm topic can be used".to_owned()).map_err(|e| e.0),
    });
    found
}

fn named(what: &str, url: &str, state: anyhow::Result<String>) -> Dependency {
    let name = format!("{what} {}", redact::url(url));
    Dependency { name, state: state.map_err(|error| format!("{error:#}")) }
}

async fn database<M: MigratorTrait>(
    config: &MysqlConfig,
    url: &str,
    replicated: bool,
) -> anyhow::Result<String> {
    let db = mysql::connect(url, config, 1).await?;
    mysql::check_durability(&db, url, replicated, config.accept_loss).await?;
    let behind = M::get_pending_migrations_read_only(&db).await?.len();
    anyhow::ensure!(
        behind == 0,
        "answers, but its schema is behind by {behind} migrations, run `coupon-server migrate`"
    );
    Ok("answers, keeps what it acknowledges, and its schema is up to date".to_owned())
}

async fn replica_of(shard: ShardId, config: &MysqlConfig, url: &str) -> anyhow::Result<String> {
    let db = mysql::connect(url, config, 1).await?;
    Replica::check(&db, shard).await?;
    Ok("answers".to_owned())
}

async fn redis(config: &Config) -> Result<String, String> {
    let gate = RedisGate::connect(&config.redis, 1, Router::dealt(1)).await;
    let gate = gate.map_err(|error| format!("{error:#}"))?;
    let health = tokio::time::timeout(REDIS, gate.health()).await;
    gate.close().await;
    match health {
        Ok(Ok(())) => Ok("answers".to_owned()),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("no answer within {REDIS:?}, start it or correct redis.nodes")),
    }
}
