//! The relay: publishes the alarms that transactions have asked for.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use coupon_domain::{
    book::AlarmKind,
    time::{Minute, Timestamp},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    alarm::{AlarmQueue, AlarmQueueError},
    clock::Clock,
    ledger::{AlarmBell, AlarmRow, Ledger, LedgerError, ShardId},
};

/// Pause after the queue has refused a message.
const RETRY: Duration = Duration::from_millis(500);
/// Rows of one read at the start.
const START_ROWS: u32 = 100_000;

type Key = (ShardId, AlarmKind, Minute);

#[derive(Default)]
struct State {
    /// Published or about to be: asking for them again changes nothing.
    known: HashSet<Key>,
    wanted: Vec<Key>,
}

/// Remembers what is to be published.
pub struct Relay {
    state: Mutex<State>,
    changed: Notify,
    clock: Arc<dyn Clock>,
    hop_max: Duration,
}

impl AlarmBell for Relay {
    fn wanted(&self, shard: ShardId, alarms: &[(AlarmKind, Minute)]) {
        if alarms.is_empty() {
            return;
        }
        let mut state = self.state();
        let before = state.wanted.len();
        for (kind, minute) in alarms {
            let key = (shard, *kind, *minute);
            if state.known.insert(key) {
                state.wanted.push(key);
            }
        }
        let more = state.wanted.len() > before;
        drop(state);
        if more {
            self.changed.notify_one();
        }
    }
}

impl Relay {
    /// A relay whose messages travel at most `hop_max` at once.
    pub fn new(clock: Arc<dyn Clock>, hop_max: Duration) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), clock, hop_max }
    }

    /// Survives a panic elsewhere: the sweeper finds what was never published.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a message that is published now for `minute` is to arrive.
    pub fn next_stop(&self, minute: Minute) -> Timestamp {
        minute.due_at().min(self.clock.now().plus(self.hop_max))
    }

    /// Forgets an alarm that is closed, so that it can be asked for again.
    pub fn closed(&self, alarm: AlarmRow) {
        self.state().known.remove(&(alarm.shard, alarm.kind, alarm.minute));
    }

    /// Asks for every alarm row of the ledger, as after a restart.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn recall(&self, ledger: &dyn Ledger) -> Result<(), LedgerError> {
        for shard in 0..ledger.shards() {
            let rows = ledger.alarms(shard, Timestamp::MAX, START_ROWS).await?;
            let alarms: Vec<_> = rows.iter().map(|row| (row.kind, row.minute)).collect();
            self.wanted(shard, &alarms);
        }
        Ok(())
    }

    /// Publishes what has been asked for. The messages carry the hop count that the rows have.
    ///
    /// # Errors
    /// When the queue or the ledger refuses; what was not published stays wanted.
    pub async fn flush(
        &self,
        queue: &dyn AlarmQueue,
        ledger: &dyn Ledger,
    ) -> Result<(), AlarmQueueError> {
        let mut wanted = std::mem::take(&mut self.state().wanted);
        while let Some((shard, kind, minute)) = wanted.pop() {
            let published = async {
                let hop = ledger
                    .alarm_hop(shard, kind, minute)
                    .await
                    .map_err(|error| AlarmQueueError(error.to_string()))?;
                match hop {
                    Some(hop) => {
                        let alarm = AlarmRow { shard, kind, minute, hop };
                        queue.publish(alarm, self.next_stop(minute)).await
                    }
                    // Closed already.
                    None => Ok(()),
                }
            };
            if let Err(error) = published.await {
                let mut state = self.state();
                state.wanted.push((shard, kind, minute));
                state.wanted.append(&mut wanted);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Publishes until `stop`.
    pub async fn run(
        &self,
        queue: Arc<dyn AlarmQueue>,
        ledger: Arc<dyn Ledger>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
            }
            while let Err(error) = self.flush(queue.as_ref(), ledger.as_ref()).await {
                tracing::warn!(%error, "alarms not published");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }
}
