//! The embedded back ends: SQLite, the gate and the alarm queue in process memory.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use coupon_server::{
    alarm::{AlarmQueue, embedded::EmbeddedAlarms},
    audit, backend,
    catalog::Catalog,
    clock::Clock,
    config::{Config, Synchronous},
    data_dir::DataDir,
    gate::{Gate, embedded::EmbeddedGate},
    ledger::{AlarmBell, Settle, TemplateSource, sql::Neighbours},
    mint::Mint,
};
use sea_orm::{ConnectionTrait as _, Statement};
use tempfile::TempDir;

use super::{
    alarms::{AlarmWorld, QueueUnderTest},
    fixture::{DAY, LedgerUnderTest, Opened, Shape, World},
    gate::{GateUnderTest, GateWorld},
};

/// Sizes as they are by default.
const DEFAULT: Shape = Shape { group_max: 256, queue_max: 16_384 };
/// Groups that a handful of commands already fills.
const SMALL: Shape = Shape { group_max: 3, queue_max: 16_384 };

/// SQLite in a folder of its own.
pub(crate) struct Sqlite {
    config: Config,
    database: PathBuf,
    /// Held for as long as the test runs.
    _data_dir: DataDir,
    _folder: TempDir,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::default();
        config.storage.data_dir = folder.path().to_owned();
        config.storage.read_connections = 2;
        // No power is lost in a test.
        config.storage.synchronous = Synchronous::Normal;
        let data_dir = DataDir::open(folder.path()).expect("a data folder");
        Self { config, database: data_dir.database_path(), _data_dir: data_dir, _folder: folder }
    }
}

#[async_trait]
impl LedgerUnderTest for Sqlite {
    async fn open(
        &self,
        shape: Shape,
        settle: Arc<dyn Settle>,
        bell: Arc<dyn AlarmBell>,
    ) -> Opened {
        let mut config = self.config.clone();
        (config.claims.group_max, config.claims.queue_max) = (shape.group_max, shape.queue_max);
        config.redemptions.group_max = shape.group_max;
        config.redemptions.queue_max = shape.queue_max;
        let databases =
            backend::sqlite::open(&self.database, &config.storage).await.expect("opened");
        backend::migrate(&databases).await.expect("migrated");
        let catalog = Arc::new(Catalog::new(databases.meta.clone(), 1_000, DAY));
        let mut last_operation = 0;
        for shard in &databases.shards {
            let sql = "SELECT COALESCE(MAX(operation_id), 0) FROM coupon_operation";
            let statement = Statement::from_string(shard.write.get_database_backend(), sql);
            let row = shard.write.query_one_raw(statement).await.expect("readable");
            let last: i64 = row.expect("one row").try_get_by_index(0).expect("a number");
            last_operation = last_operation.max(last);
        }
        let used_until = catalog.minted_until(0).await.expect("readable");
        let mint = Arc::new(Mint::new(0, used_until, last_operation));
        catalog.raise_lease(&mint).await.expect("leased");
        let templates = Arc::clone(&catalog) as Arc<dyn TemplateSource>;
        let neighbours = Neighbours { mint: Arc::clone(&mint), templates, settle, bell };
        let router = backend::router(&databases);
        let ledger = backend::ledger(&config, router, databases.shards.clone(), &neighbours);
        Opened { ledger, catalog, mint }
    }

    async fn audit(&self) -> Vec<String> {
        let report = audit::run(&self.config).await.expect("audited");
        let found = |check: audit::Check| {
            check.violations.into_iter().map(move |violation| format!("{}: {violation}", check.id))
        };
        report.checks.into_iter().flat_map(found).collect()
    }
}

/// A ledger on SQLite.
pub(crate) async fn sqlite_shaped(shape: Shape) -> World {
    World::start(Box::new(Sqlite::new()), shape, None, None).await
}

pub(super) async fn ledger() -> World {
    sqlite_shaped(DEFAULT).await
}

pub(super) async fn ledger_in_small_groups() -> World {
    sqlite_shaped(SMALL).await
}

struct InProcess;

impl GateUnderTest for InProcess {
    fn open(&self) -> (Arc<dyn Gate>, Arc<dyn Settle>) {
        let gate = Arc::new(EmbeddedGate::new(Config::default().claims.gate_templates_max));
        (Arc::clone(&gate) as Arc<dyn Gate>, gate)
    }
}

impl QueueUnderTest for InProcess {
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn AlarmQueue> {
        Arc::new(EmbeddedAlarms::new(clock))
    }
}

pub(super) async fn gate() -> GateWorld {
    GateWorld::start(Box::new(InProcess), Box::new(Sqlite::new()), DEFAULT).await
}

pub(super) async fn alarms() -> AlarmWorld {
    AlarmWorld::start(Box::new(InProcess), Box::new(Sqlite::new()), DEFAULT).await
}
