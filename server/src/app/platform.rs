//! Building the platform, before it serves.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use coupon_domain::{template::Template, time::Timestamp};
use tokio::sync::mpsc;

use crate::{
    backend::{self, Databases},
    catalog::Catalog,
    clock::{Clock, ManualClock, WallClock},
    config::{BackendKind, Config, Role},
    gate::loader::GateLoader,
    ledger::{AlarmBell, TemplateSource, sql::Neighbours},
    mint::Mint,
    usecase::UseCases,
    worker::{alarms::AlarmHandler, relay::Relay},
};

/// The one node of the embedded back end.
const NODE: u8 = 0;
/// Templates looked at in one step at the start.
const START_TEMPLATES: u64 = 200;

/// What the platform is built of.
pub(super) struct Platform {
    pub(super) usecases: Arc<UseCases>,
    pub(super) handler: Arc<AlarmHandler>,
    pub(super) test_clock: Option<Arc<ManualClock>>,
    /// Templates that the gate wants to be loaded.
    pub(super) requests: Option<mpsc::Receiver<Arc<Template>>>,
}

/// Puts the platform together.
pub(super) async fn build(
    config: &Arc<Config>,
    databases: &Databases,
    test_clock: Option<Timestamp>,
) -> anyhow::Result<Platform> {
    let ttl = Duration::from_secs(config.templates.cache_ttl_s);
    let entries = config.templates.cache_entries_max;
    let catalog = Arc::new(Catalog::new(databases.meta.clone(), entries, ttl));
    let test_clock = place_test_clock(config, &catalog, test_clock).await?;
    let clock: Arc<dyn Clock> = match &test_clock {
        Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
        None => Arc::new(WallClock::default()),
    };
    let mint = Arc::new(open_mint(&catalog, databases).await?);
    let router = backend::router(databases);
    let (gate, settle) = backend::gate(config, &router).await?;
    let hop_max = Duration::from_secs(config.alarms.hop_max_s);
    let relay = Arc::new(Relay::new(Arc::clone(&clock), hop_max));
    let neighbours = Neighbours {
        mint: Arc::clone(&mint),
        templates: Arc::clone(&catalog) as Arc<dyn TemplateSource>,
        settle,
        bell: Arc::clone(&relay) as Arc<dyn AlarmBell>,
    };
    let ledger = backend::ledger(config, router, databases.shards.clone(), &neighbours);
    let queue = backend::alarms(config, &clock, test_clock.is_some()).await?;
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
    Ok(Platform { usecases, handler, test_clock, requests: Some(requests) })
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

async fn open_mint(catalog: &Catalog, databases: &Databases) -> anyhow::Result<Mint> {
    let used_until = catalog.minted_until(NODE).await.context("cannot read the node's lease")?;
    let last_operation = backend::last_operation(databases).await?;
    let mint = Mint::new(NODE, used_until, last_operation);
    catalog.raise_lease(&mint).await.context("cannot store the node's lease")?;
    Ok(mint)
}

/// Finishes what a crash has cut off, and publishes every alarm again where the queue forgets.
pub(super) async fn recover(platform: &Platform) -> anyhow::Result<()> {
    let usecases = &platform.usecases;
    if usecases.config.backend.role.works() {
        settle_templates(usecases).await?;
    }
    let embedded = usecases.config.backend.kind == BackendKind::Embedded;
    if embedded || platform.test_clock.is_some() {
        platform.handler.relay.recall(usecases.ledger.as_ref()).await?;
    }
    Ok(())
}

/// Makes the buckets of every template agree with the catalog.
async fn settle_templates(usecases: &UseCases) -> anyhow::Result<()> {
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
