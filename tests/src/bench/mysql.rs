//! The MySQL primary under test: its settings, the rows that it holds before a measurement, and what
//! the textbook does on it.

pub mod rows;
pub mod textbook;

use std::{str::FromStr as _, time::Duration};

use anyhow::{Context as _, ensure};
use sqlx::{
    MySqlPool, Row as _,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

/// What every measure of InnoDB is taken with, so that ten million rows are far more than memory.
pub const BUFFER_POOL_BYTES: i64 = 256 * 1024 * 1024;
const RESIZE_TIMEOUT: Duration = Duration::from_secs(60);

/// A primary and the database on it.
#[derive(Clone, Debug)]
pub struct Primary {
    /// Connections for whatever is not measured.
    pub pool: MySqlPool,
    url: String,
    settings: Settings,
}

/// What decides how much a commit costs.
#[derive(Clone, Debug, Default)]
struct Settings {
    version: String,
    flush: i64,
    sync_binlog: i64,
    binlog: i64,
    buffer_pool: i64,
    log_file: i64,
}

impl Primary {
    /// Opens the database and sees to it that its server loses nothing.
    ///
    /// # Errors
    /// When it does not answer, or its settings can lose acknowledged commits.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let pool = connect(url, 4).await?;
        let settings = Settings::read(&pool).await?;
        ensure!(
            settings.flush == 1 && (settings.binlog == 0 || settings.sync_binlog == 1),
            "innodb_flush_log_at_trx_commit = {}, sync_binlog = {}: the benches measure durable \
             commits; set both to 1",
            settings.flush,
            settings.sync_binlog
        );
        Ok(Self { pool, url: url.to_owned(), settings })
    }

    /// Up to `count` connections of their own.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn connections(&self, count: u32) -> anyhow::Result<MySqlPool> {
        connect(&self.url, count).await
    }

    /// Gives the server the buffer pool that the measures are defined for. One that does not let us
    /// is measured as it is, and its size is told.
    ///
    /// # Errors
    /// When it does not answer any more.
    pub async fn limit_buffer_pool(&mut self) -> anyhow::Result<()> {
        if self.settings.buffer_pool == BUFFER_POOL_BYTES {
            return Ok(());
        }
        let sql = format!("SET GLOBAL innodb_buffer_pool_size = {BUFFER_POOL_BYTES}");
        if sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.pool).await.is_ok() {
            let resized = async {
                while Settings::read(&self.pool).await?.buffer_pool != BUFFER_POOL_BYTES {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                anyhow::Ok(())
            };
            // One that takes longer is told as it is.
            let _ = tokio::time::timeout(RESIZE_TIMEOUT, resized).await;
        }
        self.settings = Settings::read(&self.pool).await?;
        Ok(())
    }

    /// The settings in words.
    pub fn told(&self) -> String {
        let Settings { version, flush, sync_binlog, binlog, buffer_pool, log_file } =
            &self.settings;
        let binlog = if *binlog == 0 {
            "no binlog".to_owned()
        } else {
            format!("sync_binlog {sync_binlog}")
        };
        format!(
            "{version}, flush_log_at_trx_commit {flush}, {binlog}, buffer pool {} MB, log {} MB",
            buffer_pool >> 20,
            log_file >> 20
        )
    }

    /// Folder of the server's data, where it tells.
    pub async fn data_dir(&self) -> Option<String> {
        let row = sqlx::query("SELECT CAST(@@datadir AS CHAR)").fetch_one(&self.pool).await.ok()?;
        row.try_get(0).ok()
    }
}

impl Settings {
    async fn read(pool: &MySqlPool) -> anyhow::Result<Self> {
        let sql = "SELECT CAST(@@version AS CHAR), \
                   CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), \
                   CAST(@@sync_binlog AS SIGNED), CAST(@@log_bin AS SIGNED), \
                   CAST(@@innodb_buffer_pool_size AS SIGNED), \
                   CAST(@@innodb_log_file_size AS SIGNED)";
        let row = sqlx::query(sql).fetch_one(pool).await.context("cannot read the settings")?;
        Ok(Self {
            version: row.try_get(0)?,
            flush: row.try_get(1)?,
            sync_binlog: row.try_get(2)?,
            binlog: row.try_get(3)?,
            buffer_pool: row.try_get(4)?,
            log_file: row.try_get(5)?,
        })
    }
}

async fn connect(url: &str, connections: u32) -> anyhow::Result<MySqlPool> {
    let options = MySqlConnectOptions::from_str(url)
        .context("not an address of a database")?
        .statement_cache_capacity(1_024);
    let pool = MySqlPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(30))
        .after_connect(|connection, _| {
            Box::pin(async move {
                // As the server's own sessions.
                let sql = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
                sqlx::raw_sql(sql).execute(connection).await?;
                Ok(())
            })
        })
        .connect_with(options);
    pool.await.context("the database does not answer")
}
