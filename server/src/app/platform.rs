//! Building the platform, before it serves.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use coupon_domain::{template::Template, time::Timestamp};
use tokio::sync::mpsc;

use crate::{
    backend::{self, Databases},
    catalog::{CacheLimits, Catalog},
    clock::{Clock, ManualClock, WallClock},
    config::{BackendKind, Config, Role},
    gate::{Gate, loader::GateLoader},
    ledger::{AlarmBell, TemplateSource, sql::Neighbours},
    usecase::UseCases,
    worker::{
        alarms::AlarmHandler,
        lease::{self, NodeNumber},
        relay::Relay,
    },
};

/// See [`node_lease`].
const EMBEDDED_LEASE: Duration = Duration::from_secs(180);
/// Templates looked at in one step at the start.
const START_TEMPLATES: u64 = 200;

/// What the platform is built of.
pub(super) struct Platform {
    pub(super) usecases: Arc<UseCases>,
    pub(super) handler: Arc<AlarmHandler>,
    pub(super) test_clock: Option<Arc<ManualClock>>,
    /// Templates that the gate wants to be loaded.
    pub(super) requests: Option<mpsc::Receiver<Arc<Template>>>,
    /// The right to mint ids.
    pub(super) number: Option<NodeNumber>,
    /// This process among those that share the databases.
    pub(super) holder: String,
}

/// Puts the platform together.
pub(super) async fn build(
    config: &Arc<Config>,
    databases: &Databases,
    test_clock: Option<Timestamp>,
) -> anyhow::Result<Platform> {
    let limits = CacheLimits {
        entries_max: config.templates.cache_entries_max,
        ttl: config.templates.cache_ttl(),
        stale_max: config.templates.stale_max(),
    };
    let catalog = Arc::new(Catalog::with_limits(databases.meta.clone(), limits));
    let router = backend::router(config, databases, &catalog).await?;
    let test_clock = place_test_clock(config, &catalog, test_clock).await?;
    let clock: Arc<dyn Clock> = match &test_clock {
        Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
        None => Arc::new(WallClock::default()),
    };
    let holder = lease::new_holder();
    let number = take_number(config, &catalog, &holder, databases).await?;
    let (gate, settle) = backend::gate(config, &router).await?;
    let hop_max = Duration::from_secs(config.alarms.hop_max_s);
    let relay = Arc::new(Relay::new(Arc::clone(&clock), hop_max));
    let neighbours = Neighbours {
        mint: number.mint(),
        templates: Arc::clone(&catalog) as Arc<dyn TemplateSource>,
        settle,
        bell: Arc::clone(&relay) as Arc<dyn AlarmBell>,
    };
    let ledger = backend::ledger(config, router, databases.shards.clone(), &neighbours);
    let queue = backend::alarms(config, &clock, test_clock.is_some());
    let (loader, requests) = GateLoader::new();
    let handler = Arc::new(AlarmHandler {
        ledger: Arc::clone(&ledger),
        queue,
        relay,
        clock: Arc::clone(&clock),
        chunk_rows: config.alarms.sweep_chunk_rows,
    });
    forget_changed(&catalog, &gate);
    let mint = number.mint();
    let config = Arc::clone(config);
    let usecases =
        UseCases { catalog, ledger, gate, clock, mint, loader, metrics: Arc::default(), config };
    let usecases = Arc::new(usecases);
    Ok(Platform {
        usecases,
        handler,
        test_clock,
        requests: Some(requests),
        number: Some(number),
        holder,
    })
}

/// Whatever another node has done to a template's stock or state, this node's gate reads anew.
fn forget_changed(catalog: &Catalog, gate: &Arc<dyn Gate>) {
    let gate = Arc::clone(gate);
    catalog.on_change(move |seen| {
        let same = |before: &Arc<Template>| {
            before.total == seen.now.total && before.state == seen.now.state
        };
        if !seen.before.as_ref().is_some_and(same) {
            gate.forget(seen.now.id);
        }
    });
}

/// The number under which this node mints ids.
async fn take_number(
    config: &Config,
    catalog: &Arc<Catalog>,
    holder: &str,
    databases: &Databases,
) -> anyhow::Result<NodeNumber> {
    let last_operation = backend::last_operation(databases).await?;
    let lease = node_lease(config);
    NodeNumber::take(Arc::clone(catalog), holder.to_owned(), lease, last_operation)
        .await
        .context("this node gets no number to mint ids under")
}

/// How long a number or a loop stays with a node that does not renew it. On the embedded back end
/// nobody waits for it, and each renewal is a write to the disk.
pub(super) fn node_lease(config: &Config) -> Duration {
    match config.backend.kind {
        BackendKind::Embedded => EMBEDDED_LEASE,
        BackendKind::Distributed => Duration::from_millis(config.backend.lease_ms),
    }
}

/// The test clock: at the time asked for, or where it stood when the data was last used. Data that
/// has lived under a test clock is never served by the wall clock.
async fn place_test_clock(
    config: &Config,
    catalog: &Catalog,
    wanted: Option<Timestamp>,
) -> anyhow::Result<Option<Arc<ManualClock>>> {
    if wanted.is_some() && config.backend.role != Role::All {
        bail!("--test-clock needs backend.role = \"all\": one node keeps the time of all");
    }
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

/// Finishes what a crash has cut off, and publishes every alarm again where the queue forgets.
pub(super) async fn recover(platform: &Platform) -> anyhow::Result<()> {
    let usecases = &platform.usecases;
    // Of several nodes the one that has the lease does it.
    let embedded = usecases.config.backend.kind == BackendKind::Embedded;
    if embedded {
        settle_templates(usecases).await?;
    }
    if embedded || platform.test_clock.is_some() {
        platform.handler.relay.recall(usecases.ledger.as_ref()).await?;
    }
    Ok(())
}

/// Makes the buckets of every template agree with the catalog.
pub(super) async fn settle_templates(usecases: &UseCases) -> anyhow::Result<()> {
    let mut before = None;
    loop {
        let page = usecases.catalog.list(None, None, before, START_TEMPLATES).await?;
        for template in &page {
            usecases.settle_buckets(template).await?;
        }
        match page.last() {
            Some(last) => before = Some(last.id),
            None => return Ok(()),
        }
    }
}
