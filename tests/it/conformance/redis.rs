//! The gate on a Redis Cluster, in front of a SQLite ledger.

mod distributed_gate;
mod distributed_script;
mod nodes;

use std::sync::Arc;

use async_trait::async_trait;
use coupon_server::{
    config::{Config, RedisConfig},
    gate::{Gate, redis::RedisGate},
    ledger::{Settle, router::Router},
};
use coupon_tests::services::Addresses;

use super::{
    embedded::Sqlite,
    fixture::Shape,
    gate::{GateUnderTest, GateWorld, Traits},
};

/// Sizes as they are by default.
const SHAPE: Shape = Shape { group_max: 256, queue_max: 16_384 };

/// A configuration whose keys no other test has.
fn config(nodes: Vec<String>) -> RedisConfig {
    // Debug builds on a busy machine are slow; what is tested to be fast says so itself.
    let patient = RedisConfig {
        command_timeout_ms: 5_000,
        connect_timeout_ms: 5_000,
        ..RedisConfig::default()
    };
    RedisConfig { nodes, key_prefix: format!("test-{:032x}", rand::random::<u128>()), ..patient }
}

async fn connect(config: &RedisConfig) -> Arc<RedisGate> {
    let templates_max = Config::default().claims.gate_templates_max;
    RedisGate::connect(config, templates_max, Router::dealt(1)).await.expect("a configuration")
}

/// Gates of one node after another. Without a configuration of its own each begins with nothing, as
/// after the loss of all that was in Redis.
struct OnRedis {
    nodes: Vec<String>,
    config: Option<RedisConfig>,
}

#[async_trait]
impl GateUnderTest for OnRedis {
    async fn open(&self) -> (Arc<dyn Gate>, Arc<dyn Settle>) {
        let fresh = || config(self.nodes.clone());
        let gate = connect(&self.config.clone().unwrap_or_else(fresh)).await;
        (Arc::clone(&gate) as Arc<dyn Gate>, gate)
    }

    fn traits(&self) -> Traits {
        Traits { remembers: false, shares_stock: false }
    }
}

/// A gate of this configuration, in front of a ledger of its own.
async fn gate_with(config: &RedisConfig) -> GateWorld {
    let on_redis = OnRedis { nodes: Vec::new(), config: Some(config.clone()) };
    GateWorld::start(Box::new(on_redis), Box::new(Sqlite::new()), SHAPE).await
}

pub(super) async fn gate() -> GateWorld {
    let nodes = Addresses::from_env().expect("addresses of the services").redis_nodes;
    GateWorld::start(Box::new(OnRedis { nodes, config: None }), Box::new(Sqlite::new()), SHAPE)
        .await
}
