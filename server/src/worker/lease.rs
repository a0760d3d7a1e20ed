//! Keeps the right to mint ids ahead of the clock.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::every;
use crate::{catalog::Catalog, mint::Mint};

/// How often the lease is raised; it reaches several times as far.
const INTERVAL: Duration = Duration::from_secs(60);

/// Raises the lease every minute.
pub async fn run(catalog: Arc<Catalog>, mint: Arc<Mint>, stop: CancellationToken) {
    every(INTERVAL, &stop, || async {
        if let Err(error) = catalog.raise_lease(&mint).await {
            tracing::error!(%error, "the right to mint ids could not be renewed");
        }
    })
    .await;
}
