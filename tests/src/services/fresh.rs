//! Databases of one test's own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection,
    mysql::MySqlConnectOptions,
};
use tokio::time::sleep;

use super::{Addresses, address::with_database};

const REPLICA_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// A meta database and shards with names that nobody else uses, empty. They stay until
/// [`drop_all`](Self::drop_all).
#[derive(Debug, Clone)]
pub struct FreshDatabases {
    /// Address of the meta database, which is on the first primary.
    pub meta_url: String,
    /// Addresses of the shards; shard i is on primary i modulo their number.
    pub shard_urls: Vec<String>,
    /// Addresses of the shards on their primaries' replicas; empty = none.
    pub replica_urls: Vec<String>,
    /// Address of a primary, and the databases that were made on it.
    made: Vec<(String, Vec<String>)>,
}

impl FreshDatabases {
    /// Makes the databases and waits until the replicas have them.
    ///
    /// # Errors
    /// When a primary does not answer or its account may not create databases, or a replica does not
    /// follow.
    pub async fn create(addresses: &Addresses, shards: usize) -> anyhow::Result<Self> {
        let primaries = &addresses.mysql_shards;
        ensure!(!primaries.is_empty(), "there is no MySQL primary to make databases on");
        let prefix = format!("coupon_t_{:016x}", rand::random::<u64>());
        let meta = format!("{prefix}_meta");
        let mut made: Vec<_> = primaries.iter().map(|url| (url.clone(), Vec::new())).collect();
        made[0].1.push(meta.clone());
        let (mut shard_urls, mut replica_urls) = (Vec::new(), Vec::new());
        for shard in 0..shards {
            let home = shard % primaries.len();
            let name = format!("{prefix}_{shard}");
            shard_urls.push(with_database(&primaries[home], &name));
            let replica = addresses.mysql_replicas.get(home).filter(|url| !url.is_empty());
            replica_urls.push(replica.map_or_else(String::new, |url| with_database(url, &name)));
            made[home].1.push(name);
        }
        let meta_url = with_database(&primaries[0], &meta);
        let fresh = Self { meta_url, shard_urls, replica_urls, made };
        fresh.make().await?;
        for url in fresh.replica_urls.iter().filter(|url| !url.is_empty()) {
            Box::pin(arrived(url)).await?;
        }
        Ok(fresh)
    }

    async fn make(&self) -> anyhow::Result<()> {
        for (url, names) in self.made.iter().filter(|(_, names)| !names.is_empty()) {
            let mut connection = Box::pin(connect(url)).await?;
            for name in names {
                let statement = format!("CREATE DATABASE {name}");
                execute(&mut connection, statement).await?;
            }
            connection.close().await?;
        }
        Ok(())
    }

    /// Drops the databases. Harmless when they are gone.
    ///
    /// # Errors
    /// When a primary does not answer.
    pub async fn drop_all(&self) -> anyhow::Result<()> {
        for (url, names) in self.made.iter().filter(|(_, names)| !names.is_empty()) {
            let mut connection = Box::pin(connect(url)).await?;
            for name in names {
                execute(&mut connection, format!("DROP DATABASE IF EXISTS {name}")).await?;
            }
            connection.close().await?;
        }
        Ok(())
    }
}

async fn connect(url: &str) -> anyhow::Result<MySqlConnection> {
    let options: MySqlConnectOptions =
        url.parse().with_context(|| format!("{url} is no address of a MySQL database"))?;
    options.connect().await.with_context(|| format!("cannot connect to {}", shown(url)))
}

/// Without account and password.
fn shown(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, server)| server)
}

/// The statement's names are made here alone, of digits and letters.
async fn execute(connection: &mut MySqlConnection, statement: String) -> anyhow::Result<()> {
    let what = statement.clone();
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await;
    done.map(drop).with_context(|| format!("`{what}` failed"))
}

/// Waits until the replica has the database of this address.
async fn arrived(url: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    while let Err(error) = connect(url).await {
        if started.elapsed() > REPLICA_TIMEOUT {
            bail!("{error:#}: the replica does not follow its primary");
        }
        sleep(POLL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("mysql://a:secret@h:1/d"), "h:1/d");
        assert_eq!(shown("mysql://h:1"), "mysql://h:1");
    }
}
