//! The sweeper: rings alarms that are overdue, whatever has become of their messages (I7), and on a
//! queue that keeps its messages publishes every alarm once more shortly before its time, in case
//! its message was lost or never published.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::alarms::AlarmHandler;
use crate::{alarm::AlarmQueueError, ledger::AlarmRow};

/// Overdue alarms of one round.
const ROUND_ROWS: u32 = 1_000;
/// Alarms of one shard that are published once more in one pass.
const REMIND_ROWS: u32 = 30_000;
/// Between two such passes, at most; also how far ahead of its time an alarm is published again.
const REMIND_PERIOD: Duration = Duration::from_secs(600);
/// How long after its time such a copy arrives: by then the message has been handled in most cases,
/// and the copy finds nothing to do.
const REMIND_DELAY: Duration = Duration::from_secs(10);

/// Rings, every `interval`, what has been overdue for longer than `grace`.
pub async fn run(
    handler: Arc<AlarmHandler>,
    interval: Duration,
    grace: Duration,
    stop: CancellationToken,
) {
    let period = handler.relay.hop_max().min(REMIND_PERIOD);
    // A pass covers the time until the next one has surely begun.
    let ahead = period + 2 * interval;
    let mut reminded: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        sweep(&handler, grace).await;
        if !handler.queue.forgets() && reminded.is_none_or(|at| at.elapsed() >= period) {
            reminded = Some(Instant::now());
            remind(&handler, ahead).await;
        }
    }
}

/// Publishes every alarm that falls due within `ahead` once more; says how many. Nothing tells which
/// of them have lost their message, and there are at most as many as minutes, kinds and shards.
pub async fn remind(handler: &AlarmHandler, ahead: Duration) -> usize {
    let now = handler.clock.now();
    let mut published = 0;
    for shard in 0..handler.ledger.shards() {
        let rows = match handler.ledger.alarms(shard, now.plus(ahead), REMIND_ROWS).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, shard, "alarms due soon not readable");
                continue;
            }
        };
        // What is overdue is rung by the sweep.
        for alarm in rows.into_iter().filter(|row| row.minute.due_at() > now) {
            if let Err(error) = remind_of(handler, alarm).await {
                tracing::warn!(%error, "alarms due soon not published again");
                return published;
            }
            published += 1;
        }
    }
    published
}

async fn remind_of(handler: &AlarmHandler, alarm: AlarmRow) -> Result<(), AlarmQueueError> {
    let furthest = handler.clock.now().plus(handler.relay.hop_max());
    let at = alarm.minute.due_at().plus(REMIND_DELAY).min(furthest);
    handler.queue.publish(alarm, at).await
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
