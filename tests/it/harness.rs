//! A server in the test's own process, over real gRPC on an ephemeral port, on a test clock.

use std::{net::SocketAddr, path::Path};

use coupon_client::{ClientConfig, CouponClient};
use coupon_domain::time::Timestamp;
use coupon_server::{
    app::{self, Running},
    config::Config,
};
use tempfile::TempDir;

/// When the test clock starts: 2026-01-01T00:00:00Z.
pub const START_MS: i64 = 1_767_225_600_000;

/// A running server and a client of it.
pub struct Harness {
    /// A client.
    pub client: CouponClient,
    running: Running,
    folder: TempDir,
}

/// The configuration of a server on `folder` and an ephemeral port.
pub fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.storage.data_dir = folder.to_owned();
    config.stats.fold_interval_ms = 20;
    config
}

/// Starts a server on an empty folder.
pub async fn start() -> Harness {
    start_with(|_| {}).await
}

/// Starts a server on an empty folder whose configuration `adjust` has changed.
pub async fn start_with(adjust: impl FnOnce(&mut Config)) -> Harness {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = config(folder.path());
    adjust(&mut config);
    start_on(folder, config).await
}

async fn start_on(folder: TempDir, config: Config) -> Harness {
    let clock = Timestamp::from_millis(START_MS);
    let running = app::start(config, Some(clock)).await.expect("the server starts");
    let endpoint = format!("http://{}", running.addr);
    let client = CouponClient::connect(ClientConfig::new(endpoint)).await.expect("it answers");
    Harness { client, running, folder }
}

impl Harness {
    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.running.addr)
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server and starts it again on the same folder.
    pub async fn restart(self) -> Self {
        let Self { running, folder, client } = self;
        drop(client);
        running.stop().await.expect("the server stops");
        let config = config(folder.path());
        start_on(folder, config).await
    }

    /// Stops the server; answers its folder.
    pub async fn stop(self) -> TempDir {
        let Self { running, folder, client } = self;
        drop(client);
        running.stop().await.expect("the server stops");
        folder
    }
}
