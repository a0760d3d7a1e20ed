//! Migrations of databases that several nodes share: one runner at a time, and who serves only looks.

use anyhow::{Context as _, bail};
use coupon_migrations::{MetaMigrator, ShardMigrator};
use sea_orm::{DatabaseConnection, DbBackend};
use sea_orm_migration::MigratorTrait;
use sqlx::{MySql, pool::PoolConnection};

use crate::{
    backend::Databases,
    config::{MysqlConfig, redact},
};

/// How long one runner waits for the other, in seconds.
const WAIT_S: i64 = 60;
/// Of this database on its server; server-side names are short.
const LOCK_NAME: &str = "CONCAT('coupon.', MD5(DATABASE()))";

/// The right to migrate one database. The server takes it back when the connection ends, however it
/// ends: whoever is killed leaves no lock behind.
#[derive(Debug)]
pub struct MigrationLock(Option<PoolConnection<MySql>>);

/// Waits until nobody else migrates the database. There is nothing to wait for on SQLite, whose data
/// folder is locked.
///
/// # Errors
/// When the database cannot be asked, or the other runner takes too long.
pub async fn lock_migrations(db: &DatabaseConnection) -> anyhow::Result<MigrationLock> {
    if db.get_database_backend() != DbBackend::MySql {
        return Ok(MigrationLock(None));
    }
    let mut connection = db.get_mysql_connection_pool().acquire().await?;
    let sql = sqlx::AssertSqlSafe(format!("SELECT GET_LOCK({LOCK_NAME}, {WAIT_S})"));
    let got: Option<i64> = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
    if got != Some(1) {
        bail!("somebody else has been migrating the database for {WAIT_S} s, wait for them");
    }
    Ok(MigrationLock(Some(connection)))
}

impl MigrationLock {
    /// Lets the next one in.
    ///
    /// # Errors
    /// When the database cannot be told; it lets the lock go with the connection.
    pub async fn release(mut self) -> anyhow::Result<()> {
        let Some(mut connection) = self.0.take() else { return Ok(()) };
        let sql = sqlx::AssertSqlSafe(format!("SELECT RELEASE_LOCK({LOCK_NAME})"));
        sqlx::query(sql).execute(&mut *connection).await?;
        Ok(())
    }
}

impl Drop for MigrationLock {
    fn drop(&mut self) {
        // One that was not released ends with its connection.
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// What each database still lacks, in words. Needs no right to define tables.
///
/// # Errors
/// When a database cannot be read, or was written by a newer version.
pub async fn pending(config: &MysqlConfig, databases: &Databases) -> anyhow::Result<Vec<String>> {
    let mut behind = pending_of::<MetaMigrator>(&databases.meta.write, &config.meta_url).await?;
    for (shard, url) in databases.shards.iter().zip(&config.shard_urls) {
        behind.extend(pending_of::<ShardMigrator>(&shard.write, url).await?);
    }
    Ok(behind)
}

async fn pending_of<M: MigratorTrait>(
    db: &DatabaseConnection,
    url: &str,
) -> anyhow::Result<Vec<String>> {
    let shown = redact::url(url);
    let pending = M::get_pending_migrations_read_only(db).await;
    let pending = pending.with_context(|| format!("cannot tell the schema of {shown}"))?;
    let named = pending.iter().map(|migration| migration.name().to_owned());
    Ok(named.map(|name| format!("the schema of {shown} is behind (it lacks `{name}`)")).collect())
}
