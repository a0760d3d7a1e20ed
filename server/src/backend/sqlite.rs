//! The embedded databases: one SQLite file that is both the only shard and meta.

use std::{path::Path, time::Duration};

use anyhow::anyhow;
use sea_orm::{DatabaseConnection, SqlxSqliteConnector};
use sqlx::{
    ConnectOptions as _, Connection as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::Databases;
use crate::{
    catalog::MetaConnections,
    config::{StorageConfig, Synchronous},
    ledger::sql::{LaneConnections, ShardConnections},
};

/// SQL texts that each connection keeps prepared: more than there are.
const STATEMENTS: usize = 512;
/// How long a reader waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(5);

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
        shards: vec![ShardConnections {
            write: write.clone(),
            read: read.clone(),
            lanes: LaneConnections::Shared(write.clone()),
            replica: None,
        }],
        meta: MetaConnections { write, read },
        checkpoint: Some(checkpoint),
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
