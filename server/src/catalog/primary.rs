//! The clocks of the databases, for measuring how far this node's differs. Nothing is decided by them.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};

use super::CatalogError;
use crate::ledger::LedgerError;

/// Wall time in milliseconds since the Unix epoch.
const NOW_MYSQL: &str = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// A database that has a clock of its own.
#[async_trait]
pub trait Primary: Send + Sync {
    /// Which one, for people.
    fn name(&self) -> &str;

    /// Its wall time in milliseconds since the Unix epoch; `None` when it goes by this machine's.
    ///
    /// # Errors
    /// When it cannot be asked.
    async fn wall_millis(&self) -> Result<Option<i64>, CatalogError>;
}

/// A primary behind a connection.
#[derive(Debug, Clone)]
pub struct PrimaryClock {
    name: String,
    db: DatabaseConnection,
}

impl PrimaryClock {
    /// `name` is for people and must not hold a password.
    pub fn new(name: impl Into<String>, db: DatabaseConnection) -> Self {
        Self { name: name.into(), db }
    }
}

#[async_trait]
impl Primary for PrimaryClock {
    fn name(&self) -> &str {
        &self.name
    }

    async fn wall_millis(&self) -> Result<Option<i64>, CatalogError> {
        let backend = self.db.get_database_backend();
        if backend != DbBackend::MySql {
            return Ok(None);
        }
        let row = self.db.query_one_raw(Statement::from_string(backend, NOW_MYSQL)).await?;
        let row = row.ok_or_else(|| LedgerError::Corrupt("a primary tells no time".to_owned()))?;
        Ok(Some(row.try_get_by_index(0)?))
    }
}
