//! Templates in memory. A hit costs no I/O, whatever has become of the database: what grows old is
//! read again behind the caller's back, and served as it is until that works, within a bound.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use coupon_domain::{ids::TemplateId, template::Template};
use moka::future::Cache;
use sea_orm::DatabaseConnection;

use super::{CatalogError, store};

/// How long templates are kept and trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Templates in memory.
    pub entries_max: u64,
    /// After half of this a template that is asked for is read again in the background.
    pub ttl: Duration,
    /// A template that could not be confirmed for longer is not served from memory.
    pub stale_max: Duration,
}

/// A template that turned out to be different from what this node knew.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateSeen {
    /// As it was known; `None` = it was not in memory.
    pub before: Option<Arc<Template>>,
    /// As it is.
    pub now: Arc<Template>,
}

/// Told of changes that others have made.
type Listener = Box<dyn Fn(&TemplateSeen) + Send + Sync>;

/// What a read of the database said.
#[derive(Clone)]
pub(super) struct Seen {
    template: Arc<Template>,
    /// As stored; it grows with every change.
    changed_at: i64,
    /// Just before it was read.
    at: Instant,
}

impl Seen {
    pub(super) fn new(template: Arc<Template>, changed_at: i64, at: Instant) -> Self {
        Self { template, changed_at, at }
    }
}

/// A place in the cache.
struct Held {
    seen: RwLock<Seen>,
    /// Somebody is reading it again in the background.
    refreshing: AtomicBool,
    /// One read at a time for those who wait; holds when the last one failed and why.
    reading: tokio::sync::Mutex<Option<(Instant, CatalogError)>>,
}

impl Held {
    fn new(seen: Seen) -> Arc<Self> {
        Arc::new(Self {
            seen: RwLock::new(seen),
            refreshing: AtomicBool::new(false),
            reading: tokio::sync::Mutex::new(None),
        })
    }

    fn seen(&self) -> Seen {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what is newer; answers what was known before if that differs.
    fn offer(&self, new: Seen) -> Option<Arc<Template>> {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if new.changed_at > seen.changed_at {
            return Some(std::mem::replace(&mut *seen, new).template);
        }
        if new.changed_at == seen.changed_at {
            seen.at = seen.at.max(new.at);
        }
        None
    }
}

/// Why a read through the cache came to nothing.
type Missing = Option<CatalogError>;

/// The cache. Shared with the tasks that refresh it.
pub(super) struct TemplateCache {
    db: DatabaseConnection,
    limits: CacheLimits,
    held: Cache<TemplateId, Arc<Held>>,
    /// When the last look at all changes began: it confirms whatever is in memory.
    polled: Mutex<Option<Instant>>,
    stale_served: AtomicU64,
    listener: OnceLock<Listener>,
}

impl TemplateCache {
    pub(super) fn new(db: DatabaseConnection, limits: CacheLimits) -> Arc<Self> {
        Arc::new(Self {
            db,
            limits,
            held: Cache::builder().max_capacity(limits.entries_max).build(),
            polled: Mutex::new(None),
            stale_served: AtomicU64::new(0),
            listener: OnceLock::new(),
        })
    }

    /// The first one to listen is told from now on.
    pub(super) fn listen(&self, listener: Listener) {
        if self.listener.set(listener).is_err() {
            tracing::error!("somebody listens to template changes already");
        }
    }

    /// How many answers came from templates that had not been confirmed for longer than the TTL.
    pub(super) fn stale_served(&self) -> u64 {
        self.stale_served.load(Ordering::Relaxed)
    }

    /// From memory if it is there and not too old. What reads is boxed, so that the future of a call
    /// that does not stays small: it is moved several times on its way to the task.
    pub(super) async fn get(
        self: &Arc<Self>,
        id: TemplateId,
    ) -> Result<Option<Arc<Template>>, CatalogError> {
        let Some(held) = self.held.get(&id).await else { return Box::pin(self.load(id)).await };
        let seen = held.seen();
        if seen.at.elapsed() * 2 < self.limits.ttl {
            return Ok(Some(seen.template));
        }
        let unconfirmed = seen.at.max(self.polled().unwrap_or(seen.at)).elapsed();
        if unconfirmed >= self.limits.stale_max {
            return Box::pin(self.read_again(id, &held)).await;
        }
        if unconfirmed >= self.limits.ttl {
            self.stale_served.fetch_add(1, Ordering::Relaxed);
        }
        self.refresh_behind(id, held);
        Ok(Some(seen.template))
    }

    /// As it is in the database now; those who ask at once share a read.
    pub(super) async fn get_fresh(
        self: &Arc<Self>,
        id: TemplateId,
    ) -> Result<Option<Arc<Template>>, CatalogError> {
        match self.held.get(&id).await {
            Some(held) => Box::pin(self.read_again(id, &held)).await,
            None => Box::pin(self.load(id)).await,
        }
    }

    async fn load(&self, id: TemplateId) -> Result<Option<Arc<Template>>, CatalogError> {
        let loaded = self.held.try_get_with(id, async {
            match self.find(id).await {
                Ok(Some(seen)) => Ok(Held::new(seen)),
                Ok(None) => Err(Missing::None),
                Err(error) => Err(Some(error)),
            }
        });
        match loaded.await.map_err(|error| error.as_ref().clone()) {
            Ok(held) => Ok(Some(held.seen().template)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    async fn find(&self, id: TemplateId) -> Result<Option<Seen>, CatalogError> {
        let at = Instant::now();
        let found = store::find(&self.db, id).await?;
        Ok(found.map(|(template, changed_at)| Seen::new(Arc::new(template), changed_at, at)))
    }

    async fn read_again(
        &self,
        id: TemplateId,
        held: &Held,
    ) -> Result<Option<Arc<Template>>, CatalogError> {
        let asked = Instant::now();
        let mut failed = held.reading.lock().await;
        let seen = held.seen();
        if seen.at > asked {
            return Ok(Some(seen.template));
        }
        if let Some((_, error)) = failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(error.clone());
        }
        match self.find(id).await {
            Ok(Some(seen)) => {
                self.offer(held, seen);
                Ok(Some(held.seen().template))
            }
            Ok(None) => {
                self.held.invalidate(&id).await;
                Ok(None)
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn refresh_behind(self: &Arc<Self>, id: TemplateId, held: Arc<Held>) {
        if held.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = cache.read_again(id, &held).await {
                let age = held.seen().at.elapsed();
                tracing::warn!(%error, template = %id, ?age, "template not read again, served as it is");
            }
            held.refreshing.store(false, Ordering::Release);
        });
    }

    fn offer(&self, held: &Held, seen: Seen) {
        let now = Arc::clone(&seen.template);
        if let Some(before) = held.offer(seen) {
            self.tell(&TemplateSeen { before: Some(before), now });
        }
    }

    fn tell(&self, seen: &TemplateSeen) {
        if let Some(listener) = self.listener.get() {
            listener(seen);
        }
    }

    /// Remembers what this node has written itself.
    pub(super) async fn remember(&self, seen: Seen) {
        if let Some(held) = self.put(&seen).await {
            held.offer(seen);
        }
    }

    /// Sees to it that the template has a place; `None` when it is `seen` that it was made of.
    async fn put(&self, seen: &Seen) -> Option<Arc<Held>> {
        let fresh = Held::new(seen.clone());
        loop {
            let placed = async { Ok::<_, Missing>(Arc::clone(&fresh)) };
            // A read that is under way ends first: what it finds may be older.
            if let Ok(held) = self.held.try_get_with(seen.template.id, placed).await {
                return (!Arc::ptr_eq(&held, &fresh)).then_some(held);
            }
        }
    }

    /// Takes in that a template was last changed at `changed_at`; says whether that was news.
    pub(super) async fn hear(&self, id: TemplateId, changed_at: i64) -> Result<bool, CatalogError> {
        if let Some(held) = self.held.get(&id).await
            && held.seen().changed_at >= changed_at
        {
            return Ok(false);
        }
        let Some(seen) = self.find(id).await? else { return Ok(false) };
        match self.put(&seen).await {
            Some(held) => self.offer(&held, seen),
            None => self.tell(&TemplateSeen { before: None, now: seen.template }),
        }
        Ok(true)
    }

    fn polled(&self) -> Option<Instant> {
        *self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look at all changes that began at `at` has ended well.
    pub(super) fn confirm(&self, at: Instant) {
        *self.polled.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }
}
