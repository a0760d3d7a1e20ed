//! The distributed ledger on real MySQL or MariaDB servers, in databases of its own.

use std::sync::Arc;

use async_trait::async_trait;
use coupon_server::{
    audit,
    backend::{self, Databases},
    catalog::Catalog,
    config::{BackendKind, Config},
    ledger::{AlarmBell, Settle, TemplateSource, sql::Neighbours},
    mint::Mint,
};
use coupon_tests::services::{Addresses, FreshDatabases};

use super::fixture::{DAY, LedgerUnderTest, Opened, Shape, World};

/// Sizes as they are by default.
pub(crate) const DEFAULT: Shape = Shape { group_max: 256, queue_max: 16_384 };
/// Groups that a handful of commands already fills.
const SMALL: Shape = Shape { group_max: 3, queue_max: 16_384 };

/// Fresh databases on the servers under test: one per shard, and meta.
pub(crate) struct MySql {
    /// As a node would be configured.
    pub(crate) config: Config,
    fresh: FreshDatabases,
}

impl MySql {
    pub(crate) async fn sharded(shards: usize) -> anyhow::Result<Self> {
        // Two TLS providers are compiled in: one must be chosen. Others may have been faster.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let fresh = FreshDatabases::create(&Addresses::from_env()?, shards).await?;
        let mut config = Config::default();
        config.backend.kind = BackendKind::Distributed;
        config.mysql.meta_url.clone_from(&fresh.meta_url);
        config.mysql.shard_urls.clone_from(&fresh.shard_urls);
        config.mysql.connections = 4;
        // Many tests share a server.
        config.mysql.acquire_timeout_ms = 30_000;
        config.mysql.connect_timeout_ms = 30_000;
        config.mysql.statement_timeout_ms = 30_000;
        config.mysql.idle_transaction_s = 30;
        Ok(Self { config, fresh })
    }

    /// Opens all databases, with the schema brought up to date.
    pub(crate) async fn databases(&self) -> anyhow::Result<Databases> {
        let databases = backend::mysql::open(&self.config.mysql).await?;
        backend::migrate(&databases).await?;
        Ok(databases)
    }

    /// A node of that number over the databases.
    pub(crate) async fn node(
        &self,
        number: u8,
        shape: Shape,
        settle: Arc<dyn Settle>,
        bell: Arc<dyn AlarmBell>,
    ) -> anyhow::Result<Opened> {
        let mut config = self.config.clone();
        (config.claims.group_max, config.claims.queue_max) = (shape.group_max, shape.queue_max);
        config.redemptions.group_max = shape.group_max;
        config.redemptions.queue_max = shape.queue_max;
        // Nobody writes while counts are looked at: whatever is logged may be folded.
        config.stats.fold_lag_ms = 0;
        let databases = self.databases().await?;
        let catalog = Arc::new(Catalog::new(databases.meta.clone(), 1_000, DAY));
        let last_operation = backend::last_operation(&databases).await?;
        let used_until = catalog.minted_until(number).await?;
        let mint = Arc::new(Mint::new(number, used_until, last_operation));
        catalog.raise_lease(&mint).await?;
        let templates = Arc::clone(&catalog) as Arc<dyn TemplateSource>;
        let neighbours = Neighbours { mint: Arc::clone(&mint), templates, settle, bell };
        let router = backend::dealt(&databases);
        let ledger = backend::ledger(&config, router, databases.shards.clone(), &neighbours);
        Ok(Opened { ledger, catalog, mint })
    }

    /// Every invariant that the stored rows violate.
    pub(crate) async fn violations(&self) -> anyhow::Result<Vec<String>> {
        let found = |check: audit::Check| {
            check.violations.into_iter().map(move |violation| format!("{}: {violation}", check.id))
        };
        let report = audit::run(&self.config).await?;
        Ok(report.checks.into_iter().flat_map(found).collect())
    }
}

impl Drop for MySql {
    /// Removes the databases, whatever has become of the test.
    fn drop(&mut self) {
        let fresh = self.fresh.clone();
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(fresh.drop_all())
        });
        if !matches!(removing.join(), Ok(Ok(()))) {
            eprintln!("databases of a test were left behind: {:?}", self.fresh);
        }
    }
}

#[async_trait]
impl LedgerUnderTest for MySql {
    async fn open(
        &self,
        shape: Shape,
        settle: Arc<dyn Settle>,
        bell: Arc<dyn AlarmBell>,
    ) -> Opened {
        self.node(0, shape, settle, bell).await.expect("opened")
    }

    async fn audit(&self) -> Vec<String> {
        self.violations().await.expect("audited")
    }
}

async fn world(shards: usize, shape: Shape) -> World {
    let mysql = MySql::sharded(shards).await.expect("databases on the servers under test");
    World::start(Box::new(mysql), shape, None, None).await
}

pub(super) async fn ledger() -> World {
    world(1, DEFAULT).await
}

pub(super) async fn ledger_on_two_shards() -> World {
    world(2, DEFAULT).await
}

pub(super) async fn ledger_in_small_groups() -> World {
    world(2, SMALL).await
}
