//! A server in the test's own process, over real gRPC on an ephemeral port, on a test clock.

pub(crate) mod given;
pub(crate) mod programs;

use std::{
    future::Future,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use coupon_client::{ClientConfig, CouponClient, dev};
use coupon_domain::time::Timestamp;
use coupon_server::{
    app::{self, Running},
    config::Config,
};
use futures::StreamExt as _;
use tempfile::TempDir;

/// When the test clock starts: 2026-01-01T00:00:00Z.
pub(crate) const START_MS: i64 = 1_767_225_600_000;

/// Calls of [`at_once`] under way.
const IN_FLIGHT: usize = 64;

/// Runs all of them, many at once; answers in their order.
pub(crate) async fn at_once<F>(calls: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let calls = futures::stream::iter(calls).map(tokio::spawn).buffered(IN_FLIGHT);
    calls.map(|call| call.expect("no panic")).collect().await
}

/// A running server and a client of it.
pub(crate) struct Harness {
    /// A client.
    pub(crate) client: CouponClient,
    running: Running,
    folder: TempDir,
}

/// The configuration of a server on `folder` and an ephemeral port.
pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.storage.data_dir = folder.to_owned();
    config.stats.fold_interval_ms = 20;
    config
}

/// Long enough for a busy machine; nothing waits for it unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// A client of a server of the tests: patient, because debug builds on a busy machine are slow.
pub(crate) async fn connect(endpoint: String) -> CouponClient {
    let config = ClientConfig { deadline: PATIENCE, ..ClientConfig::new(endpoint) };
    CouponClient::connect(config).await.expect("the server answers")
}

/// Looks again until `look` finds something. Panics when it has not after a minute.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(LOOK);
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        ticks.tick().await;
    }
}

/// Starts a server on an empty folder.
pub(crate) async fn start() -> Harness {
    start_with(|_| {}).await
}

/// Starts a server on an empty folder whose configuration `adjust` has changed.
pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Harness {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = config(folder.path());
    adjust(&mut config);
    start_on(folder, config, START_MS).await
}

/// Starts a server on an empty folder whose test clock stands at another instant.
pub(crate) async fn start_at(clock_ms: i64) -> Harness {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(folder.path());
    start_on(folder, config, clock_ms).await
}

async fn start_on(folder: TempDir, config: Config, clock_ms: i64) -> Harness {
    let clock = Timestamp::from_millis(clock_ms);
    let running = app::start(config, Some(clock)).await.expect("the server starts");
    let client = connect(format!("http://{}", running.addr)).await;
    Harness { client, running, folder }
}

impl Harness {
    /// `http://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.running.addr)
    }

    /// `http://127.0.0.1:PORT` of the metrics, where the configuration has them served.
    pub(crate) fn metrics(&self) -> String {
        format!("http://{}", self.running.metrics_addr.expect("metrics are served"))
    }

    /// The folder that the server keeps its data in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, folder, client } = self;
        drop(client);
        running.stop().await.expect("the server stops");
        let config = config(folder.path());
        start_on(folder, config, START_MS).await
    }

    /// Moves the clock to `ms`; answers how many alarms were handled on the way.
    pub(crate) async fn advance(&self, ms: i64) -> i64 {
        let request = dev::AdvanceClockRequest { to: Some(given::instant(ms)) };
        self.client.advance_clock(request).await.expect("the clock moves").alarms_handled
    }

    /// The server's time in milliseconds.
    pub(crate) async fn now(&self) -> i64 {
        let clock = self.client.get_clock(dev::GetClockRequest {}).await;
        given::millis(clock.expect("the clock").now)
    }

    /// Stops the server; answers its folder.
    pub(crate) async fn stop(self) -> TempDir {
        let Self { running, folder, client } = self;
        drop(client);
        running.stop().await.expect("the server stops");
        folder
    }
}
