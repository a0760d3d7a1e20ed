//! `state.json`: what is needed to find, judge and restart the services of a folder later. Process
//! ids stand in a file `pid` in each service's folder, because restarts change them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::{
    Addresses, Services,
    port::Ports,
    service::{Kind, Launch, Service},
};

const FILE: &str = "state.json";
/// Raised when the file changes in a way that older programs cannot read.
const VERSION: u32 = 1;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    addresses: Addresses,
    services: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    name: String,
    kind: Kind,
    port: u16,
    more_ports: Vec<u16>,
    launch: Launch,
}

impl State {
    pub(super) fn of(services: &Services) -> Self {
        let entry = |service: &Service| Entry {
            name: service.name.clone(),
            kind: service.kind,
            port: service.port,
            more_ports: service.more_ports.clone(),
            launch: service.launch.clone(),
        };
        Self {
            version: VERSION,
            addresses: services.addresses.clone(),
            services: services.all().map(entry).collect(),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("cannot write the state")?;
        let path = folder.join(FILE);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("no services are kept in {}: run `cargo xtask services up`", folder.display())
        })?;
        let state: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not readable: remove its folder", path.display()))?;
        if state.version != VERSION {
            bail!(
                "{} is of version {}, this program knows {VERSION}: stop those services with the \
                 program that started them",
                path.display(),
                state.version
            );
        }
        Ok(state)
    }

    pub(super) fn into_services(self, folder: PathBuf) -> anyhow::Result<Services> {
        let (mut mysql, mut redis, mut replica, mut pulsar) = (Vec::new(), Vec::new(), None, None);
        for entry in self.services {
            let home = folder.join(&entry.name);
            let ports = (entry.port, entry.more_ports);
            let service = Service::new(entry.name, entry.kind, ports, home, entry.launch);
            match entry.kind {
                Kind::Mysql => mysql.push(service),
                Kind::Replica => replica = Some(service),
                Kind::Redis => redis.push(service),
                Kind::Pulsar => pulsar = Some(service),
                Kind::Dtm => bail!("{} is no part of a set", service.name),
            }
        }
        Ok(Services {
            watchdog: None,
            mysql,
            replica: replica.context("the state names no replica")?,
            redis,
            pulsar: pulsar.context("the state names no broker")?,
            addresses: self.addresses,
            folder,
            temporary: None,
            _ports: Ports::of_others(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let entry = |name: &str, kind, port| Entry {
            name: name.into(),
            kind,
            port,
            more_ports: vec![port + 1],
            launch: Launch { program: "/bin/false".into(), args: vec!["-a".into()] },
        };
        State {
            version: VERSION,
            addresses: Addresses {
                mysql_shards: vec!["mysql://a:1".into(), "mysql://a:2".into()],
                mysql_replicas: vec![String::new(); 2],
                redis_nodes: vec!["a:3".into()],
                pulsar_url: "pulsar://a:4".into(),
                pulsar_admin_url: "http://a:5".into(),
            },
            services: vec![
                entry("mysql-0", Kind::Mysql, 10),
                entry("mysql-0-replica", Kind::Replica, 20),
                entry("redis-0", Kind::Redis, 30),
                entry("pulsar", Kind::Pulsar, 40),
            ],
        }
    }

    #[test]
    fn what_was_started_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        state().write(folder.path()).unwrap();
        let services = Services::open(folder.path()).unwrap();
        assert_eq!(State::of(&services), state());
        assert_eq!(services.pulsar().more_ports, [41]);
        assert!(services.all().all(|service| !service.is_alive()));
    }

    #[test]
    fn a_folder_without_services_is_told_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("gone")] {
            let error = Services::open(&path).unwrap_err().to_string();
            assert!(error.contains("cargo xtask services up"), "{error}");
        }
    }

    #[test]
    fn a_state_of_another_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        State { version: VERSION + 1, ..state() }.write(folder.path()).unwrap();
        assert!(Services::open(folder.path()).is_err());
    }
}
