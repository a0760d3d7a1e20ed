//! Finishes transfers of stock between shards that somebody has begun and not finished (I5, I9).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::every;
use crate::{clock::Clock, ledger::Ledger};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a transfer is left to whoever has begun it.
const GRACE: Duration = Duration::from_secs(10);
/// Transfers of one shard and round.
const ROUND_ROWS: u32 = 1_000;

/// Looks for transfers every ten seconds. Returns at once where stock cannot travel.
pub async fn run(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    if ledger.shards() > 1 {
        every(INTERVAL, &stop, || finish(ledger.as_ref(), clock.as_ref())).await;
    }
}

/// One round over all shards.
pub async fn finish(ledger: &dyn Ledger, clock: &dyn Clock) {
    let now = clock.now();
    for shard in 0..ledger.shards() {
        match ledger.finish_transfers(shard, now.minus(GRACE), ROUND_ROWS, now).await {
            Ok(0) => {}
            Ok(transfers) => tracing::info!(shard, transfers, "transfers of stock finished"),
            Err(error) => tracing::warn!(%error, shard, "transfers of stock not finished"),
        }
    }
}
