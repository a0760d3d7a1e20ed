//! The distributed databases: one MySQL (or MariaDB) primary per shard, and meta.
//!
//! Whatever the drivers would choose by themselves is chosen here, because most of it loses time or
//! data: see [`connect`] and `Session`.

mod durability;
mod migrating;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::anyhow;
use futures::future::try_join_all;
use sea_orm::{DatabaseConnection, SqlxMySqlConnector};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions},
};

pub use self::{
    durability::check as check_durability,
    migrating::{MigrationLock, lock_migrations, pending},
};
use super::Databases;
use crate::{
    catalog::MetaConnections,
    config::{MysqlConfig, redact},
    ledger::{
        ShardId,
        sql::{LaneConnections, Replica, ShardConnections},
    },
};

/// Connections of one lane: one in a transaction, one on its way back to the pool.
const LANE_CONNECTIONS: u32 = 2;
/// A connection that lay idle for longer is tried before it is used: the server may have closed it.
const PING_AFTER_IDLE: Duration = Duration::from_secs(30);
/// Everything that would be cut to fit, or be a warning, is an error.
const SQL_MODE: &str = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,\
                        NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT";

/// Opens meta and every shard.
///
/// # Errors
/// One plain sentence that names the database and the remedy.
pub async fn open(config: &MysqlConfig) -> anyhow::Result<Databases> {
    let replicas = config.replica_urls.iter().map(String::as_str).chain(std::iter::repeat(""));
    let shards = config.shard_urls.iter().zip(replicas);
    let shards = (0..).zip(shards);
    let shards = shards.map(|(shard, (url, replica))| open_shard(shard, url, replica, config));
    let meta = connect(&config.meta_url, config, config.connections);
    let (meta, shards) = futures::future::try_join(meta, try_join_all(shards)).await?;
    let meta = MetaConnections { write: meta.clone(), read: meta };
    Ok(Databases { shards, meta, checkpoint: None })
}

async fn open_shard(
    shard: ShardId,
    url: &str,
    replica: &str,
    config: &MysqlConfig,
) -> anyhow::Result<ShardConnections> {
    let replica = open_replica(shard, replica, config)?;
    let write = connect(url, config, config.connections).await?;
    let (url, config) = (url.to_owned(), config.clone());
    let options = options(&url, &config)?;
    let lanes = LaneConnections::Own {
        lanes: config.claim_lanes,
        statement_max: config.statement_timeout(),
        open: Arc::new(move || lazy(options.clone(), &config, LANE_CONNECTIONS)),
    };
    Ok(ShardConnections { read: write.clone(), write, lanes, replica })
}

/// One that does not answer is no reason not to start: the primary is read meanwhile.
fn open_replica(
    shard: ShardId,
    url: &str,
    config: &MysqlConfig,
) -> anyhow::Result<Option<Arc<Replica>>> {
    if url.is_empty() {
        return Ok(None);
    }
    let db = lazy(options(url, config)?, config, config.connections);
    let lag_max = i64::try_from(config.replica_lag_max_ms).unwrap_or(i64::MAX);
    Ok(Some(Arc::new(Replica::new(db, shard, lag_max))))
}

/// Connects to one database; at most `connections` at a time. The first one is opened at once, so that
/// a wrong address is told here.
///
/// # Errors
/// One plain sentence that names the database and the remedy.
pub async fn connect(
    url: &str,
    config: &MysqlConfig,
    connections: u32,
) -> anyhow::Result<DatabaseConnection> {
    let named = |what: String| {
        let shown = redact::url(url);
        anyhow!("cannot reach the database {shown} ({what}), start it or correct [mysql]")
    };
    let options = options(url, config)?;
    // Not through the pool, which keeps the reason to itself.
    match tokio::time::timeout(config.connect_timeout(), options.connect()).await {
        Ok(Ok(connection)) => drop(connection.close().await),
        Ok(Err(error)) => return Err(named(error.to_string())),
        Err(_) => {
            return Err(named(format!("no answer within {} ms", config.connect_timeout_ms)));
        }
    }
    Ok(lazy(options, config, connections))
}

fn options(url: &str, config: &MysqlConfig) -> anyhow::Result<MySqlConnectOptions> {
    let parsed = url.parse::<MySqlConnectOptions>();
    let options = parsed.map_err(|error| {
        anyhow!("the address {} cannot be read ({error}), correct [mysql]", redact::url(url))
    })?;
    // A text that falls out of the cache is closed and prepared again, which over TCP waits for a
    // delayed acknowledgement each time.
    Ok(options.statement_cache_capacity(config.statement_cache).disable_statement_logging())
}

/// A pool that opens its connections as they are needed, on the thread that needs them.
fn lazy(
    options: MySqlConnectOptions,
    config: &MysqlConfig,
    connections: u32,
) -> DatabaseConnection {
    let session = Session::of(config);
    let (given_up, ping_after) = (config.statement_timeout(), session.ping_after());
    let pool = MySqlPoolOptions::new()
        .max_connections(connections.max(1))
        .min_connections(0)
        .acquire_timeout(config.acquire_timeout())
        // A round trip per use; `before_acquire` tries those that lay idle.
        .test_before_acquire(false)
        // Without these no task of the pool is tied to the thread that made it.
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| Box::pin(session.set(connection)))
        .before_acquire(move |connection, state| {
            Box::pin(async move {
                if connection.is_in_transaction() {
                    return Ok(false);
                }
                Ok(state.idle_for < ping_after || within(given_up, connection.ping()).await)
            })
        })
        // What a dropped call has left unread is read, unless the server does not answer.
        .after_release(move |connection, _| {
            Box::pin(async move {
                let clean = within(given_up, connection.flush()).await;
                Ok(clean && !connection.is_in_transaction())
            })
        })
        .connect_lazy_with(options);
    connection(pool)
}

fn connection(pool: MySqlPool) -> DatabaseConnection {
    SqlxMySqlConnector::from_sqlx_mysql_pool(pool)
}

async fn within(max: Duration, work: impl Future<Output = Result<(), sqlx::Error>>) -> bool {
    matches!(tokio::time::timeout(max, work).await, Ok(Ok(())))
}

/// What every connection is told after it was opened.
#[derive(Debug, Clone, Copy)]
struct Session {
    lock_wait_s: u32,
    idle_transaction_s: u32,
}

impl Session {
    fn of(config: &MysqlConfig) -> Self {
        Self { lock_wait_s: config.lock_wait_s, idle_transaction_s: config.idle_transaction_s }
    }

    /// MySQL has no limit for idle transactions, only one for idle connections: there every connection
    /// that lay idle may have been closed.
    fn ping_after(self) -> Duration {
        PING_AFTER_IDLE.min(Duration::from_secs(u64::from(self.idle_transaction_s)) / 2)
    }

    async fn set(self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let row = connection.fetch_one("SELECT VERSION()").await?;
        let version: String = row.try_get(0)?;
        let Self { lock_wait_s, idle_transaction_s } = self;
        let idle = match version.contains("MariaDB") {
            true => "idle_write_transaction_timeout",
            false => "wait_timeout",
        };
        // Repeatable reads would lock gaps, and groups would block each other.
        let sql = format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET SESSION sql_mode = '{SQL_MODE}', innodb_lock_wait_timeout = {lock_wait_s}, \
             {idle} = {idle_transaction_s}"
        );
        connection.execute(AssertSqlSafe(sql)).await.map(drop)
    }
}

/// Checks that the schema is up to date and that the servers lose nothing.
///
/// # Errors
/// One plain sentence that names the database and the remedy.
pub async fn prepare(config: &MysqlConfig, databases: &Databases) -> anyhow::Result<()> {
    if let Some(behind) = pending(config, databases).await?.first() {
        anyhow::bail!("{behind}, run `coupon-server migrate`");
    }
    let replicas = config.replica_urls.iter().map(|url| !url.is_empty());
    let shards = config.shard_urls.iter().zip(&databases.shards);
    for ((url, shard), replicated) in shards.zip(replicas.chain(std::iter::repeat(false))) {
        check_durability(&shard.write, url, replicated, config.accept_loss).await?;
    }
    check_durability(&databases.meta.write, &config.meta_url, false, config.accept_loss).await
}
