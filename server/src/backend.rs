//! The one place that knows which back end runs. Today there is one: everything embedded, on one
//! SQLite file.

pub mod checkpoint;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use coupon_migrations::{MetaMigrator, ShardMigrator};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, SqlxSqliteConnector, Statement};
use sea_orm_migration::MigratorTrait;
use sqlx::{
    ConnectOptions as _, Connection as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    alarm::{AlarmQueue, embedded::EmbeddedAlarms},
    catalog::MetaConnections,
    clock::Clock,
    config::{Config, StorageConfig, Synchronous},
    gate::{Gate, embedded::EmbeddedGate},
    ledger::{
        Ledger, Settle,
        router::Router,
        sql::{GroupLimits, Neighbours, ShardConnections, SqlLedger},
    },
};

/// SQL texts that each connection keeps prepared: more than there are.
const STATEMENTS: usize = 512;
/// How long a reader waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Connections to the databases.
#[derive(Debug, Clone)]
pub struct Databases {
    /// One per shard.
    pub shards: Vec<ShardConnections>,
    /// Meta.
    pub meta: MetaConnections,
    /// For [`checkpoint`].
    pub checkpoint: DatabaseConnection,
}

/// Opens the embedded database, creating it if it is missing.
///
/// # Errors
/// When the file cannot be opened; the message names it.
pub async fn open(path: &Path, storage: &StorageConfig) -> anyhow::Result<Databases> {
    // One sentence: the driver's error and its causes say the same three times.
    let named = |error: sqlx::Error| {
        let path = path.display();
        anyhow!(
            "cannot open the database {path} ({error}), move it away or choose another --data-dir"
        )
    };
    let write = connect(path, storage, 1, storage.cache_kib).await.map_err(named)?;
    let (readers, cache_kib) = (storage.read_connections, storage.read_cache_kib);
    let read = connect(path, storage, readers, cache_kib).await.map_err(named)?;
    let checkpoint = connect(path, storage, 1, cache_kib).await.map_err(named)?;
    Ok(Databases {
        shards: vec![ShardConnections { write: write.clone(), read: read.clone() }],
        meta: MetaConnections { write, read },
        checkpoint,
    })
}

async fn connect(
    path: &Path,
    storage: &StorageConfig,
    connections: u32,
    cache_kib: u32,
) -> Result<DatabaseConnection, sqlx::Error> {
    let synchronous = match storage.synchronous {
        Synchronous::Full => SqliteSynchronous::Full,
        Synchronous::Normal => SqliteSynchronous::Normal,
    };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(Duration::from_millis(storage.busy_timeout_ms))
        .statement_cache_capacity(STATEMENTS)
        .pragma("wal_autocheckpoint", storage.wal_autocheckpoint_pages.to_string())
        .pragma("cache_size", format!("-{cache_kib}"))
        .foreign_keys(false)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new()
        .max_connections(connections.max(1))
        .min_connections(1)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        // A COMMIT or ROLLBACK that fails, as on a full disk, can leave the driver and the database
        // at odds over how deep in transactions they are; what "commits" inside a transaction that
        // nobody ends is lost. Closing the connection ends it.
        .before_acquire(|connection, _| {
            let between_transactions = !connection.is_in_transaction();
            Box::pin(std::future::ready(Ok(between_transactions)))
        })
        .connect_with(options)
        .await?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

/// Brings the schema up to date; answers the names of the migrations applied.
///
/// # Errors
/// When the databases were written by a newer version, or cannot be written.
pub async fn migrate(databases: &Databases) -> anyhow::Result<Vec<String>> {
    let mut applied = migrate_one::<MetaMigrator>(&databases.meta.write).await?;
    for shard in &databases.shards {
        applied.extend(migrate_one::<ShardMigrator>(&shard.write).await?);
    }
    Ok(applied)
}

async fn migrate_one<M: MigratorTrait>(db: &DatabaseConnection) -> anyhow::Result<Vec<String>> {
    M::install(db).await.context("cannot write the table of migrations")?;
    refuse_newer::<M>(db).await?;
    let pending = M::get_pending_migrations(db).await?;
    let names = pending.iter().map(|migration| migration.name().to_owned()).collect();
    // Asked for only when there is something to do: it logs each time.
    if !pending.is_empty() {
        M::up(db, None).await.context("cannot bring the schema up to date")?;
    }
    Ok(names)
}

/// A database with a migration that this version does not know was written by a newer one.
async fn refuse_newer<M: MigratorTrait>(db: &DatabaseConnection) -> anyhow::Result<()> {
    let table = M::migration_table_name().to_string();
    let sql = format!("SELECT version FROM {table} ORDER BY version");
    let known: Vec<String> = M::migrations().iter().map(|m| m.name().to_owned()).collect();
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    for row in rows {
        let version: String = row.try_get_by_index(0)?;
        if !known.contains(&version) {
            bail!(
                "the database was written by a newer version (it has `{version}`); \
                 run that version or a later one, or choose another --data-dir"
            );
        }
    }
    Ok(())
}

/// The last id of the operation log on any shard; 0 when there is none.
///
/// # Errors
/// When a shard cannot be read.
pub async fn last_operation(databases: &Databases) -> anyhow::Result<i64> {
    let mut last = 0;
    for shard in &databases.shards {
        let sql = "SELECT COALESCE(MAX(operation_id), 0) FROM coupon_operation";
        let statement = Statement::from_string(shard.read.get_database_backend(), sql);
        if let Some(row) = shard.read.query_one_raw(statement).await? {
            last = last.max(row.try_get_by_index::<i64>(0)?);
        }
    }
    Ok(last)
}

/// The embedded gate.
pub fn gate(config: &Config) -> Arc<EmbeddedGate> {
    Arc::new(EmbeddedGate::new(config.claims.gate_templates_max))
}

/// A gate as the ledger and the use cases see it.
pub fn gate_ports(gate: &Arc<EmbeddedGate>) -> (Arc<dyn Gate>, Arc<dyn Settle>) {
    (Arc::clone(gate) as Arc<dyn Gate>, Arc::clone(gate) as Arc<dyn Settle>)
}

/// The ledger over the shards.
pub fn ledger(
    config: &Config,
    shards: Vec<ShardConnections>,
    neighbours: &Neighbours,
) -> Arc<dyn Ledger> {
    let limits = GroupLimits {
        give_group_max: config.claims.group_max,
        give_queue_max: config.claims.queue_max,
        redeem_group_max: config.redemptions.group_max,
        redeem_queue_max: config.redemptions.queue_max,
        attempts_max: config.claims.attempts_max,
    };
    let count = u16::try_from(shards.len()).unwrap_or(u16::MAX);
    Arc::new(SqlLedger::start(Router::dealt(count), shards, limits, neighbours))
}

/// The embedded alarm queue.
pub fn alarms(clock: Arc<dyn Clock>) -> Arc<dyn AlarmQueue> {
    Arc::new(EmbeddedAlarms::new(clock))
}
