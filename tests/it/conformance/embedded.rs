//! The embedded back ends: SQLite, the gate and the alarm queue in process memory.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use coupon_server::{
    alarm::{AlarmQueue, embedded::EmbeddedAlarms},
    audit,
    backend::{self, Databases},
    catalog::Catalog,
    clock::Clock,
    config::{Config, Synchronous},
    data_dir::DataDir,
    gate::{Gate, embedded::EmbeddedGate},
    ledger::{AlarmBell, Settle, TemplateSource, sql::Neighbours},
    mint::Mint,
};
use sea_orm::{ConnectionTrait as _, Statement};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

use super::{
    alarms::{AlarmWorld, QueueUnderTest},
    fixture::{DAY, LedgerUnderTest, Opened, Shape, World},
    gate::{GateUnderTest, GateWorld, Traits},
};

/// Sizes as they are by default.
pub(super) const DEFAULT: Shape = Shape { group_max: 256, queue_max: 16_384 };
/// Groups that a handful of commands already fills.
const SMALL: Shape = Shape { group_max: 3, queue_max: 16_384 };

/// SQLite in a folder of its own, one file per shard; the first is meta too.
pub(crate) struct Sqlite {
    config: Config,
    files: Vec<PathBuf>,
    /// Held for as long as the test runs.
    _data_dir: DataDir,
    _folder: TempDir,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self::sharded(1)
    }

    pub(crate) fn sharded(shards: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::default();
        config.storage.data_dir = folder.path().to_owned();
        config.storage.read_connections = 2;
        // No power is lost in a test.
        config.storage.synchronous = Synchronous::Normal;
        let data_dir = DataDir::open(folder.path()).expect("a data folder");
        let first = data_dir.database_path();
        let further = (1..shards).map(|shard| folder.path().join(format!("shard-{shard}.db")));
        let files = std::iter::once(first).chain(further).collect();
        Self { config, files, _data_dir: data_dir, _folder: folder }
    }

    /// Opens all files, with the schema brought up to date.
    pub(crate) async fn databases(&self) -> Databases {
        let mut opened = Vec::new();
        for file in &self.files {
            let databases =
                backend::sqlite::open(file, &self.config.storage).await.expect("opened");
            opened.push(databases);
        }
        let shards = opened.iter().flat_map(|one| one.shards.clone()).collect();
        let first = opened.swap_remove(0);
        let databases = Databases { shards, ..first };
        backend::migrate(&databases).await.expect("migrated");
        databases
    }

    /// A node of that number over the databases.
    pub(crate) async fn node(
        &self,
        databases: &Databases,
        number: u8,
        shape: Shape,
        settle: Arc<dyn Settle>,
        bell: Arc<dyn AlarmBell>,
    ) -> Opened {
        let mut config = self.config.clone();
        (config.claims.group_max, config.claims.queue_max) = (shape.group_max, shape.queue_max);
        config.redemptions.group_max = shape.group_max;
        config.redemptions.queue_max = shape.queue_max;
        let catalog = Arc::new(Catalog::new(databases.meta.clone(), 1_000, DAY));
        let mut last_operation = 0;
        for shard in &databases.shards {
            let sql = "SELECT COALESCE(MAX(operation_id), 0) FROM coupon_operation";
            let statement = Statement::from_string(shard.write.get_database_backend(), sql);
            let row = shard.write.query_one_raw(statement).await.expect("readable");
            let last: i64 = row.expect("one row").try_get_by_index(0).expect("a number");
            last_operation = last_operation.max(last);
        }
        let used_until = catalog.minted_until(number).await.expect("readable");
        let mint = Arc::new(Mint::new(number, used_until, last_operation));
        catalog.raise_lease(&mint).await.expect("leased");
        let templates = Arc::clone(&catalog) as Arc<dyn TemplateSource>;
        let neighbours = Neighbours { mint: Arc::clone(&mint), templates, settle, bell };
        let router = backend::dealt(databases);
        let ledger = backend::ledger(&config, router, databases.shards.clone(), &neighbours);
        Opened { ledger, catalog, mint }
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
        let databases = self.databases().await;
        self.node(&databases, 0, shape, settle, bell).await
    }

    async fn audit(&self) -> Vec<String> {
        let merged = self.merged().await;
        let report = audit::run(merged.as_ref().map_or(&self.config, |(config, _)| config)).await;
        let report = report.expect("audited");
        let found = |check: audit::Check| {
            check.violations.into_iter().map(move |violation| format!("{}: {violation}", check.id))
        };
        report.checks.into_iter().flat_map(found).collect()
    }
}

/// Adds the rows of the attached shard `other` to those of a database that is audited as one. Users
/// have the same bucket on whatever shard they live, so buckets of one number are one.
const MERGE: &str = "
    INSERT INTO coupon SELECT * FROM other.coupon;
    INSERT INTO redemption SELECT * FROM other.redemption;
    INSERT INTO refund SELECT * FROM other.refund;
    INSERT INTO audience SELECT * FROM other.audience;
    INSERT INTO coupon_operation SELECT * FROM other.coupon_operation;
    INSERT OR IGNORE INTO alarm SELECT * FROM other.alarm;
    INSERT INTO stock_bucket SELECT * FROM other.stock_bucket WHERE true
        ON CONFLICT (template_id, bucket) DO UPDATE
        SET granted = granted + excluded.granted, issued = issued + excluded.issued;
    INSERT INTO stock_grant SELECT * FROM other.stock_grant WHERE true
        ON CONFLICT (template_id) DO UPDATE SET handed = handed + excluded.handed;
    INSERT INTO transfer_out SELECT * FROM other.transfer_out;
    INSERT INTO transfer_applied SELECT * FROM other.transfer_applied;
    DELETE FROM template_stat;
    UPDATE stat_fold SET folded_up_to = 0;";

impl Sqlite {
    /// All shards in one database of another folder; `None` when there is one shard.
    async fn merged(&self) -> Option<(Config, TempDir)> {
        let (first, others) = self.files.split_first().filter(|(_, others)| !others.is_empty())?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = self.config.clone();
        config.storage.data_dir = folder.path().to_owned();
        let copy = DataDir::open(folder.path()).expect("a data folder").database_path();
        let mut connection =
            SqliteConnectOptions::new().filename(first).connect().await.expect("opened");
        let into = format!("VACUUM INTO '{}'", copy.display());
        connection.execute(AssertSqlSafe(into)).await.expect("copied");
        let options = SqliteConnectOptions::new().filename(&copy);
        let mut connection = options.connect().await.expect("opened");
        for other in others {
            let attach = format!("ATTACH '{}' AS other", other.display());
            connection.execute(AssertSqlSafe(attach)).await.expect("attached");
            sqlx::raw_sql(MERGE).execute(&mut connection).await.expect("merged");
            connection.execute("DETACH other").await.expect("detached");
        }
        connection.close().await.expect("closed");
        Some((config, folder))
    }
}

/// A ledger on SQLite.
pub(crate) async fn sqlite_shaped(shape: Shape) -> World {
    World::start(Box::new(Sqlite::new()), shape, None, None).await
}

pub(super) async fn ledger() -> World {
    sqlite_shaped(DEFAULT).await
}

pub(super) async fn ledger_on_two_shards() -> World {
    World::start(Box::new(Sqlite::sharded(2)), DEFAULT, None, None).await
}

pub(super) async fn ledger_in_small_groups() -> World {
    sqlite_shaped(SMALL).await
}

struct InProcess;

#[async_trait]
impl GateUnderTest for InProcess {
    async fn open(&self) -> (Arc<dyn Gate>, Arc<dyn Settle>) {
        let gate = Arc::new(EmbeddedGate::new(Config::default().claims.gate_templates_max));
        (Arc::clone(&gate) as Arc<dyn Gate>, gate)
    }

    fn traits(&self) -> Traits {
        Traits { remembers: true, shares_stock: true }
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
