//! Keeps this node's number, and with it the right to mint ids ahead of the clock.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::every;
use crate::{
    catalog::{Catalog, CatalogError, Renewal},
    mint::Mint,
    serving::{Cause, Serving},
};

/// Renewals in one lease: two may fail.
const RENEWALS_PER_LEASE: u32 = 3;

/// A text that no other process has.
pub fn new_holder() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The number of this process.
pub struct NodeNumber {
    catalog: Arc<Catalog>,
    mint: Arc<Mint>,
    holder: String,
    lease: Duration,
}

impl NodeNumber {
    /// Leases a number and makes the mint that mints under it, operations above `last_operation`.
    ///
    /// # Errors
    /// When all numbers are held, or meta cannot be written.
    pub async fn take(
        catalog: Arc<Catalog>,
        holder: String,
        lease: Duration,
        last_operation: i64,
    ) -> Result<Self, CatalogError> {
        let taken = catalog.lease_node(&holder, lease).await?;
        let mint = Arc::new(Mint::new(taken.node, taken.used_until, last_operation));
        let number = Self { catalog, mint, holder, lease };
        number.renew().await?;
        tracing::info!(node = taken.node, "node number taken");
        Ok(number)
    }

    /// The mint.
    pub fn mint(&self) -> Arc<Mint> {
        Arc::clone(&self.mint)
    }

    /// Renews until `stop`, then gives the number back. A number that was lost is replaced by another;
    /// while there is none to be had, `serving` objects.
    pub async fn keep(self, serving: Arc<Serving>, stop: CancellationToken) {
        every(self.lease / RENEWALS_PER_LEASE, &stop, || self.look(&serving)).await;
        if let Err(error) = self.catalog.release_node(&self.holder, &self.mint).await {
            tracing::warn!(%error, "node number not given back, it lapses");
        }
    }

    /// One renewal.
    pub async fn look(&self, serving: &Serving) {
        match self.renew().await {
            Ok(Renewal::Held) => serving.agree(Cause::NodeNumber),
            Ok(Renewal::Lost) => self.replace(serving).await,
            // Nobody else gets the number while meta is away: the mint goes on with what it has.
            Err(error) => tracing::error!(%error, "node number not renewed"),
        }
    }

    async fn renew(&self) -> Result<Renewal, CatalogError> {
        self.catalog.renew_node(&self.holder, &self.mint, self.lease).await
    }

    /// Takes another number in the place of one that another process holds by now, because this one
    /// was frozen or cut off for longer than its lease.
    async fn replace(&self, serving: &Serving) {
        let lost = self.mint.node();
        tracing::error!(node = lost, "node number lost to another process, taking another");
        let taken = match self.catalog.lease_node(&self.holder, self.lease).await {
            Ok(taken) => taken,
            Err(error) => {
                self.mint.close();
                let reason =
                    format!("its node number {lost} was lost, and there is no other: {error}");
                return serving.object(Cause::NodeNumber, reason);
            }
        };
        self.mint.adopt(taken.node, taken.used_until);
        match self.renew().await {
            Ok(Renewal::Held) => {
                tracing::info!(node = taken.node, "node number taken");
                serving.agree(Cause::NodeNumber);
            }
            // Looked after at the next renewal.
            Ok(Renewal::Lost) => {}
            Err(error) => {
                let reason =
                    format!("its new node number {} cannot be stored: {error}", taken.node);
                serving.object(Cause::NodeNumber, reason);
            }
        }
    }
}
