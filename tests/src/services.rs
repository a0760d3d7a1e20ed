//! The stores of the distributed back end as private processes: MariaDB primaries with a replica, a
//! Redis Cluster and a Pulsar broker, on free ports and in a folder of their own. For tests, for
//! tests of broken days, which kill and freeze them, and for `coupon-services`.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

mod address;
mod dtm;
mod fresh;
mod mariadb;
mod port;
mod program;
mod pulsar;
mod redis;
mod service;
mod state;
mod watchdog;

pub use self::{
    address::Addresses,
    dtm::{Coordinator, State as TransactionState, dtm_binary},
    fresh::FreshDatabases,
    service::{Kind, Service},
};
use self::{port::Ports, state::State, watchdog::Watchdog};

/// Primaries of MariaDB.
const PRIMARIES: usize = 2;
/// Times a set in a temporary folder is started before the failure is told.
const START_ATTEMPTS: u32 = 3;

/// Told about every step of a start.
pub type Listener = Arc<dyn Fn(Step<'_>) + Send + Sync>;

/// A step of a start.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// Work on the service of this name goes on, with what.
    Doing(&'a str, &'a str),
    /// The service of this name answers.
    Up(&'a str),
}

/// How to start the services.
#[derive(Clone, Default)]
pub struct Options {
    /// Where they keep their data; must be empty or not there. `None` = a temporary folder, removed at
    /// the end.
    pub folder: Option<PathBuf>,
    /// Where the broker's jars are kept; `None` = `services/` in the target folder.
    pub cache: Option<PathBuf>,
    /// Told about every step.
    pub listener: Option<Listener>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("folder", &self.folder)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl Options {
    fn tell(&self, step: Step<'_>) {
        if let Some(listener) = &self.listener {
            listener(step);
        }
    }
}

/// A set of running services. Killed when dropped, or when this process ends in any other way,
/// unless it was [detached](Self::detach).
#[derive(Debug)]
pub struct Services {
    // Dropped in this order: the processes first, then their folder. `None` = they run on.
    watchdog: Option<Watchdog>,
    mysql: Vec<Service>,
    replica: Service,
    redis: Vec<Service>,
    pulsar: Service,
    addresses: Addresses,
    folder: PathBuf,
    temporary: Option<TempDir>,
    _ports: Ports,
}

impl Services {
    /// Starts all of them, as far as possible side by side, and waits until each answers. The first
    /// start on a machine fetches the broker through Maven, which takes a minute or two.
    ///
    /// # Errors
    /// When a program is missing, a service does not come up (the end of its log is in the message) or
    /// the folder is in use. Nothing is left running then.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        // Between choosing a port and listening on it another program may take it. A folder of the
        // caller's own is not started in twice: what is in it may be wanted.
        let attempts = if options.folder.is_some() { 1 } else { START_ATTEMPTS };
        for _ in 1..attempts {
            match Box::pin(Self::start_once(&options)).await {
                Ok(services) => return Ok(services),
                Err(error) => eprintln!("the services did not start, once more: {error:#}"),
            }
        }
        Box::pin(Self::start_once(&options)).await
    }

    async fn start_once(options: &Options) -> anyhow::Result<Self> {
        let (folder, temporary) = make_folder(options.folder.as_deref())?;
        let watchdog = Watchdog::over(&folder, temporary.is_some())?;
        let mut ports = Ports::new()?;
        let primaries: Vec<_> = (0..PRIMARIES)
            .map(|index| mariadb::primary(&folder, index, ports.take()?))
            .collect::<anyhow::Result<_>>()?;
        let replica = mariadb::replica(&folder, ports.take()?)?;
        let nodes = redis::nodes(&folder, &mut ports)?;
        let broker = pulsar::broker(&folder, &mut ports)?;
        ports.release();

        let (mysql, redis, pulsar) = tokio::try_join!(
            Box::pin(mariadb::start(primaries, replica, options)),
            Box::pin(redis::start(nodes, options)),
            Box::pin(pulsar::start(broker, options)),
        )?;
        let (mysql, replica) = mysql;
        let addresses = Addresses {
            mysql_shards: mysql.iter().map(mariadb::url).collect(),
            // The first primary has the replica.
            mysql_replicas: std::iter::once(mariadb::url(&replica))
                .chain((1..PRIMARIES).map(|_| String::new()))
                .collect(),
            redis_nodes: redis.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect(),
            pulsar_url: format!("pulsar://127.0.0.1:{}", pulsar.port),
            pulsar_admin_url: pulsar::admin_url(&pulsar)?,
        };
        let watchdog = Some(watchdog);
        let services = Self {
            watchdog,
            mysql,
            replica,
            redis,
            pulsar,
            addresses,
            folder,
            temporary,
            _ports: ports,
        };
        State::of(&services).write(&services.folder)?;
        Ok(services)
    }

    /// The set that was started in this folder and detached, whether its processes are alive or not.
    /// Dropping it stops nothing.
    ///
    /// # Errors
    /// When no set was started there, or its state cannot be read.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().with_context(|| {
            format!(
                "no services have been started in {}: run `cargo xtask services up`",
                folder.display()
            )
        })?;
        State::read(&folder)?.into_services(folder)
    }

    /// Where they are.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The folder that holds their data and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A primary of MariaDB: 0, which has the replica, or 1.
    ///
    /// # Panics
    /// When there is no such primary.
    pub fn mysql(&self, index: usize) -> &Service {
        &self.mysql[index]
    }

    /// The read replica of primary 0.
    pub fn replica(&self) -> &Service {
        &self.replica
    }

    /// A node of the Redis Cluster: 0 to 2 started as primaries, 3 to 5 as replicas.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn redis(&self, index: usize) -> &Service {
        &self.redis[index]
    }

    /// Number of nodes of the Redis Cluster.
    pub fn redis_len(&self) -> usize {
        self.redis.len()
    }

    /// The broker.
    pub fn pulsar(&self) -> &Service {
        &self.pulsar
    }

    /// Every service: primaries, replica, Redis nodes, broker.
    pub fn all(&self) -> impl Iterator<Item = &Service> {
        let mysql = self.mysql.iter().chain([&self.replica]);
        mysql.chain(&self.redis).chain([&self.pulsar])
    }

    /// Starts whatever is dead, with its port and data, and thaws whatever is frozen.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn mend(&self) -> anyhow::Result<()> {
        for service in self.all() {
            if service.is_alive() {
                service.resume()?;
            } else {
                Box::pin(service.restart()).await?;
            }
        }
        Ok(())
    }

    /// Lets them run on when this is dropped and when this process ends.
    ///
    /// # Errors
    /// When their folder is a temporary one that cannot be kept.
    pub fn detach(mut self) -> anyhow::Result<()> {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss()?;
        }
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
        Ok(())
    }

    /// Ends every process and removes the folder, also of a detached set.
    ///
    /// # Errors
    /// When a process cannot be killed or the folder not be removed.
    pub async fn remove(self) -> anyhow::Result<()> {
        for service in self.all() {
            service.kill().await?;
        }
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("cannot remove {}", self.folder.display()))
    }
}

/// The folder, made and empty, with its symbolic links resolved.
fn make_folder(wanted: Option<&Path>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    let Some(wanted) = wanted else {
        let temporary = tempfile::Builder::new().prefix("coupon-svc-").tempdir();
        let temporary = temporary.context("cannot make a temporary folder")?;
        return Ok((temporary.path().canonicalize()?, Some(temporary)));
    };
    fs::create_dir_all(wanted).with_context(|| format!("cannot make {}", wanted.display()))?;
    let others = fs::read_dir(wanted)?.filter_map(Result::ok).find(|e| e.file_name() != LOCK);
    if let Some(other) = others {
        bail!(
            "{} is not empty ({} is there): run `cargo xtask services down`, or name another folder",
            wanted.display(),
            other.file_name().display()
        );
    }
    Ok((wanted.canonicalize()?, None))
}

const LOCK: &str = "lock";

/// Keeps others from starting or stopping services in this folder for as long as it is held.
///
/// # Errors
/// When somebody else is at it.
pub fn lock_folder(folder: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(LOCK);
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("another coupon-services is at work in {}: wait until it is done", folder.display());
    }
    Ok(file)
}

/// Where `coupon-services up` keeps a set: `services/run` in the target folder.
pub fn default_folder() -> PathBuf {
    program::target_dir().join("services/run")
}
