//! Where the services are, for everybody who uses them.

use std::env;

use anyhow::bail;
use serde::{Deserialize, Serialize};

const SHARDS: &str = "COUPON_TEST_MYSQL_SHARDS";
const REPLICAS: &str = "COUPON_TEST_MYSQL_REPLICAS";
const NODES: &str = "COUPON_TEST_REDIS_NODES";
const PULSAR: &str = "COUPON_TEST_PULSAR_URL";
const ADMIN: &str = "COUPON_TEST_PULSAR_ADMIN";

/// Addresses of the stores that tests, demo and replay use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Primaries, `mysql://user@host:port` or with `?socket=/path`, without a database's name, of an
    /// account that may create databases. At least two.
    pub mysql_shards: Vec<String>,
    /// Read replicas in the order of the primaries; empty = none.
    pub mysql_replicas: Vec<String>,
    /// Nodes of the Redis Cluster, `host:port`.
    pub redis_nodes: Vec<String>,
    /// The broker, `pulsar://host:port`.
    pub pulsar_url: String,
    /// The broker's web service, `http://host:port`.
    pub pulsar_admin_url: String,
}

impl Addresses {
    /// The addresses in `COUPON_TEST_*`.
    ///
    /// # Errors
    /// When one is missing or malformed; says which, and how to get services.
    pub fn from_env() -> anyhow::Result<Self> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let need = |name: &str| match lookup(name).filter(|value| !value.trim().is_empty()) {
            Some(value) => Ok(value),
            None => bail!(
                "{name} is not set: run the tests with `cargo xtask test`, or start services with \
                 `cargo xtask services up` and set what it prints"
            ),
        };
        let mysql_shards = list(&need(SHARDS)?);
        let mut mysql_replicas = list(&lookup(REPLICAS).unwrap_or_default());
        mysql_replicas.resize(mysql_shards.len().max(mysql_replicas.len()), String::new());
        let found = Self {
            mysql_shards,
            mysql_replicas,
            redis_nodes: list(&need(NODES)?),
            pulsar_url: need(PULSAR)?.trim().to_owned(),
            pulsar_admin_url: need(ADMIN)?.trim().trim_end_matches('/').to_owned(),
        };
        found.check()?;
        Ok(found)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.mysql_shards.len() < 2 {
            bail!("{SHARDS} names one primary, the tests need two");
        }
        if self.mysql_replicas.len() > self.mysql_shards.len() {
            bail!("{REPLICAS} names more replicas than {SHARDS} has primaries");
        }
        let replicas = self.mysql_replicas.iter().filter(|url| !url.is_empty());
        for url in self.mysql_shards.iter().chain(replicas) {
            if !url.starts_with("mysql://") {
                bail!("{SHARDS} and {REPLICAS} hold addresses of the form mysql://user@host:port");
            }
        }
        for node in &self.redis_nodes {
            if node.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                bail!("{NODES}: {node} is not of the form host:port");
            }
        }
        Ok(())
    }

    /// The environment that leads to these services, as name and value.
    pub fn to_env(&self) -> [(&'static str, String); 5] {
        [
            (SHARDS, self.mysql_shards.join(",")),
            (REPLICAS, self.mysql_replicas.join(",")),
            (NODES, self.redis_nodes.join(",")),
            (PULSAR, self.pulsar_url.clone()),
            (ADMIN, self.pulsar_admin_url.clone()),
        ]
    }

    /// The same services without unix sockets: what goes through a proxy, or wants the network's ways
    /// of failing, needs TCP.
    #[must_use]
    pub fn over_tcp(&self) -> Self {
        let tcp = |urls: &[String]| urls.iter().map(|url| without_socket(url)).collect();
        Self {
            mysql_shards: tcp(&self.mysql_shards),
            mysql_replicas: tcp(&self.mysql_replicas),
            ..self.clone()
        }
    }
}

fn list(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|entry| entry.trim().to_owned()).collect()
}

/// The address with the name of a database put in, before its parameters.
pub(super) fn with_database(url: &str, database: &str) -> String {
    match url.split_once('?') {
        Some((server, parameters)) => {
            format!("{}/{database}?{parameters}", server.trim_end_matches('/'))
        }
        None => format!("{}/{database}", url.trim_end_matches('/')),
    }
}

fn without_socket(url: &str) -> String {
    let Some((server, parameters)) = url.split_once('?') else {
        return url.to_owned();
    };
    let kept: Vec<_> = parameters.split('&').filter(|p| !p.starts_with("socket=")).collect();
    if kept.is_empty() { server.to_owned() } else { format!("{server}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            mysql_shards: vec![
                "mysql://root@127.0.0.1:1?socket=/a/b.sock".into(),
                "mysql://root@127.0.0.1:2".into(),
            ],
            mysql_replicas: vec!["mysql://root@127.0.0.1:3".into(), String::new()],
            redis_nodes: vec!["127.0.0.1:4".into(), "127.0.0.1:5".into()],
            pulsar_url: "pulsar://127.0.0.1:6".into(),
            pulsar_admin_url: "http://127.0.0.1:7".into(),
        }
    }

    fn read(pairs: &[(&str, String)]) -> anyhow::Result<Addresses> {
        Addresses::from_lookup(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn what_is_exported_is_what_is_read() {
        assert_eq!(read(&addresses().to_env()).unwrap(), addresses());
    }

    #[test]
    fn without_replicas_every_primary_has_none() {
        let mut pairs = addresses().to_env().to_vec();
        pairs.retain(|(name, _)| *name != REPLICAS);
        assert_eq!(read(&pairs).unwrap().mysql_replicas, ["", ""]);
    }

    #[test]
    fn a_missing_one_is_named_with_the_remedy() {
        for missing in [SHARDS, NODES, PULSAR, ADMIN] {
            let mut pairs = addresses().to_env().to_vec();
            pairs.retain(|(name, _)| *name != missing);
            let error = read(&pairs).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
            assert!(error.contains("cargo xtask services up"), "{error}");
        }
    }

    #[test]
    fn malformed_ones_are_refused() {
        let with = |name: &str, value: &str| {
            let mut pairs = addresses().to_env();
            for pair in &mut pairs {
                if pair.0 == name {
                    pair.1 = value.to_owned();
                }
            }
            read(&pairs)
        };
        assert!(with(SHARDS, "mysql://root@127.0.0.1:1").is_err());
        assert!(with(SHARDS, "mysql://a:1,127.0.0.1:2").is_err());
        assert!(with(REPLICAS, "mysql://a:1,,mysql://a:2").is_err());
        assert!(with(NODES, "127.0.0.1").is_err());
    }

    #[test]
    fn a_database_goes_before_the_parameters() {
        assert_eq!(with_database("mysql://r@h:1", "d"), "mysql://r@h:1/d");
        assert_eq!(with_database("mysql://r@h:1/", "d"), "mysql://r@h:1/d");
        assert_eq!(with_database("mysql://r@h:1?socket=/s", "d"), "mysql://r@h:1/d?socket=/s");
    }

    #[test]
    fn sockets_can_be_left_out() {
        assert_eq!(addresses().over_tcp().mysql_shards[0], "mysql://root@127.0.0.1:1");
        assert_eq!(without_socket("mysql://h?a=1&socket=/s&b=2"), "mysql://h?a=1&b=2");
    }
}
