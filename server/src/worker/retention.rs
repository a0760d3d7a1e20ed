//! Deletes redemptions and recorded request ids whose retention is over.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::every;
use crate::{catalog::Catalog, clock::Clock, ledger::Ledger};

/// Rows of one step.
const STEP_ROWS: u32 = 1_000;
/// How often the whole is gone through.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// CANCELLED and LAPSED redemptions: longer than any coordinator retries.
    pub fences: Duration,
    /// CONFIRMED and RESTORED redemptions.
    pub uses: Duration,
    /// Request ids of template changes.
    pub requests: Duration,
}

/// Purges once an hour.
pub async fn run(
    ledger: Arc<dyn Ledger>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    stop: CancellationToken,
) {
    every(INTERVAL, &stop, || async {
        purge(ledger.as_ref(), clock.as_ref(), retention, &stop).await;
        let before = clock.now().minus(retention.requests);
        if let Err(error) = catalog.purge_requests(before).await {
            tracing::warn!(%error, "recorded request ids not purged");
        }
    })
    .await;
}

async fn purge(
    ledger: &dyn Ledger,
    clock: &dyn Clock,
    retention: Retention,
    stop: &CancellationToken,
) {
    let now = clock.now();
    let (fences, uses) = (now.minus(retention.fences), now.minus(retention.uses));
    for shard in 0..ledger.shards() {
        let mut after = Some(0);
        while let Some(cursor) = after.filter(|_| !stop.is_cancelled()) {
            match ledger.purge_redemptions(shard, cursor, fences, uses, STEP_ROWS).await {
                Ok(purged) => after = purged.next,
                Err(error) => {
                    tracing::warn!(%error, shard, "redemptions not purged");
                    break;
                }
            }
        }
    }
}
