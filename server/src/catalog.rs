//! The catalog: templates and their rules, in the meta database behind an in-process cache (R2, R3,
//! R19, R20), with what else is kept once for all shards.

mod cache;
mod entity;
mod loops;
mod nodes;
mod primary;
mod rules;
mod slots;
mod store;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use coupon_domain::{
    ids::TemplateId,
    template::{Template, TemplateState},
    time::Timestamp,
};
use sea_orm::{DatabaseConnection, DbErr};

use self::cache::{Seen, TemplateCache};
pub use self::{
    cache::{CacheLimits, TemplateSeen},
    nodes::{NodeLease, Renewal},
    primary::{Primary, PrimaryClock},
    slots::{NamedShard, SlotMapError},
    store::{Recorded, TemplateChange},
};
use crate::{
    clock::wall_millis,
    ledger::{LedgerError, TemplateSource},
    mint::Mint,
};

/// A template's time of change is its node's wall time before the commit: nodes may differ by the
/// bound on clocks, and a commit may take a while.
const POLL_MARGIN_MS: i64 = 5_000;
/// Changes read in one step.
const POLL_PAGE: u64 = 1_000;
/// How old a template may be served without [`Catalog::with_limits`].
const STALE_MAX: Duration = Duration::from_secs(3_600);

/// Why the catalog could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] LedgerError),
    /// The template changed, or the request id was used, meanwhile: read again.
    #[error("another call changed the same meanwhile; send it again with the same request id")]
    Raced,
}

impl From<DbErr> for CatalogError {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

/// Connections to the meta database.
#[derive(Debug, Clone)]
pub struct MetaConnections {
    /// For everything that writes.
    pub write: DatabaseConnection,
    /// For reads.
    pub read: DatabaseConnection,
}

/// Templates and their cache.
pub struct Catalog {
    db: MetaConnections,
    cache: Arc<TemplateCache>,
    /// One change at a time on this node: fewer of them meet in the database.
    changing: tokio::sync::Mutex<()>,
    /// Wall time from which changes have not been looked at.
    unseen_from: AtomicI64,
}

impl Catalog {
    /// A catalog that remembers up to `entries_max` templates and reads each again within `ttl`.
    pub fn new(db: MetaConnections, entries_max: u64, ttl: Duration) -> Self {
        Self::with_limits(db, CacheLimits { entries_max, ttl, stale_max: STALE_MAX })
    }

    /// A catalog whose cache has these limits.
    pub fn with_limits(db: MetaConnections, limits: CacheLimits) -> Self {
        let cache = TemplateCache::new(db.read.clone(), limits);
        let unseen_from = AtomicI64::new(wall_millis());
        Self { db, cache, changing: tokio::sync::Mutex::new(()), unseen_from }
    }

    /// The template, from memory if it is there: without I/O then.
    ///
    /// # Errors
    /// When it is not there, or could not be confirmed for too long, and the database cannot be read.
    pub async fn get(&self, id: TemplateId) -> Result<Option<Arc<Template>>, CatalogError> {
        self.cache.get(id).await
    }

    /// The template as it is in the database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn get_fresh(&self, id: TemplateId) -> Result<Option<Arc<Template>>, CatalogError> {
        self.cache.get_fresh(id).await
    }

    /// Has `listener` told of every template that was changed by another node, once this one sees it.
    /// There is one listener.
    pub fn on_change(&self, listener: impl Fn(&TemplateSeen) + Send + Sync + 'static) {
        self.cache.listen(Box::new(listener));
    }

    /// How many answers came from templates that had not been confirmed within their time to live.
    pub fn stale_served(&self) -> u64 {
        self.cache.stale_served()
    }

    /// Takes in what has been changed since the last look, by whichever node; says how many templates
    /// that was.
    ///
    /// # Errors
    /// When the database cannot be read; the next look covers the same time again.
    pub async fn see_changes(&self) -> Result<u64, CatalogError> {
        let (began, now) = (Instant::now(), wall_millis());
        let from = self.unseen_from.load(Ordering::Relaxed).min(now) - POLL_MARGIN_MS;
        let mut after = (from, 0);
        let mut news = 0;
        loop {
            let page = store::changed(&self.db.read, after, POLL_PAGE).await?;
            for (changed_at, id) in &page {
                let Ok(id) = TemplateId::new(*id) else { continue };
                match self.cache.hear(id, *changed_at).await {
                    Ok(new) => news += u64::from(new),
                    // It must not hide the changes of others.
                    Err(CatalogError::Store(error @ LedgerError::Corrupt(_))) => {
                        tracing::error!(%error, template = %id, "changed template not understood");
                    }
                    Err(error) => return Err(error),
                }
            }
            match page.last() {
                Some(last) if u64::try_from(page.len()) == Ok(POLL_PAGE) => after = *last,
                _ => break,
            }
        }
        self.unseen_from.store(now, Ordering::Relaxed);
        self.cache.confirm(began);
        Ok(news)
    }

    /// A page of templates, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(
        &self,
        state: Option<TemplateState>,
        merchant: Option<i64>,
        before: Option<TemplateId>,
        limit: u64,
    ) -> Result<Vec<Arc<Template>>, CatalogError> {
        let found = store::list(&self.db.read, state, merchant, before, limit).await?;
        Ok(found.into_iter().map(Arc::new).collect())
    }

    /// What a request id was used for, if it was.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recorded(&self, request_id: &str) -> Result<Option<Recorded>, CatalogError> {
        store::recorded(&self.db.read, request_id).await
    }

    /// Records a request that changed something else than a template.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record(&self, recorded: &Recorded) -> Result<(), CatalogError> {
        store::record(&self.db.write, recorded).await
    }

    /// Stores a new template together with the request that made it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn create(
        &self,
        template: Template,
        recorded: &Recorded,
    ) -> Result<Arc<Template>, CatalogError> {
        let (began, changed_at) = (Instant::now(), wall_millis());
        store::create(&self.db.write, &template, recorded, changed_at).await?;
        Ok(self.remember(template, changed_at, began).await)
    }

    /// Changes a template together with recording the request. `before` is what the change was
    /// decided on.
    ///
    /// # Errors
    /// [`CatalogError::Raced`] when the stored template is no longer `before`.
    pub async fn change(
        &self,
        before: &Template,
        change: &TemplateChange,
        recorded: &Recorded,
    ) -> Result<Arc<Template>, CatalogError> {
        let _changing = self.changing.lock().await;
        let began = Instant::now();
        let changed_at =
            store::change(&self.db.write, before, change, recorded, wall_millis()).await?;
        let mut template = before.clone();
        change.apply(&mut template);
        Ok(self.remember(template, changed_at, began).await)
    }

    async fn remember(&self, template: Template, changed_at: i64, began: Instant) -> Arc<Template> {
        let template = Arc::new(template);
        self.cache.remember(Seen::new(Arc::clone(&template), changed_at, began)).await;
        template
    }

    /// Deletes request ids recorded before an instant.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn purge_requests(&self, before: Timestamp) -> Result<u64, CatalogError> {
        store::purge_requests(&self.db.write, before).await
    }

    /// The second up to which a node number may have minted ids; 0 when it was never used.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn minted_until(&self, node: u8) -> Result<i64, CatalogError> {
        store::minted_until(&self.db.read, node).await
    }

    /// Stores the mint's next lease and hands it out.
    ///
    /// # Errors
    /// When the database cannot be written; the mint keeps what it has.
    pub async fn raise_lease(&self, mint: &Mint) -> Result<(), CatalogError> {
        let until = mint.next_lease();
        store::keep_minted_until(&self.db.write, mint.node(), until).await?;
        mint.extend(until);
        Ok(())
    }

    /// The time a test clock stood at, if one was ever used.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn test_clock(&self) -> Result<Option<Timestamp>, CatalogError> {
        store::test_clock(&self.db.read).await
    }

    /// Keeps the time a test clock stands at.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep_test_clock(&self, now: Timestamp) -> Result<(), CatalogError> {
        store::keep_test_clock(&self.db.write, now).await
    }
}

#[async_trait]
impl TemplateSource for Catalog {
    async fn find(&self, id: TemplateId) -> Result<Option<Arc<Template>>, LedgerError> {
        self.get(id).await.map_err(|error| match error {
            CatalogError::Store(error) => error,
            CatalogError::Raced => LedgerError::Corrupt(error.to_string()),
        })
    }
}
