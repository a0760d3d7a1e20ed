//! What has arrived and what is to be told to the broker about it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use pulsar::proto::MessageIdData;
use tokio::sync::Notify;

use crate::{alarm::Delivery, ledger::AlarmRow};

/// Names a message to the broker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) id: MessageIdData,
}

/// What was decided about a delivery.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Never again.
    Done(Place),
    /// Again after a pause.
    Again(Place),
}

#[derive(Default)]
struct State {
    tickets: u64,
    waiting: VecDeque<Delivery>,
    /// Arrived over the present connection and not decided.
    open: HashMap<u64, Place>,
    verdicts: Vec<Verdict>,
}

/// Stands between the consumer's task and whoever handles the deliveries.
pub(super) struct Inbox {
    capacity: usize,
    state: Mutex<State>,
    arrived: Notify,
    /// Something was taken or decided.
    pub(super) changed: Notify,
}

impl Inbox {
    pub(super) fn new(capacity: usize) -> Self {
        let (arrived, changed) = (Notify::new(), Notify::new());
        Self { capacity, state: Mutex::default(), arrived, changed }
    }

    /// A new connection: the broker sends again whatever it was not told to be done, so nothing is
    /// kept of the old one, and decisions about its deliveries go nowhere.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        state.open.clear();
        state.verdicts.clear();
    }

    pub(super) fn has_room(&self) -> bool {
        self.lock().waiting.len() < self.capacity
    }

    pub(super) fn put(&self, alarm: AlarmRow, place: Place) {
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.open.insert(ticket, place);
        state.waiting.push_back(Delivery { alarm, ticket });
        drop(state);
        self.arrived.notify_waiters();
    }

    pub(super) fn take(&self) -> Option<Delivery> {
        let taken = self.lock().waiting.pop_front();
        if taken.is_some() {
            self.changed.notify_one();
        }
        taken
    }

    pub(super) async fn wait(&self) {
        let arrived = self.arrived.notified();
        tokio::pin!(arrived);
        // Before looking, so that nothing arrives unnoticed in between.
        arrived.as_mut().enable();
        if self.lock().waiting.is_empty() {
            arrived.await;
        }
    }

    pub(super) fn done(&self, ticket: u64) {
        self.decide(ticket, Verdict::Done);
    }

    pub(super) fn again(&self, ticket: u64) {
        self.decide(ticket, Verdict::Again);
    }

    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        std::mem::take(&mut self.lock().verdicts)
    }

    fn decide(&self, ticket: u64, verdict: impl FnOnce(Place) -> Verdict) {
        let mut state = self.lock();
        let Some(place) = state.open.remove(&ticket) else { return };
        state.verdicts.push(verdict(place));
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use coupon_domain::{book::AlarmKind, time::Minute};

    use super::*;

    fn alarm(hop: i64) -> AlarmRow {
        let minute = Minute::from_minutes(9);
        AlarmRow { shard: 0, kind: AlarmKind::LockLapse, minute, hop }
    }

    fn place(entry_id: u64) -> Place {
        let id = MessageIdData { ledger_id: 1, entry_id, ..MessageIdData::default() };
        Place { topic: "t".to_owned(), id }
    }

    #[test]
    fn a_decision_is_told_once() {
        let inbox = Inbox::new(2);
        for entry in 0..2 {
            inbox.put(alarm(0), place(entry));
        }
        assert!(!inbox.has_room());
        let (first, second) = (inbox.take().unwrap(), inbox.take().unwrap());
        assert!(inbox.has_room());
        assert_eq!(inbox.take(), None);
        inbox.done(first.ticket);
        inbox.done(first.ticket);
        inbox.again(second.ticket);
        assert_eq!(inbox.verdicts(), [Verdict::Done(place(0)), Verdict::Again(place(1))]);
        assert_eq!(inbox.verdicts(), []);
    }

    #[test]
    fn nothing_outlives_its_connection() {
        let inbox = Inbox::new(9);
        inbox.put(alarm(0), place(0));
        let old = inbox.take().unwrap();
        inbox.put(alarm(1), place(1));
        inbox.begin();
        assert_eq!(inbox.take(), None);
        inbox.put(alarm(0), place(7));
        inbox.done(old.ticket);
        assert_eq!(inbox.verdicts(), [], "a ticket is never of another message");
        assert_eq!(inbox.take().map(|delivery| delivery.alarm), Some(alarm(0)));
    }
}
