//! The relay: publishes the alarms that transactions have asked for.
//!
//! Each node's relay publishes what the node's own transactions wanted, after their commit. Its
//! memory is of bounded size and lost with the process, and that is enough:
//! - A row whose message was never published, or was lost on the way, is published again by whoever
//!   runs the sweeper, shortly before it falls due (`sweeper::remind`). On a queue that keeps its
//!   messages nothing is published again at the start of a node.
//! - What is published twice is harmless. Early copies count hops by compare-and-set, so at most one
//!   travels on; late ones find nothing left to sweep.
//! - What slips through all of this is rung by the sweeper, a grace after its time.
//! - On a queue that forgets (the embedded one), [`Relay::recall`] asks for every row at the start.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use coupon_domain::{
    book::AlarmKind,
    time::{Minute, Timestamp},
};
use futures::future::join_all;
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

/// Alarms remembered as published, and alarms waiting to be, at most.
const REMEMBERED_MAX: usize = 100_000;
/// Messages that are published at once.
const AT_ONCE: usize = 32;

/// Ordered by the minute, so that what is due first goes first.
type Key = (Minute, ShardId, AlarmKind);

#[derive(Default)]
struct State {
    /// Published or about to be: asking for them again changes nothing. The oldest minutes are
    /// forgotten first.
    known: BTreeSet<Key>,
    /// The furthest minutes are given up first: what is published shortly before its time makes up
    /// for them.
    wanted: BTreeSet<Key>,
}

impl State {
    /// Wants an alarm, unless it is known. One that is due already is wanted in any case: it may
    /// have been closed by another node since it became known.
    fn want(&mut self, key: Key, now: Timestamp) {
        if self.known.insert(key) || key.0.due_at() <= now {
            self.wanted.insert(key);
        }
        while self.known.len() > REMEMBERED_MAX {
            self.known.pop_first();
        }
        while self.wanted.len() > REMEMBERED_MAX {
            if let Some(given_up) = self.wanted.pop_last() {
                self.known.remove(&given_up);
            }
        }
    }

    /// Takes a handful of what is due first.
    fn take(&mut self) -> Vec<Key> {
        std::iter::from_fn(|| self.wanted.pop_first()).take(AT_ONCE).collect()
    }
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
        let now = self.clock.now();
        let mut state = self.state();
        for (kind, minute) in alarms {
            state.want((*minute, shard, *kind), now);
        }
        let more = !state.wanted.is_empty();
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

    /// The longest way of a message.
    pub fn hop_max(&self) -> Duration {
        self.hop_max
    }

    /// When a message that is published now for `minute` is to arrive.
    pub fn next_stop(&self, minute: Minute) -> Timestamp {
        minute.due_at().min(self.clock.now().plus(self.hop_max))
    }

    /// Forgets an alarm that is closed, so that it can be asked for again.
    pub fn closed(&self, alarm: AlarmRow) {
        self.state().known.remove(&(alarm.minute, alarm.shard, alarm.kind));
    }

    /// Publishes an alarm whatever is known of it, as soon as it can be, with the hop count that its
    /// row has by then.
    pub fn again(&self, alarm: AlarmRow) {
        self.state().wanted.insert((alarm.minute, alarm.shard, alarm.kind));
        self.changed.notify_one();
    }

    /// Asks for every alarm row of the ledger, as after a restart on a queue that forgets.
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
        loop {
            let batch = self.state().take();
            if batch.is_empty() {
                return Ok(());
            }
            let published =
                join_all(batch.iter().map(|key| self.publish(*key, queue, ledger))).await;
            let mut failed = None;
            for (key, published) in batch.into_iter().zip(published) {
                if let Err(error) = published {
                    self.state().wanted.insert(key);
                    failed.get_or_insert(error);
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }

    async fn publish(
        &self,
        (minute, shard, kind): Key,
        queue: &dyn AlarmQueue,
        ledger: &dyn Ledger,
    ) -> Result<(), AlarmQueueError> {
        let hop = ledger.alarm_hop(shard, kind, minute).await;
        match hop.map_err(|error| AlarmQueueError(error.to_string()))? {
            Some(hop) => {
                let alarm = AlarmRow { shard, kind, minute, hop };
                queue.publish(alarm, self.next_stop(minute)).await
            }
            // Closed already.
            None => Ok(()),
        }
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
            // A broker that does not answer must not hold up the end: what is not published by then is
            // found by the sweeper.
            let published = async {
                while let Err(error) = self.flush(queue.as_ref(), ledger.as_ref()).await {
                    tracing::warn!(%error, "alarms not published");
                    tokio::time::sleep(RETRY).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = published => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const NOW: Timestamp = Timestamp::from_millis(60_000);

    fn key(minute: i64) -> Key {
        (Minute::from_minutes(minute), 0, AlarmKind::CouponExpiry)
    }

    #[test]
    fn an_alarm_is_wanted_once_until_it_is_due() {
        let mut state = State::default();
        state.want(key(9), NOW);
        assert_eq!(state.take(), [key(9)]);
        state.want(key(9), NOW);
        assert_eq!(state.take(), []);
        state.want(key(9), Minute::from_minutes(9).due_at());
        assert_eq!(state.take(), [key(9)]);
    }

    #[test]
    fn what_is_due_first_goes_first() {
        let mut state = State::default();
        for minute in [7, 3, 5] {
            state.want(key(minute), NOW);
        }
        assert_eq!(state.take(), [key(3), key(5), key(7)]);
    }

    // R11: however many coupons share the minute.
    #[test]
    fn thirty_days_are_360_messages() {
        let clock = Arc::new(ManualClock::new(NOW));
        let hop_max = Duration::from_secs(2 * 3_600);
        let relay = Relay::new(Arc::clone(&clock) as Arc<dyn Clock>, hop_max);
        let due = NOW.plus(Duration::from_secs(30 * 24 * 3_600)).due_minute();
        for _ in 0..1_000 {
            relay.wanted(0, &[(AlarmKind::CouponExpiry, due)]);
        }
        let mut messages = relay.state().take().len();
        assert_eq!(messages, 1);
        while clock.advance(relay.next_stop(due)) < due.due_at() {
            messages += 1;
        }
        assert_eq!(messages, 360);
    }

    #[test]
    fn memory_is_bounded() {
        let mut state = State::default();
        let most = i64::try_from(REMEMBERED_MAX).unwrap();
        for minute in 10..most + 20 {
            state.want(key(minute), NOW);
        }
        assert!(state.known.len() <= REMEMBERED_MAX);
        assert_eq!(state.wanted.len(), REMEMBERED_MAX);
        assert!(state.wanted.contains(&key(10)), "the nearest is published");
        let published = std::iter::from_fn(|| Some(state.take()).filter(|keys| !keys.is_empty()));
        assert_eq!(published.flatten().count(), REMEMBERED_MAX);
        // Published all, and forgotten from the oldest on.
        for minute in most + 20..most + 30 {
            state.want(key(minute), NOW);
        }
        assert!(!state.known.contains(&key(10)) && state.known.contains(&key(most + 29)));
    }
}
