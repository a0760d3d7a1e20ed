//! The sweeper: rings alarms that are overdue, whatever has become of their messages (I7).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{alarms::AlarmHandler, every};

/// Overdue alarms of one round.
const ROUND_ROWS: u32 = 1_000;

/// Rings, every `interval`, what has been overdue for longer than `grace`.
pub async fn run(
    handler: Arc<AlarmHandler>,
    interval: Duration,
    grace: Duration,
    stop: CancellationToken,
) {
    every(interval, &stop, || sweep(&handler, grace)).await;
}

/// One round over all shards.
pub async fn sweep(handler: &AlarmHandler, grace: Duration) {
    let before = handler.clock.now().minus(grace);
    for shard in 0..handler.ledger.shards() {
        let overdue = match handler.ledger.alarms(shard, before, ROUND_ROWS).await {
            Ok(overdue) => overdue,
            Err(error) => {
                tracing::warn!(%error, shard, "overdue alarms not readable");
                continue;
            }
        };
        for alarm in overdue {
            tracing::info!(?alarm, "overdue alarm found by the sweeper");
            if let Err(error) = handler.ring(alarm).await {
                tracing::warn!(%error, ?alarm, "overdue alarm not handled");
            }
        }
    }
}
