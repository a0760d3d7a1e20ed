//! Folds the operation log into the counts that template statistics show.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::every;
use crate::{clock::Clock, ledger::Ledger};

/// Folds every `interval`, `chunk_rows` rows at a time, until there is nothing left.
pub async fn run(
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    chunk_rows: u32,
    stop: CancellationToken,
) {
    every(interval, &stop, || async {
        loop {
            match ledger.fold_stats(chunk_rows, clock.now()).await {
                Ok(rows) if rows == u64::from(chunk_rows) && !stop.is_cancelled() => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "operation log not folded");
                    return;
                }
            }
        }
    })
    .await;
}
