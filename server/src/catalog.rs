//! The catalog: templates and their rules, in the meta database behind an in-process cache (R2, R3,
//! R19, R20), with what else is kept once for all shards.

mod entity;
mod rules;
mod store;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use coupon_domain::{
    ids::TemplateId,
    template::{Template, TemplateState},
    time::Timestamp,
};
use sea_orm::{DatabaseConnection, DbErr};

pub use self::store::{Recorded, TemplateChange};
use crate::{
    ledger::{LedgerError, TemplateSource},
    mint::Mint,
};

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
    cache: moka::future::Cache<TemplateId, Arc<Template>>,
    /// One change at a time: the cache remembers them in the order of their commits.
    changing: tokio::sync::Mutex<()>,
}

impl Catalog {
    /// A catalog that remembers up to `entries_max` templates, each for `ttl`.
    pub fn new(db: MetaConnections, entries_max: u64, ttl: Duration) -> Self {
        let cache =
            moka::future::Cache::builder().max_capacity(entries_max).time_to_live(ttl).build();
        Self { db, cache, changing: tokio::sync::Mutex::new(()) }
    }

    /// The template, from memory if it is there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn get(&self, id: TemplateId) -> Result<Option<Arc<Template>>, CatalogError> {
        if let Some(template) = self.cache.get(&id).await {
            return Ok(Some(template));
        }
        let loaded = self.cache.try_get_with(id, async {
            match store::find(&self.db.read, id).await {
                Ok(Some(template)) => Ok(Arc::new(template)),
                Ok(None) => Err(None),
                Err(error) => Err(Some(error)),
            }
        });
        match loaded.await.map_err(|error| error.as_ref().clone()) {
            Ok(template) => Ok(Some(template)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// The template as it is in the database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn get_fresh(&self, id: TemplateId) -> Result<Option<Arc<Template>>, CatalogError> {
        self.cache.invalidate(&id).await;
        self.get(id).await
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
        store::create(&self.db.write, &template, recorded).await?;
        Ok(self.remember(template).await)
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
        store::change(&self.db.write, before, change, recorded).await?;
        let mut template = before.clone();
        change.apply(&mut template);
        Ok(self.remember(template).await)
    }

    async fn remember(&self, template: Template) -> Arc<Template> {
        let template = Arc::new(template);
        self.cache.insert(template.id, Arc::clone(&template)).await;
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
