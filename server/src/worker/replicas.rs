//! Keeps an eye on the read replicas.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::every;
use crate::{
    clock::{Clock as _, WallClock},
    ledger::Ledger,
};

/// Between two beats, and between two looks: what a read waits at most for a replica to be known as
/// fresh enough.
const INTERVAL: Duration = Duration::from_millis(200);

/// Leaves the time in the primaries; one node is enough.
pub async fn beat(ledger: Arc<dyn Ledger>, stop: CancellationToken) {
    let clock = WallClock::default();
    every(INTERVAL, &stop, || async {
        if let Err(error) = ledger.beat(clock.now()).await {
            tracing::debug!(%error, "a primary was not told the time");
        }
    })
    .await;
}

/// Looks how far the replicas have come; every node for itself.
pub async fn look(ledger: Arc<dyn Ledger>, stop: CancellationToken) {
    every(INTERVAL, &stop, || ledger.look_at_replicas()).await;
}
