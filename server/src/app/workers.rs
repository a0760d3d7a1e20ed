//! Starting the background loops.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::platform::Platform;
use crate::{
    alarm::AlarmQueue,
    catalog::Catalog,
    clock::Clock,
    gate::{Gate, loader},
    ledger::Ledger,
    usecase::UseCases,
    worker::{alarms::AlarmHandler, folding, lease, retention, sweeper, transfers},
};

/// The loops of a node.
pub(super) struct Workers<'a> {
    pub(super) tasks: &'a mut JoinSet<()>,
    pub(super) stop: &'a CancellationToken,
}

impl Workers<'_> {
    /// Starts what this node runs: what serves its own calls always, the work for all nodes when its
    /// role says so.
    pub(super) fn start(mut self, platform: &mut Platform) {
        let usecases = &platform.usecases;
        let ledger = Arc::clone(&usecases.ledger) as Arc<dyn Ledger>;
        let gate = Arc::clone(&usecases.gate) as Arc<dyn Gate>;
        if let Some(requests) = platform.requests.take() {
            self.tasks.spawn(loader::run(gate, ledger, requests, self.stop.clone()));
        }
        let catalog = Arc::clone(&usecases.catalog);
        self.tasks.spawn(lease::run(catalog, Arc::clone(&usecases.mint), self.stop.clone()));
        // Under a test clock alarms ring when the clock is moved, and at no other time.
        let wall_clock = platform.test_clock.is_none();
        if wall_clock {
            self.relay(&platform.handler);
        }
        if usecases.config.backend.role.works() {
            self.upkeep(usecases);
            if wall_clock {
                self.time(usecases, &platform.handler);
            }
        }
    }

    /// Publishing the alarms of this node's own transactions.
    fn relay(&mut self, handler: &Arc<AlarmHandler>) {
        let queue = Arc::clone(&handler.queue) as Arc<dyn AlarmQueue>;
        let (relay, ledger) = (Arc::clone(&handler.relay), Arc::clone(&handler.ledger));
        let stop = self.stop.clone();
        self.tasks.spawn(async move { relay.run(queue, ledger, stop).await });
    }

    /// Counts, retention, and transfers of stock that were cut off.
    fn upkeep(&mut self, usecases: &Arc<UseCases>) {
        let config = &usecases.config;
        let ledger = || Arc::clone(&usecases.ledger) as Arc<dyn Ledger>;
        let clock = || Arc::clone(&usecases.clock) as Arc<dyn Clock>;
        let catalog: Arc<Catalog> = Arc::clone(&usecases.catalog);
        self.tasks.spawn(folding::run(
            ledger(),
            clock(),
            Duration::from_millis(config.stats.fold_interval_ms),
            config.stats.fold_chunk_rows,
            self.stop.clone(),
        ));
        self.tasks.spawn(transfers::run(ledger(), clock(), self.stop.clone()));
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        let keep = retention::Retention {
            fences: days(config.redemptions.fence_retention_days),
            uses: days(config.redemptions.redemption_retention_days),
            requests: days(config.idempotency.request_log_retention_days),
        };
        self.tasks.spawn(retention::run(ledger(), catalog, clock(), keep, self.stop.clone()));
    }

    /// Alarms and the sweeper behind them.
    fn time(&mut self, usecases: &Arc<UseCases>, handler: &Arc<AlarmHandler>) {
        let config = &usecases.config.alarms;
        let (ringing, stop) = (Arc::clone(handler), self.stop.clone());
        self.tasks.spawn(async move { ringing.run(stop).await });
        self.tasks.spawn(sweeper::run(
            Arc::clone(handler),
            config.sweeper_interval(),
            config.sweeper_grace(),
            self.stop.clone(),
        ));
    }
}
