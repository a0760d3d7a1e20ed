//! The alarm queue in process memory. Its messages are gone with the process: at the start the relay
//! publishes every alarm row again.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use coupon_domain::time::Timestamp;
use tokio::sync::Notify;

use super::{AlarmQueue, AlarmQueueError, Delivery};
use crate::{clock::Clock, ledger::AlarmRow};

/// Until a delivery that could not be handled comes again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The embedded alarm queue.
pub struct EmbeddedAlarms {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: BinaryHeap<Reverse<(Timestamp, u64, AlarmRow)>>,
    delivered: HashMap<u64, AlarmRow>,
    tickets: u64,
}

impl EmbeddedAlarms {
    /// An empty queue that goes by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), changed: Notify::new() }
    }

    /// Survives a panic elsewhere: the sweeper repairs whatever was lost.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peek(&self) -> Option<Timestamp> {
        self.state().waiting.peek().map(|Reverse((due, ..))| *due)
    }
}

#[async_trait]
impl AlarmQueue for EmbeddedAlarms {
    async fn publish(&self, alarm: AlarmRow, deliver_at: Timestamp) -> Result<(), AlarmQueueError> {
        let mut state = self.state();
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting.push(Reverse((deliver_at, ticket, alarm)));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    async fn try_receive(&self) -> Result<Option<Delivery>, AlarmQueueError> {
        let now = self.clock.now();
        let mut state = self.state();
        if state.waiting.peek().is_none_or(|Reverse((due, ..))| *due > now) {
            return Ok(None);
        }
        let Some(Reverse((_, ticket, alarm))) = state.waiting.pop() else { return Ok(None) };
        state.delivered.insert(ticket, alarm);
        Ok(Some(Delivery { alarm, ticket }))
    }

    async fn wait(&self) {
        let changed = self.changed.notified();
        match self.peek().map(|due| due.since(self.clock.now())) {
            Some(left) => {
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(left) => {}
                }
            }
            None => changed.await,
        }
    }

    async fn ack(&self, delivery: Delivery) -> Result<(), AlarmQueueError> {
        self.state().delivered.remove(&delivery.ticket);
        Ok(())
    }

    async fn retry(&self, delivery: Delivery) {
        let again_at = self.clock.now().plus(RETRY_AFTER);
        let mut state = self.state();
        if let Some(alarm) = state.delivered.remove(&delivery.ticket) {
            state.waiting.push(Reverse((again_at, delivery.ticket, alarm)));
        }
        drop(state);
        self.changed.notify_one();
    }

    async fn next_due(&self) -> Option<Timestamp> {
        self.peek()
    }
}
