//! The composition root: builds the platform, starts it, drains it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use coupon_domain::time::Timestamp;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    alarm::AlarmQueue,
    backend::{self, Databases},
    catalog::Catalog,
    clock::{Clock, ClockDriver, ManualClock, WallClock},
    config::Config,
    data_dir::DataDir,
    gate::{
        Gate,
        loader::{self, GateLoader},
    },
    ledger::{AlarmBell, Ledger, TemplateSource, sql::Neighbours},
    mint::Mint,
    policy, rpc,
    usecase::UseCases,
    worker::{
        alarms::AlarmHandler, clock_driver::TestClock, folding, lease, relay::Relay, retention,
        sweeper,
    },
};

/// The one node of the embedded back end.
const NODE: u8 = 0;
/// Templates looked at in one step at the start.
const START_TEMPLATES: u64 = 200;

/// A server that serves.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    health: HealthReporter,
    stop_listening: CancellationToken,
    stop_workers: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    workers: JoinSet<()>,
    drain_notice: Duration,
    drain_max: Duration,
    /// Held for as long as the server runs: nobody else uses the folder.
    _data_dir: DataDir,
}

/// What the platform is built of, before it serves.
struct Platform {
    usecases: Arc<UseCases>,
    handler: Arc<AlarmHandler>,
    test_clock: Option<Arc<ManualClock>>,
    requests: tokio::sync::mpsc::Receiver<Arc<coupon_domain::template::Template>>,
}

/// Builds and starts a server.
///
/// # Errors
/// One plain sentence with the remedy: the data folder, the database, the port.
pub async fn start(config: Config, test_clock: Option<Timestamp>) -> anyhow::Result<Running> {
    let data_dir = DataDir::open(&config.storage.data_dir)?;
    let incoming = listen(&config)?;
    let addr = incoming.local_addr().context("the listener has no address")?;
    let databases = backend::open(&config).await?;
    backend::migrate(&databases).await?;
    let config = Arc::new(config);
    let platform = build(&config, &databases, test_clock).await?;
    recover(&platform).await?;

    let stop_workers = CancellationToken::new();
    let mut workers = JoinSet::new();
    let Platform { usecases, handler, test_clock, requests } = platform;
    let catalog = Arc::clone(&usecases.catalog);
    let driver = test_clock.map(|clock| {
        Arc::new(TestClock::new(clock, Arc::clone(&handler), catalog)) as Arc<dyn ClockDriver>
    });
    spawn_workers(&mut workers, &usecases, &handler, requests, driver.is_none(), &stop_workers);
    if let Some(checkpoint) = databases.checkpoint {
        let interval = config.storage.checkpoint_interval();
        workers.spawn(backend::checkpoint::run(checkpoint, interval, stop_workers.clone()));
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", ServingStatus::Serving).await;
    let stop_listening = CancellationToken::new();
    let server = &config.server;
    let serving = tonic::transport::Server::builder()
        .max_concurrent_streams(server.concurrent_streams_max)
        .http2_keepalive_interval(Some(Duration::from_secs(server.keepalive_interval_s)))
        .http2_keepalive_timeout(Some(Duration::from_secs(server.keepalive_timeout_s)))
        .layer(policy::stack(server))
        .add_routes(rpc::routes(usecases, driver).context("the API's descriptors are broken")?)
        .add_service(health_service)
        .serve_with_incoming_shutdown(incoming, stop_listening.clone().cancelled_owned());
    Ok(Running {
        addr,
        health,
        stop_listening,
        stop_workers,
        serving: tokio::spawn(serving),
        workers,
        drain_notice: Duration::from_millis(server.drain_notice_ms),
        drain_max: Duration::from_millis(server.drain_max_ms),
        _data_dir: data_dir,
    })
}

fn listen(config: &Config) -> anyhow::Result<TcpIncoming> {
    let addr = config.server.listen;
    let incoming = TcpIncoming::bind(addr).with_context(|| {
        format!("cannot listen on {addr}: stop the program that uses the port, or choose another --listen")
    })?;
    Ok(incoming.with_nodelay(Some(true)))
}

async fn build(
    config: &Arc<Config>,
    databases: &Databases,
    test_clock: Option<Timestamp>,
) -> anyhow::Result<Platform> {
    let ttl = Duration::from_secs(config.templates.cache_ttl_s);
    let entries = config.templates.cache_entries_max;
    let catalog = Arc::new(Catalog::new(databases.meta.clone(), entries, ttl));
    let test_clock = place_test_clock(&catalog, test_clock).await?;
    let clock: Arc<dyn Clock> = match &test_clock {
        Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
        None => Arc::new(WallClock::default()),
    };
    let mint = Arc::new(open_mint(&catalog, databases).await?);
    let (gate, settle) = backend::gate_ports(&backend::gate(config));
    let hop_max = Duration::from_secs(config.alarms.hop_max_s);
    let relay = Arc::new(Relay::new(Arc::clone(&clock), hop_max));
    let neighbours = Neighbours {
        mint: Arc::clone(&mint),
        templates: Arc::clone(&catalog) as Arc<dyn TemplateSource>,
        settle,
        bell: Arc::clone(&relay) as Arc<dyn AlarmBell>,
    };
    let ledger = backend::ledger(config, databases.shards.clone(), &neighbours);
    let queue = backend::alarms(Arc::clone(&clock));
    let (loader, requests) = GateLoader::new();
    let handler = Arc::new(AlarmHandler {
        ledger: Arc::clone(&ledger),
        queue,
        relay,
        clock: Arc::clone(&clock),
        chunk_rows: config.alarms.sweep_chunk_rows,
    });
    let config = Arc::clone(config);
    let usecases = Arc::new(UseCases { catalog, ledger, gate, clock, mint, loader, config });
    Ok(Platform { usecases, handler, test_clock, requests })
}

/// The test clock: at the time asked for, or where it stood when the folder was last used. A folder
/// that has lived under a test clock is never served by the wall clock.
async fn place_test_clock(
    catalog: &Catalog,
    wanted: Option<Timestamp>,
) -> anyhow::Result<Option<Arc<ManualClock>>> {
    let kept = catalog.test_clock().await.context("cannot read the test clock")?;
    let now = match (wanted, kept) {
        (None, None) => return Ok(None),
        (None, Some(kept)) => bail!(
            "the data folder belongs to a test clock, which stands at {kept}; \
             start with --test-clock, or choose another --data-dir"
        ),
        (Some(wanted), kept) => kept.map_or(wanted, |kept| kept.max(wanted)),
    };
    catalog.keep_test_clock(now).await.context("cannot keep the test clock")?;
    Ok(Some(Arc::new(ManualClock::new(now))))
}

async fn open_mint(catalog: &Catalog, databases: &Databases) -> anyhow::Result<Mint> {
    let used_until = catalog.minted_until(NODE).await.context("cannot read the node's lease")?;
    let last_operation = backend::last_operation(databases).await?;
    let mint = Mint::new(NODE, used_until, last_operation);
    catalog.raise_lease(&mint).await.context("cannot store the node's lease")?;
    Ok(mint)
}

/// Finishes what a crash has cut off, and publishes every alarm again.
async fn recover(platform: &Platform) -> anyhow::Result<()> {
    let usecases = &platform.usecases;
    let mut before = None;
    loop {
        let page = usecases.catalog.list(None, None, before, START_TEMPLATES).await?;
        for template in &page {
            usecases.settle_buckets(template).await?;
        }
        match page.last() {
            Some(last) => before = Some(last.id),
            None => break,
        }
    }
    platform.handler.relay.recall(usecases.ledger.as_ref()).await?;
    Ok(())
}

fn spawn_workers(
    workers: &mut JoinSet<()>,
    usecases: &Arc<UseCases>,
    handler: &Arc<AlarmHandler>,
    requests: tokio::sync::mpsc::Receiver<Arc<coupon_domain::template::Template>>,
    wall_clock: bool,
    stop: &CancellationToken,
) {
    let config = &usecases.config;
    let ledger = || Arc::clone(&usecases.ledger) as Arc<dyn Ledger>;
    let catalog = || Arc::clone(&usecases.catalog);
    let clock = || Arc::clone(&usecases.clock);
    let gate = Arc::clone(&usecases.gate) as Arc<dyn Gate>;
    workers.spawn(loader::run(gate, ledger(), requests, stop.clone()));
    workers.spawn(lease::run(catalog(), Arc::clone(&usecases.mint), stop.clone()));
    workers.spawn(folding::run(
        ledger(),
        clock(),
        Duration::from_millis(config.stats.fold_interval_ms),
        config.stats.fold_chunk_rows,
        stop.clone(),
    ));
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    let keep = retention::Retention {
        fences: days(config.redemptions.fence_retention_days),
        uses: days(config.redemptions.redemption_retention_days),
        requests: days(config.idempotency.request_log_retention_days),
    };
    workers.spawn(retention::run(ledger(), catalog(), clock(), keep, stop.clone()));
    // Under a test clock alarms ring when the clock is moved, and at no other time.
    if wall_clock {
        let queue = Arc::clone(&handler.queue) as Arc<dyn AlarmQueue>;
        let relay = Arc::clone(&handler.relay);
        let (relayed, stopped) = (ledger(), stop.clone());
        workers.spawn(async move { relay.run(queue, relayed, stopped).await });
        let (ringing, stopped) = (Arc::clone(handler), stop.clone());
        workers.spawn(async move { ringing.run(stopped).await });
        workers.spawn(sweeper::run(
            Arc::clone(handler),
            Duration::from_secs(config.alarms.sweeper_interval_s),
            Duration::from_secs(config.alarms.sweeper_grace_s),
            stop.clone(),
        ));
    }
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
    let signals = stop_signals();
    announce(running.addr);
    tokio::select! {
        () = stop_signal(signals) => tracing::info!("stopping"),
        ended = &mut running.serving => {
            ended.context("serving failed")?.context("serving failed")?;
            return Ok(());
        }
    }
    running.stop().await
}

/// Tells whoever started the process where it listens.
#[expect(clippy::print_stdout, reason = "the line is the interface to scripts and tests")]
fn announce(addr: SocketAddr) {
    println!("listening on {addr}");
    tracing::info!(%addr, "serving");
}

/// SIGTERM and SIGINT; from now on they end the process only by way of us.
fn stop_signals() -> Option<(Signal, Signal)> {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    terminate.ok().zip(interrupt.ok())
}

async fn stop_signal(signals: Option<(Signal, Signal)>) {
    let Some((mut terminate, mut interrupt)) = signals else {
        tracing::error!("signals cannot be received; stop the server by killing it");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Brings the schema of the data folder up to date; answers the migrations applied.
///
/// # Errors
/// One plain sentence with the remedy.
pub async fn migrate(config: &Config) -> anyhow::Result<Vec<String>> {
    let data_dir = DataDir::open(&config.storage.data_dir)?;
    let databases = backend::open(config).await?;
    backend::migrate(&databases).await
}
