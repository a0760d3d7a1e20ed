//! Brings template changes that other nodes have made into this node's memory (R19, R20).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::every;
use crate::catalog::Catalog;

/// Looks for changes every `interval` until `stop`. While meta is away, templates are served as they
/// were known, and the log says so once at either end.
pub async fn run(catalog: Arc<Catalog>, interval: Duration, stop: CancellationToken) {
    let away = AtomicBool::new(false);
    every(interval, &stop, || look(&catalog, &away)).await;
}

async fn look(catalog: &Catalog, away: &AtomicBool) {
    match catalog.see_changes().await {
        Ok(_) if away.swap(false, Ordering::Relaxed) => {
            let served = catalog.stale_served();
            tracing::info!(
                served,
                "templates are up to date again after serving them as last known"
            );
        }
        Ok(_) => {}
        Err(error) if !away.swap(true, Ordering::Relaxed) => {
            tracing::warn!(%error, "template changes not readable, templates served as last known");
        }
        Err(_) => {}
    }
}
