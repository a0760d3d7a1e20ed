//! The distributed databases: one MySQL primary per shard, and meta.

use anyhow::bail;

use super::Databases;
use crate::config::MysqlConfig;

/// Opens meta and every shard.
///
/// # Errors
/// One plain sentence that names the database and the remedy.
pub async fn open(config: &MysqlConfig) -> anyhow::Result<Databases> {
    bail!("{} cannot be opened yet", crate::config::redact::url(&config.meta_url))
}

/// Checks that the schema is up to date and that the servers lose nothing.
///
/// # Errors
/// One plain sentence that names the database and the remedy.
pub async fn prepare(config: &MysqlConfig, _databases: &Databases) -> anyhow::Result<()> {
    bail!("{} cannot be prepared yet", crate::config::redact::url(&config.meta_url))
}
