//! Leases of background loops: of any number of nodes one runs each. Two may for a moment, when one
//! was frozen: every loop is safe to repeat.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{catalog::Catalog, clock::wall_millis};

/// Renewals and tries in one lease: two may fail.
const TRIES_PER_LEASE: u32 = 3;

/// Wall time in milliseconds; a test has its own.
type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Takes leases in the name of one process.
#[derive(Clone)]
pub struct Leadership {
    catalog: Arc<Catalog>,
    holder: Arc<str>,
    lease: Duration,
    now: Now,
}

impl Leadership {
    /// `holder` is a text that no other process has; a loop is taken over within `lease` after its
    /// holder has died.
    pub fn new(catalog: Arc<Catalog>, holder: &str, lease: Duration) -> Self {
        Self::with_now(catalog, holder, lease, Arc::new(wall_millis))
    }

    /// One that goes by a time of one's own.
    pub fn with_now(catalog: Arc<Catalog>, holder: &str, lease: Duration, now: Now) -> Self {
        Self { catalog, holder: holder.into(), lease, now }
    }

    /// Runs the loop `name` whenever this process has its lease, until `stop`. `work` gets a token
    /// that is cancelled when the lease is lost or `stop` is; it ends soon after.
    pub async fn run<F: Future<Output = ()>>(
        self,
        name: &'static str,
        stop: CancellationToken,
        mut work: impl FnMut(CancellationToken) -> F,
    ) {
        let pause = self.lease / TRIES_PER_LEASE;
        loop {
            if self.take(name).await == Some(true) {
                tracing::info!(name, "background loop taken");
                self.lead(name, &stop, &mut work).await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Works until the work ends, the lease is lost or `stop`.
    async fn lead<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        work: &mut impl FnMut(CancellationToken) -> F,
    ) {
        let leading = stop.child_token();
        let mut working = pin!(work(leading.clone()));
        tokio::select! {
            () = &mut working => {}
            () = self.keep(name, &leading) => {
                leading.cancel();
                if tokio::time::timeout(self.lease, &mut working).await.is_err() {
                    tracing::warn!(name, "background loop was cut off");
                }
            }
        }
        if let Err(error) = self.catalog.release_loop(name, &self.holder).await {
            tracing::warn!(%error, name, "lease of a background loop not given back, it lapses");
        }
    }

    /// Renews; returns when the lease is lost or `leading` is cancelled.
    async fn keep(&self, name: &'static str, leading: &CancellationToken) {
        let mut held_since = Instant::now();
        loop {
            tokio::select! {
                () = leading.cancelled() => return,
                () = tokio::time::sleep(self.lease / TRIES_PER_LEASE) => {}
            }
            let asked = Instant::now();
            match self.take(name).await {
                Some(true) => held_since = asked,
                Some(false) => {
                    tracing::warn!(name, "background loop was taken over by another node");
                    return;
                }
                None if held_since.elapsed() >= self.lease => {
                    tracing::warn!(name, "lease of a background loop has lapsed");
                    return;
                }
                None => {}
            }
        }
    }

    /// Takes or renews the lease; `None` when meta cannot be asked.
    async fn take(&self, name: &'static str) -> Option<bool> {
        let asked = self.catalog.lease_loop(name, &self.holder, self.lease, (self.now)());
        match tokio::time::timeout(self.lease, asked).await {
            Ok(Ok(held)) => Some(held),
            Ok(Err(error)) => {
                tracing::warn!(%error, name, "lease of a background loop not to be had");
                None
            }
            Err(_) => None,
        }
    }
}
