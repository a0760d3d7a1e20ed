//! Starting the background loops.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::platform::{Platform, node_lease, settle_templates};
use crate::{
    alarm::AlarmQueue,
    catalog::{Catalog, Primary},
    clock::Clock,
    config::{BackendKind, Config},
    gate::{Gate, loader},
    ledger::Ledger,
    serving::Serving,
    usecase::UseCases,
    worker::{
        alarms::AlarmHandler, clock_watch::ClockWatch, folding, leader::Leadership, replicas,
        retention, stuck::StuckWatch, sweeper, templates, transfers,
    },
};

/// The loops of a node.
pub(super) struct Workers<'a> {
    pub(super) tasks: &'a mut JoinSet<()>,
    pub(super) stop: &'a CancellationToken,
    pub(super) serving: &'a Arc<Serving>,
}

impl Workers<'_> {
    /// Starts what this node runs: what serves its own calls always, the work for all nodes when its
    /// role says so. Answers when the clocks have been compared for the first time.
    pub(super) async fn start(mut self, platform: &mut Platform, primaries: Vec<Arc<dyn Primary>>) {
        self.own(platform);
        self.clocks(platform, primaries).await;
        // Under a test clock alarms ring when the clock is moved, and at no other time.
        let wall_clock = platform.test_clock.is_none();
        if wall_clock {
            self.relay(&platform.handler);
        }
        if platform.usecases.config.backend.role.works() {
            let upkeep = Upkeep::new(self.tasks, self.stop, platform);
            upkeep.start(platform, wall_clock);
        }
    }

    /// What every node does for itself.
    fn own(&mut self, platform: &mut Platform) {
        let usecases = &platform.usecases;
        if let Some(requests) = platform.requests.take() {
            let ledger = Arc::clone(&usecases.ledger) as Arc<dyn Ledger>;
            let gate = Arc::clone(&usecases.gate) as Arc<dyn Gate>;
            self.tasks.spawn(loader::run(gate, ledger, requests, self.stop.clone()));
        }
        if let Some(number) = platform.number.take() {
            self.tasks.spawn(number.keep(Arc::clone(self.serving), self.stop.clone()));
        }
        if replicated(&usecases.config) {
            let ledger = Arc::clone(&usecases.ledger) as Arc<dyn Ledger>;
            self.tasks.spawn(replicas::look(ledger, self.stop.clone()));
        }
        let refresh = usecases.config.templates.refresh_interval();
        let catalog = Arc::clone(&usecases.catalog);
        self.tasks.spawn(templates::run(catalog, refresh, self.stop.clone()));
    }

    /// Comparing this node's clock with those of the primaries.
    async fn clocks(&mut self, platform: &Platform, primaries: Vec<Arc<dyn Primary>>) {
        if primaries.is_empty() {
            return;
        }
        let config = &platform.usecases.config.backend;
        let bound = Duration::from_millis(config.clock_offset_max_ms);
        let interval = Duration::from_millis(config.clock_check_interval_ms);
        let watch = ClockWatch::new(primaries, bound, Arc::clone(self.serving));
        watch.look().await;
        self.tasks.spawn(watch.run(interval, self.stop.clone()));
    }

    /// Publishing the alarms of this node's own transactions.
    fn relay(&mut self, handler: &Arc<AlarmHandler>) {
        let queue = Arc::clone(&handler.queue) as Arc<dyn AlarmQueue>;
        let (relay, ledger) = (Arc::clone(&handler.relay), Arc::clone(&handler.ledger));
        let stop = self.stop.clone();
        self.tasks.spawn(async move { relay.run(queue, ledger, stop).await });
    }
}

fn replicated(config: &Config) -> bool {
    config.mysql.replica_urls.iter().any(|url| !url.is_empty())
}

/// The work for all nodes: each loop is run by one node at a time, but for the alarm loop, whose
/// messages are dealt out by the broker.
struct Upkeep<'a> {
    tasks: &'a mut JoinSet<()>,
    stop: &'a CancellationToken,
    /// `None` where there is one node.
    leadership: Option<Leadership>,
}

impl<'a> Upkeep<'a> {
    fn new(tasks: &'a mut JoinSet<()>, stop: &'a CancellationToken, platform: &Platform) -> Self {
        let usecases = &platform.usecases;
        let leadership = (usecases.config.backend.kind == BackendKind::Distributed).then(|| {
            let lease = node_lease(&usecases.config);
            Leadership::new(Arc::clone(&usecases.catalog), &platform.holder, lease)
        });
        Self { tasks, stop, leadership }
    }

    /// Runs a loop wherever this node has its lease.
    fn lead<F>(
        &mut self,
        name: &'static str,
        mut work: impl FnMut(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        match &self.leadership {
            None => drop(self.tasks.spawn(work(self.stop.clone()))),
            Some(leadership) => {
                let (leadership, stop) = (leadership.clone(), self.stop.clone());
                self.tasks.spawn(leadership.run(name, stop, work));
            }
        }
    }

    fn start(mut self, platform: &Platform, wall_clock: bool) {
        self.counts(&platform.usecases);
        self.retention(&platform.usecases);
        self.stuck(&platform.usecases);
        self.stock(&platform.usecases);
        if replicated(&platform.usecases.config) {
            let ledger = Arc::clone(&platform.usecases.ledger);
            self.lead("heartbeat", move |stop| {
                replicas::beat(Arc::clone(&ledger) as Arc<dyn Ledger>, stop)
            });
        }
        if wall_clock {
            self.time(&platform.usecases, &platform.handler);
        }
    }

    fn counts(&mut self, usecases: &Arc<UseCases>) {
        let usecases = Arc::clone(usecases);
        self.lead("folding", move |stop| {
            let config = &usecases.config.stats;
            folding::run(
                Arc::clone(&usecases.ledger) as Arc<dyn Ledger>,
                Arc::clone(&usecases.clock) as Arc<dyn Clock>,
                Duration::from_millis(config.fold_interval_ms),
                config.fold_chunk_rows,
                stop,
            )
        });
    }

    fn retention(&mut self, usecases: &Arc<UseCases>) {
        let usecases = Arc::clone(usecases);
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        let keep = retention::Retention {
            fences: days(usecases.config.redemptions.fence_retention_days),
            uses: days(usecases.config.redemptions.redemption_retention_days),
            requests: days(usecases.config.idempotency.request_log_retention_days),
        };
        self.lead("retention", move |stop| {
            let catalog: Arc<Catalog> = Arc::clone(&usecases.catalog);
            let ledger = Arc::clone(&usecases.ledger) as Arc<dyn Ledger>;
            retention::run(ledger, catalog, Arc::clone(&usecases.clock), keep, stop)
        });
    }

    fn stuck(&mut self, usecases: &Arc<UseCases>) {
        let usecases = Arc::clone(usecases);
        self.lead("stuck", move |stop| {
            let ledger = Arc::clone(&usecases.ledger) as Arc<dyn Ledger>;
            let (clock, config) = (Arc::clone(&usecases.clock), usecases.config.stuck.clone());
            StuckWatch::new(ledger, clock, Arc::clone(&usecases.metrics), config).run(stop)
        });
    }

    /// Finishing what a crash has cut off: changes of templates once, transfers again and again.
    fn stock(&mut self, usecases: &Arc<UseCases>) {
        if self.leadership.is_none() {
            return;
        }
        let usecases = Arc::clone(usecases);
        self.lead("stock", move |stop| {
            let usecases = Arc::clone(&usecases);
            async move {
                if let Err(error) = settle_templates(&usecases).await {
                    tracing::warn!(%error, "buckets not compared with the catalog");
                }
                let ledger = Arc::clone(&usecases.ledger) as Arc<dyn Ledger>;
                transfers::run(ledger, Arc::clone(&usecases.clock), stop).await;
            }
        });
    }

    /// Alarms and the sweeper behind them.
    fn time(&mut self, usecases: &Arc<UseCases>, handler: &Arc<AlarmHandler>) {
        let (ringing, stop) = (Arc::clone(handler), self.stop.clone());
        self.tasks.spawn(async move { ringing.run(stop).await });
        let config = &usecases.config.alarms;
        let (interval, grace) = (config.sweeper_interval(), config.sweeper_grace());
        let handler = Arc::clone(handler);
        self.lead("sweeper", move |stop| sweeper::run(Arc::clone(&handler), interval, grace, stop));
    }
}
