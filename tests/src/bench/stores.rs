//! The processes of the stores and what they cost, found from their addresses.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;

use super::cpu;
use crate::{redis, services::Addresses};

/// Process ids of the stores, as far as they run on this machine.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    /// Of the MySQL primaries that hold the data measured.
    pub mysql: Vec<u32>,
    /// Of the primaries of the Redis Cluster.
    pub redis: Vec<u32>,
    /// Of its replicas.
    pub redis_replicas: Vec<u32>,
    /// Of the Pulsar broker.
    pub pulsar: Vec<u32>,
}

/// CPU time that each kind of process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// The servers.
    pub server: Duration,
    /// MySQL.
    pub mysql: Duration,
    /// Primaries of Redis.
    pub redis: Duration,
    /// Replicas of Redis.
    pub redis_replicas: Duration,
    /// Pulsar.
    pub pulsar: Duration,
    /// This process.
    pub generator: Duration,
}

impl Stores {
    /// Finds the processes that listen on the addresses; `databases` are the MySQL addresses in use.
    ///
    /// # Errors
    /// When the Redis Cluster does not answer, or a process cannot be found.
    pub async fn find(addresses: &Addresses, databases: &[String]) -> anyhow::Result<Self> {
        let mut stores = Self::default();
        for url in databases {
            let pid = mysql_pid(url).with_context(|| format!("no local process of {url}"))?;
            if !stores.mysql.contains(&pid) {
                stores.mysql.push(pid);
            }
        }
        let peers = redis::peers_of_any(&addresses.redis_nodes).await?;
        for node in peers.iter().filter(|peer| !peer.failed) {
            let pid = port_pid(node.port)
                .with_context(|| format!("no local process of redis on port {}", node.port))?;
            let list = if node.primary { &mut stores.redis } else { &mut stores.redis_replicas };
            list.push(pid);
        }
        // A broker elsewhere is no obstacle: its share is then not told.
        let port = addresses.pulsar_url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        stores.pulsar.extend(port.and_then(port_pid));
        Ok(stores)
    }

    /// What has been used so far, also by the processes of the servers and by this one.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn usage(&self, servers: &[u32]) -> anyhow::Result<Usage> {
        Ok(Usage {
            server: sum(servers)?,
            mysql: sum(&self.mysql)?,
            redis: sum(&self.redis)?,
            redis_replicas: sum(&self.redis_replicas)?,
            pulsar: sum(&self.pulsar)?,
            generator: cpu::cpu_time(std::process::id())?,
        })
    }
}

fn sum(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| cpu::cpu_time(*pid)).sum()
}

impl Usage {
    /// What has been used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.zip(earlier, Duration::saturating_sub)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, Duration::saturating_add)
    }

    fn zip(self, other: Self, with: fn(Duration, Duration) -> Duration) -> Self {
        Self {
            server: with(self.server, other.server),
            mysql: with(self.mysql, other.mysql),
            redis: with(self.redis, other.redis),
            redis_replicas: with(self.redis_replicas, other.redis_replicas),
            pulsar: with(self.pulsar, other.pulsar),
            generator: with(self.generator, other.generator),
        }
    }

    /// All stores together.
    pub fn stores(&self) -> Duration {
        self.mysql + self.redis + self.redis_replicas + self.pulsar
    }

    /// In words, in microseconds per operation.
    pub fn told(&self, operations: u64) -> String {
        let each = |time: Duration| micros_each(time, operations);
        format!(
            "CPU-µs per operation: server {:.1}, mysql {:.1}, redis {:.1} (its replicas {:.1}), \
             pulsar {:.1}, generator {:.1}",
            each(self.server),
            each(self.mysql),
            each(self.redis),
            each(self.redis_replicas),
            each(self.pulsar),
            each(self.generator)
        )
    }
}

/// Microseconds per operation.
pub fn micros_each(time: Duration, operations: u64) -> f64 {
    time.as_secs_f64() * 1e6 / (operations as f64).max(1.0)
}

/// The process behind `mysql://user@host:port/...` or `...?socket=PATH`. The port comes first: a server
/// may have bound its socket under a name that is relative to a folder of its own.
pub fn mysql_pid(url: &str) -> Option<u32> {
    let (main, query) = url.split_once('?').unwrap_or((url, ""));
    let authority = main.split_once("://")?.1.split('/').next()?;
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.and_then(port_pid).or_else(|| {
        let path = query.split('&').find_map(|pair| pair.strip_prefix("socket="))?;
        inode_pid(unix_inode(&fs::read_to_string("/proc/net/unix").ok()?, path)?)
    })
}

/// The process of this user that listens on the TCP port.
fn port_pid(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let table = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let inode = tables.iter().find_map(|path| listening_inode(&table(path), port))?;
    inode_pid(inode)
}

/// The socket that listens on the port, in a table of `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let here = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        here.then(|| fields.get(9)?.parse().ok())?
    })
}

/// The socket that listens at the path, in the table of `/proc/net/unix`: accepted connections carry
/// the path too, and may be gone in a moment.
fn unix_inode(table: &str, path: &str) -> Option<u64> {
    const LISTENS: &str = "00010000";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let here = fields.last() == Some(&path) && fields.get(3) == Some(&LISTENS);
        here.then(|| fields.get(6)?.parse().ok())?
    })
}

/// The process that holds the socket open.
fn inode_pid(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let files = fs::read_dir(entry.path().join("fd")).ok()?;
        let holds = |file: fs::DirEntry| {
            fs::read_link(file.path()).is_ok_and(|target| target == Path::new(&wanted))
        };
        files.flatten().any(holds).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::unix::net::{UnixListener, UnixStream},
    };

    use super::*;

    #[test]
    fn the_process_behind_a_port_and_behind_a_socket_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(port_pid(port), Some(std::process::id()));
        let url = format!("mysql://root@127.0.0.1:{port}/base");
        assert_eq!(mysql_pid(&url), Some(std::process::id()));

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sock");
        let _listener = UnixListener::bind(&path).expect("bound");
        let _connection = UnixStream::connect(&path).expect("listens");
        let url = format!("mysql://root@localhost/base?socket={}", path.display());
        assert_eq!(mysql_pid(&url), Some(std::process::id()));
    }

    #[test]
    fn a_port_nobody_listens_on_has_no_process() {
        let table = "  sl  local_address rem_address   st\n   \
            0: 0100007F:1F90 00000000:0000 01 0:0 0:0 0 0 0 77 1\n";
        assert_eq!(listening_inode(table, 0x1f90), None);
        assert_eq!(listening_inode(&table.replace(" 01 ", " 0A "), 0x1f90), Some(77));
    }

    #[test]
    fn usage_is_a_difference_told_per_operation() {
        let ms = Duration::from_millis;
        let earlier = Usage { server: ms(10), mysql: ms(5), ..Usage::default() };
        let later = Usage { server: ms(30), mysql: ms(15), ..Usage::default() };
        let used = later.since(earlier);
        assert_eq!((used.server, used.stores()), (ms(20), ms(10)));
        assert!(used.told(1_000).contains("server 20.0, mysql 10.0"));
    }
}
