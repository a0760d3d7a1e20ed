//! A one-shard ledger on MySQL with databases of its own, put together as the server does it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use coupon_domain::{
    book::AlarmKind,
    fingerprint::Fingerprinter,
    ids::{TemplateId, UserId},
    money::{Currency, Minor},
    rules::{Benefit, Rules},
    template::{Template, TemplateState},
    time::{Minute, TimeZone, Timestamp},
};
use coupon_server::{
    backend::{self, Databases},
    catalog::{Catalog, Recorded, TemplateChange},
    config::{BackendKind, Config},
    ledger::{
        AlarmBell, GiveCommand, Ledger, Settle, Settlement, ShardId, TemplateSource,
        router::Router, sql::Neighbours,
    },
    mint::Mint,
};
use coupon_tests::{
    bench::{
        mysql::Primary,
        stores::Stores,
        workload::{request_id, user},
    },
    services::{Addresses, FreshDatabases},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Stock that no run can use up.
pub(crate) const PLENTY: i64 = 1_000_000_000;
/// Sub-stock keys of a hot template, as the server chooses them.
pub(crate) const BUCKETS: u16 = 16;
/// 2095, after every run.
const FAR_AHEAD_MS: i64 = 3_950_000_000_000;

/// Whoever would learn of outcomes and alarms.
struct Nobody;

impl Settle for Nobody {
    fn settle(&self, _: &[Settlement<'_>]) {}
}

impl AlarmBell for Nobody {
    fn wanted(&self, _: ShardId, _: &[(AlarmKind, Minute)]) {}
}

/// See the module.
pub(crate) struct Deck {
    fresh: FreshDatabases,
    /// Of the stores that this deck is on.
    pub(crate) config: Config,
    /// Its connections.
    pub(crate) databases: Databases,
    /// The ledger.
    pub(crate) ledger: Arc<dyn Ledger>,
    /// Which shard every slot lives on.
    pub(crate) router: Router,
    catalog: Catalog,
    mint: Arc<Mint>,
    /// The shard as its server sees it.
    pub(crate) primary: Primary,
    /// Processes of the stores.
    pub(crate) stores: Stores,
}

impl Deck {
    /// Makes databases, brings their schema up to date and opens the ledger.
    pub(crate) async fn open(addresses: &Addresses) -> anyhow::Result<Self> {
        let fresh = FreshDatabases::create(addresses, 1).await?;
        match Self::open_on(addresses, fresh.clone()).await {
            Ok(deck) => Ok(deck),
            Err(error) => {
                // Whatever goes wrong here hides what has gone wrong before.
                let _ = fresh.drop_all().await;
                Err(error)
            }
        }
    }

    async fn open_on(addresses: &Addresses, fresh: FreshDatabases) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.backend.kind = BackendKind::Distributed;
        config.mysql.meta_url.clone_from(&fresh.meta_url);
        config.mysql.shard_urls.clone_from(&fresh.shard_urls);
        config.redis.nodes.clone_from(&addresses.redis_nodes);
        config.pulsar.url.clone_from(&addresses.pulsar_url);
        let databases = backend::open(&config).await?;
        backend::migrate(&databases).await?;
        let catalog = Catalog::new(databases.meta.clone(), 1_000, DAY);
        let used_until = catalog.minted_until(0).await?;
        let mint = Arc::new(Mint::new(0, used_until, 0));
        catalog.raise_lease(&mint).await?;
        let templates = Arc::new(Catalog::new(databases.meta.clone(), 1_000, DAY));
        let neighbours = Neighbours {
            mint: Arc::clone(&mint),
            templates: templates as Arc<dyn TemplateSource>,
            settle: Arc::new(Nobody),
            bell: Arc::new(Nobody),
        };
        let router = backend::dealt(&databases);
        let shards = databases.shards.clone();
        let ledger = backend::ledger(&config, router.clone(), shards, &neighbours);
        let mut primary =
            Primary::open(fresh.shard_urls.first().context("there is no shard")?).await?;
        primary.limit_buffer_pool().await?;
        let stores = Stores::find(addresses, &fresh.shard_urls).await?;
        Ok(Self { fresh, config, databases, ledger, router, catalog, mint, primary, stores })
    }

    /// Drops the databases.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.fresh.drop_all().await
    }

    /// A template with stock for all, open to everybody.
    pub(crate) async fn publish(&self) -> anyhow::Result<Arc<Template>> {
        let id = self.mint.template()?;
        let now = Timestamp::from_millis(1_700_000_000_000);
        let draft = Template {
            id,
            display_name: "bench".to_owned(),
            merchant: 0,
            state: TemplateState::Draft,
            rules: Arc::new(rules()?),
            total: PLENTY,
            claim_from: now,
            claim_until: Timestamp::from_millis(FAR_AHEAD_MS),
            buckets: 0,
            version: 1,
            created_at: now,
            published_at: None,
        };
        let draft = self.catalog.create(draft, &recorded("create", id, now)).await?;
        self.ledger.grant(id, BUCKETS, PLENTY).await?;
        let change = TemplateChange {
            state: Some(TemplateState::Active),
            published: Some((BUCKETS, now)),
            ..TemplateChange::default()
        };
        let template = self.catalog.change(&draft, &change, &recorded("publish", id, now)).await?;
        self.ledger.set_open(id, true).await?;
        Ok(template)
    }

    /// The claim of operation `seq`.
    pub(crate) fn claim(template: &Arc<Template>, seq: u64) -> anyhow::Result<GiveCommand> {
        Ok(GiveCommand {
            user: UserId::new(user(seq))?,
            template: Arc::clone(template),
            pieces: 1,
            request_id: request_id(seq),
            fingerprint: Fingerprinter::new("claim").number(seq.cast_signed()).finish(),
            source: String::new(),
            at: Timestamp::from_millis(1_700_000_000_000 + seq.cast_signed() / 1_000),
            deadline: Instant::now() + Duration::from_secs(30),
            holds_unit: false,
        })
    }
}

fn recorded(what: &str, id: TemplateId, at: Timestamp) -> Recorded {
    let request_id = format!("{what} {id}");
    let fingerprint = Fingerprinter::new(&request_id).finish();
    Recorded { request_id, fingerprint, subject: id.get(), at }
}

fn rules() -> anyhow::Result<Rules> {
    Ok(Rules::plain(
        Benefit::DirectOff { amount: Minor::new(100) },
        Currency::parse("CNY").expect("a currency"),
        TimeZone::parse("UTC").expect("a time zone"),
    ))
}
