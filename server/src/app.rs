//! The composition root: builds the platform, starts it, drains it.

mod health;
mod platform;
mod signals;
mod workers;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use coupon_domain::time::Timestamp;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

use self::{
    platform::{Platform, build, recover},
    workers::Workers,
};
use crate::{
    alarm::AlarmQueue,
    backend,
    clock::ClockDriver,
    config::{BackendKind, Config},
    data_dir::DataDir,
    policy, rpc,
    serving::Serving,
    telemetry::metrics,
    worker::clock_driver::TestClock,
};

/// How long the alarm queue may take to say goodbye.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A server that serves.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where metrics are served, if they are.
    pub metrics_addr: Option<SocketAddr>,
    health: HealthReporter,
    stop_listening: CancellationToken,
    stop_workers: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    workers: JoinSet<()>,
    drain_notice: Duration,
    drain_max: Duration,
    alarms: Arc<dyn AlarmQueue>,
    /// Held for as long as the server runs: nobody else uses the folder.
    _data_dir: Option<DataDir>,
}

/// Builds and starts a server.
///
/// # Errors
/// One plain sentence with the remedy: the data folder, the database, the port.
pub async fn start(config: Config, test_clock: Option<Timestamp>) -> anyhow::Result<Running> {
    let data_dir = data_dir(&config)?;
    let incoming = listen(&config)?;
    let metrics_listener = match config.metrics.listen {
        Some(addr) => Some(metrics::listen(addr).await?),
        None => None,
    };
    let metrics_addr = metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let addr = incoming.local_addr().context("the listener has no address")?;
    let databases = backend::open(&config).await?;
    backend::prepare(&config, &databases).await?;
    let config = Arc::new(config);
    let serving = Arc::new(Serving::default());
    let mut platform = build(&config, &databases, test_clock).await?;
    recover(&platform).await?;

    let stop_workers = CancellationToken::new();
    let mut tasks = JoinSet::new();
    if let Some(listener) = metrics_listener {
        let metrics = Arc::clone(&platform.usecases.metrics);
        tasks.spawn(metrics::serve(listener, metrics, stop_workers.clone()));
    }
    let loops = Workers { tasks: &mut tasks, stop: &stop_workers, serving: &serving };
    loops.start(&mut platform, backend::primaries(&config, &databases)).await;
    if let Some(checkpoint) = databases.checkpoint {
        let interval = config.storage.checkpoint_interval();
        tasks.spawn(backend::checkpoint::run(checkpoint, interval, stop_workers.clone()));
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    tasks.spawn(health::run(health.clone(), Arc::clone(&serving), stop_workers.clone()));
    let stop_listening = CancellationToken::new();
    let server = &config.server;
    let alarms = Arc::clone(&platform.handler.queue);
    let routes = if config.backend.role.serves() { api(platform)? } else { Routes::default() };
    let serving = tonic::transport::Server::builder()
        .max_concurrent_streams(server.concurrent_streams_max)
        .http2_keepalive_interval(Some(Duration::from_secs(server.keepalive_interval_s)))
        .http2_keepalive_timeout(Some(Duration::from_secs(server.keepalive_timeout_s)))
        .layer(policy::stack(&config, serving))
        .add_routes(routes)
        .add_service(health_service)
        .serve_with_incoming_shutdown(incoming, stop_listening.clone().cancelled_owned());
    Ok(Running {
        addr,
        metrics_addr,
        health,
        stop_listening,
        stop_workers,
        serving: tokio::spawn(serving),
        workers: tasks,
        drain_notice: Duration::from_millis(server.drain_notice_ms),
        drain_max: Duration::from_millis(server.drain_max_ms),
        alarms,
        _data_dir: data_dir,
    })
}

/// The embedded back end's folder, which one server uses at a time.
fn data_dir(config: &Config) -> anyhow::Result<Option<DataDir>> {
    match config.backend.kind {
        BackendKind::Embedded => Ok(Some(DataDir::open(&config.storage.data_dir)?)),
        BackendKind::Distributed => Ok(None),
    }
}

/// The services of the API, with the test clock when there is one.
fn api(platform: Platform) -> anyhow::Result<Routes> {
    let Platform { usecases, handler, test_clock, .. } = platform;
    let catalog = Arc::clone(&usecases.catalog);
    let driver = test_clock
        .map(|clock| Arc::new(TestClock::new(clock, handler, catalog)) as Arc<dyn ClockDriver>);
    rpc::routes(usecases, driver).context("the API's descriptors are broken")
}

fn listen(config: &Config) -> anyhow::Result<TcpIncoming> {
    let addr = config.server.listen;
    let incoming = TcpIncoming::bind(addr).with_context(|| {
        format!("cannot listen on {addr}: stop the program that uses the port, or choose another --listen")
    })?;
    Ok(incoming.with_nodelay(Some(true)))
}

impl Running {
    /// Stops: health says NOT_SERVING first, then the listener closes, calls in flight end inside
    /// the bound, then the loops stop.
    ///
    /// # Errors
    /// When serving had failed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.health.set_service_status("", ServingStatus::NotServing).await;
        tokio::time::sleep(self.drain_notice).await;
        self.stop_listening.cancel();
        let drained = tokio::time::timeout(self.drain_max, &mut self.serving).await;
        if drained.is_err() {
            tracing::warn!(drain_max = ?self.drain_max, "calls in flight were cut off");
            self.serving.abort();
        }
        self.stop_workers.cancel();
        let joined = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain_max, joined).await.is_err() {
            tracing::warn!("background loops were cut off");
            self.workers.abort_all();
        }
        if tokio::time::timeout(CLOSE_MAX, self.alarms.close()).await.is_err() {
            tracing::warn!("the alarm queue does not answer, it was left open");
        }
        match drained {
            Ok(Ok(served)) => served.context("serving failed"),
            Ok(Err(error)) => Err(error).context("serving failed"),
            Err(_) => Ok(()),
        }
    }
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// One plain sentence with the remedy.
pub async fn serve(config: Config, test_clock: Option<Timestamp>) -> anyhow::Result<()> {
    let mut running = start(config, test_clock).await?;
    // Before the announcement: whoever reads it may want to stop the server at once.
    let signals = signals::catch();
    announce(&running);
    tokio::select! {
        () = signals::wait(signals) => tracing::info!("stopping"),
        ended = &mut running.serving => {
            ended.context("serving failed")?.context("serving failed")?;
            return Ok(());
        }
    }
    running.stop().await
}

/// Tells whoever started the process where it listens.
#[expect(clippy::print_stdout, reason = "the line is the interface to scripts and tests")]
fn announce(running: &Running) {
    let addr = running.addr;
    println!("listening on {addr}");
    if let Some(addr) = running.metrics_addr {
        println!("metrics on http://{addr}/metrics");
    }
    tracing::info!(%addr, "serving");
}

/// Brings the schema up to date; answers the migrations applied.
///
/// # Errors
/// One plain sentence with the remedy.
pub async fn migrate(config: &Config) -> anyhow::Result<Vec<String>> {
    let _data_dir = data_dir(config)?;
    let databases = backend::open(config).await?;
    backend::migrate(&databases).await
}
