//! The coordinator dtm as a private process with its embedded store, for tests of transactions over
//! several services.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use super::{
    port::Ports,
    program,
    service::{Kind, Launch, Service},
    watchdog::Watchdog,
};
use crate::{dtm::DtmClient, http};

const NAME: &str = "dtm";
const CONFIG: &str = "dtm.yml";
/// Names the program; `cargo xtask test` sets it.
const BINARY_VARIABLE: &str = "COUPON_DTM_BIN";

/// Path of dtm: `COUPON_DTM_BIN`, else `dtm/dtm` in the target folder, where `cargo xtask test` builds
/// it; `None` when it is not built.
///
/// # Errors
/// When the variable names no file.
pub fn dtm_binary() -> anyhow::Result<Option<PathBuf>> {
    if let Some(named) = env::var_os(BINARY_VARIABLE).map(PathBuf::from) {
        ensure!(named.is_file(), "{BINARY_VARIABLE} names {}, which is no file", named.display());
        return Ok(Some(named));
    }
    let built = program::target_dir().join("dtm/dtm");
    Ok(built.is_file().then_some(built))
}

/// Where a transaction stands, as dtm calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its initiator is calling Try.
    Prepared,
    /// To be confirmed.
    Submitted,
    /// Every branch is confirmed.
    Succeed,
    /// To be cancelled.
    Aborting,
    /// Every branch is cancelled.
    Failed,
}

/// A running dtm. Killed when dropped, or when this process ends in any other way.
#[derive(Debug)]
pub struct Coordinator {
    // Dropped in this order: the process first, then its folder.
    _watchdog: Watchdog,
    service: Service,
    _folder: TempDir,
    _ports: Ports,
}

impl Coordinator {
    /// Starts `program` on free ports and an empty store, and waits until it answers. It looks at its
    /// waiting transactions every second. Its ports are open on every interface: it knows no other way.
    ///
    /// # Errors
    /// When it does not answer; the end of its log is in the message.
    pub async fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("coupon-dtm-").tempdir();
        let folder = folder.context("cannot make a temporary folder")?;
        let home = folder.path().canonicalize()?;
        let watchdog = Watchdog::over(&home, true)?;
        let mut ports = Ports::new()?;
        let (grpc, http) = (ports.take()?, ports.take()?);
        let service = service(program, home.join(NAME), grpc, http)?;
        ports.release();
        service.spawn()?;
        service.answers().await?;
        Ok(Self { _watchdog: watchdog, service, _folder: folder, _ports: ports })
    }

    /// Its process, which can be killed and started again with its ports and store.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// A client of it, which survives its restarts.
    ///
    /// # Errors
    /// Never for the address of a running one.
    pub fn client(&self) -> anyhow::Result<DtmClient> {
        client(&self.service)
    }

    /// Where a transaction stands.
    ///
    /// # Errors
    /// When it does not answer, or knows no such transaction.
    pub async fn state(&self, gid: &str) -> anyhow::Result<State> {
        let base = format!("http://127.0.0.1:{}", web_port(&self.service)?);
        let found = http::get(&base, &format!("/api/dtmsvr/query?gid={gid}")).await?;
        let state = State::deserialize(&found["transaction"]["status"]);
        state.with_context(|| format!("dtm knows no transaction {gid}: {found}"))
    }
}

/// The service with its folder and configuration laid out, not running yet.
fn service(program: &Path, folder: PathBuf, grpc: u16, http: u16) -> anyhow::Result<Service> {
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The store is a file in the folder that it works in.
    let config = format!(
        "Store:\n  Driver: boltdb\nGrpcPort: {grpc}\nHttpPort: {http}\nTransCronInterval: 1\n"
    );
    fs::write(folder.join(CONFIG), config).context("cannot write the configuration of dtm")?;
    let args = ["-c", CONFIG].map(str::to_owned).to_vec();
    let launch = Launch { program: program.to_owned(), args };
    Ok(Service::new(NAME, Kind::Dtm, (grpc, vec![http]), folder, launch))
}

fn web_port(service: &Service) -> anyhow::Result<u16> {
    service.more_ports.first().copied().context("dtm has no web port")
}

fn client(service: &Service) -> anyhow::Result<DtmClient> {
    DtmClient::new(&format!("127.0.0.1:{}", service.port))
}

/// Whether it takes transactions.
pub(super) async fn ping(service: &Service) -> anyhow::Result<()> {
    let base = format!("http://127.0.0.1:{}", web_port(service)?);
    http::get(&base, "/api/dtmsvr/version").await?;
    client(service)?.new_gid().await.context("it hands out no id")?;
    Ok(())
}
