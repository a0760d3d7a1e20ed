//! One unchanging view of the database, opened so that nothing can be written.

use std::path::{Path, PathBuf};

use anyhow::Context;
use coupon_migrations::{MetaMigrator, ShardMigrator};
use futures::TryStreamExt;
use sea_orm_migration::MigratorTrait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};

use super::findings::Findings;
use crate::config::StorageConfig;
use crate::data_dir::{DataDir, DataDirError};

/// Why there is nothing to audit. Every message is one sentence with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder is missing or none.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// The folder holds no database.
    #[error("there is no database {}, start `coupon-server serve` once or correct --data-dir", .path.display())]
    NoDatabase {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file cannot be opened as a database.
    #[error("the database {} cannot be opened ({source}), check that it is a coupon server's and that this user may read it and write beside it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// Migrations are missing.
    #[error("the schema of {} is older than this program (it lacks {missing}), run `coupon-server migrate` or audit with the program that wrote it", .path.display())]
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// The first migration that is missing.
        missing: String,
    },
    /// Migrations are applied that this program does not have.
    #[error("the schema of {} is newer than this program (it has {unknown}), audit with the newer program", .path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The first migration that is unknown.
        unknown: String,
    },
}

/// Opens the database in the data folder for reading only, and refuses a schema that the checks do
/// not know.
pub(super) async fn connect(storage: &StorageConfig) -> Result<SqliteConnection, AuditError> {
    let path = DataDir::open_read_only(&storage.data_dir)?.database_path();
    if !path.is_file() {
        return Err(AuditError::NoDatabase { path });
    }
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .read_only(true)
        .busy_timeout(storage.busy_timeout())
        .pragma("cache_size", format!("-{}", storage.cache_kib))
        // Sorting goes on in files where it outgrows the page cache.
        .pragma("temp_store", "FILE");
    let unreadable = |source| AuditError::Unreadable { path: path.clone(), source };
    let mut connection = options.connect().await.map_err(unreadable)?;
    let applied = applied(&mut connection).await.map_err(unreadable)?;
    compare(&path, &applied, &known())?;
    Ok(connection)
}

/// The names of all migrations of this program, oldest first within each set.
fn known() -> Vec<String> {
    let sets = [ShardMigrator::migrations(), MetaMigrator::migrations()];
    let names = sets.iter().flatten().map(|migration| migration.name());
    names.map(str::to_owned).collect()
}

/// The names of the migrations applied to the database.
async fn applied(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let sql = "SELECT COUNT(*) FROM sqlite_schema \
               WHERE type = 'table' AND name IN ('shard_migration', 'meta_migration')";
    let tables: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
    if tables < 2 {
        return Ok(Vec::new());
    }
    let sql = "SELECT version FROM shard_migration UNION ALL SELECT version FROM meta_migration";
    sqlx::query_scalar(sql).fetch_all(connection).await
}

fn compare(path: &Path, applied: &[String], known: &[String]) -> Result<(), AuditError> {
    let path = path.to_owned();
    if let Some(unknown) = applied.iter().find(|name| !known.contains(name)) {
        let unknown = unknown.clone();
        return Err(AuditError::NewerSchema { path, unknown });
    }
    match known.iter().find(|name| !applied.contains(name)) {
        Some(missing) => Err(AuditError::OlderSchema { path, missing: missing.clone() }),
        None => Ok(()),
    }
}

/// A read transaction: everything asked of it sees the same commits.
pub(super) struct Snapshot<'c>(Transaction<'c, Sqlite>);

impl<'c> Snapshot<'c> {
    /// Takes the snapshot.
    pub(super) async fn begin(connection: &'c mut SqliteConnection) -> anyhow::Result<Self> {
        let tx = connection.begin().await;
        Ok(Self(tx.context("no read transaction could be begun")?))
    }

    /// Lets it go.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        Ok(self.0.rollback().await?)
    }

    /// A number that a query answers, never below zero.
    pub(super) async fn count(&mut self, sql: &'static str) -> anyhow::Result<u64> {
        let count: i64 =
            sqlx::query_scalar(sql).fetch_one(&mut *self.0).await.with_context(|| failed(sql))?;
        Ok(u64::try_from(count)?)
    }

    /// Adds every row of a query, one text each, as a violation.
    pub(super) async fn find(
        &mut self,
        sql: &'static str,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        let mut rows = sqlx::query_scalar::<_, String>(sql).fetch(&mut *self.0);
        while let Some(row) = rows.try_next().await.with_context(|| failed(sql))? {
            findings.add(row);
        }
        Ok(())
    }

    /// Hands over every row of a query, one after the other.
    pub(super) async fn each(
        &mut self,
        sql: &'static str,
        mut take: impl FnMut(SqliteRow) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut rows = sqlx::query(sql).fetch(&mut *self.0);
        while let Some(row) = rows.try_next().await.with_context(|| failed(sql))? {
            take(row).with_context(|| failed(sql))?;
        }
        Ok(())
    }

    /// The rows of a query that takes two numbers, for queries that answer a bounded number of
    /// rows.
    pub(super) async fn chunk(
        &mut self,
        sql: &'static str,
        numbers: (i64, i64),
    ) -> anyhow::Result<Vec<SqliteRow>> {
        sqlx::query(sql)
            .bind(numbers.0)
            .bind(numbers.1)
            .fetch_all(&mut *self.0)
            .await
            .with_context(|| failed(sql))
    }
}

fn failed(sql: &str) -> String {
    format!("the database could not be read by the query `{}`", sql.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn schemas_that_are_not_this_programs_are_named() {
        let judge = |applied: &[&str]| {
            let result = compare(Path::new("d/coupon.db"), &names(applied), &names(&["a", "b"]));
            result.map_err(|error| error.to_string())
        };
        assert_eq!(judge(&["b", "a"]), Ok(()));
        assert!(judge(&["a"]).unwrap_err().contains("older than this program (it lacks b), run"));
        assert!(judge(&[]).unwrap_err().contains("it lacks a"));
        // Newer wins: migrating with the older program would be the wrong advice.
        assert!(judge(&["c"]).unwrap_err().contains("newer than this program (it has c), audit"));
    }

    #[test]
    fn both_sets_are_known() {
        let known = known();
        assert!(known.contains(&"shard_0001_initial".to_owned()), "{known:?}");
        assert!(known.contains(&"meta_0001_initial".to_owned()), "{known:?}");
    }
}
