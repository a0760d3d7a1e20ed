//! What every alarm queue keeps, alone and under the relay, the handler and the sweeper.
//!
//! `promises` are checks of every queue, on a clock that runs. `queue` and `journey` are checks of a
//! queue that goes by the clock it was given wherever that is put, as only one in the same process
//! can: they see the order, the count and the very instant of every message.

pub(super) mod journey;
pub(super) mod promises;
pub(super) mod queue;
pub(super) mod running;

use std::{sync::Arc, time::Duration};

use coupon_domain::{book::AlarmKind, time::Timestamp};
use coupon_server::{
    alarm::AlarmQueue,
    clock::{Clock, ManualClock},
    ledger::{AlarmBell, AlarmRow},
    worker::{alarms::AlarmHandler, relay::Relay},
};

use super::fixture::{LedgerUnderTest, Shape, World, start};

/// No message travels further than this at once.
pub(crate) const HOP: Duration = Duration::from_secs(2 * 3_600);

/// A back end of the alarm queue. Implement it, and add a line to the suites.
pub(crate) trait QueueUnderTest: Send + Sync {
    /// The queue as a starting process finds it, going by `clock`.
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn AlarmQueue>;
}

/// A queue with what stands around it, on a clock moved by hand.
pub(crate) struct AlarmWorld {
    under_test: Box<dyn QueueUnderTest>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) queue: Arc<dyn AlarmQueue>,
    pub(crate) handler: AlarmHandler,
    pub(crate) world: World,
}

impl AlarmWorld {
    pub(crate) async fn start(
        under_test: Box<dyn QueueUnderTest>,
        ledger: Box<dyn LedgerUnderTest>,
        shape: Shape,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(start()));
        let port: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let relay = Arc::new(Relay::new(Arc::clone(&port), HOP));
        let bell = Arc::clone(&relay) as Arc<dyn AlarmBell>;
        let world = World::start(ledger, shape, None, Some(bell)).await;
        let queue = under_test.open(Arc::clone(&port));
        let handler = AlarmHandler {
            ledger: Arc::clone(world.ledger()),
            queue: Arc::clone(&queue),
            relay,
            clock: port,
            chunk_rows: 3,
        };
        Self { under_test, clock, queue, handler, world }
    }

    pub(crate) async fn finish(&self) {
        self.world.finish().await;
    }

    /// The queue dies with its process; the relay asks for every alarm row again.
    pub(crate) async fn restart_queue(&mut self) {
        let port: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        self.queue = self.under_test.open(Arc::clone(&port));
        let relay = Arc::new(Relay::new(Arc::clone(&port), HOP));
        relay.recall(self.world.ledger().as_ref()).await.expect("recalled");
        self.handler = AlarmHandler {
            ledger: Arc::clone(self.world.ledger()),
            queue: Arc::clone(&self.queue),
            relay,
            clock: port,
            chunk_rows: 3,
        };
        self.flush().await;
    }

    /// Publishes what transactions have asked for.
    pub(crate) async fn flush(&self) {
        let ledger = self.world.ledger().as_ref();
        self.handler.relay.flush(self.queue.as_ref(), ledger).await.expect("published");
    }

    pub(crate) fn set_time(&mut self, to: Timestamp) {
        self.clock.advance(to);
        self.world.now = to;
    }

    /// Steps from message to message until `to`; how many were handled.
    pub(crate) async fn advance(&mut self, to: Timestamp) -> i64 {
        let mut handled = self.handler.handle_due().await.expect("handled");
        while let Some(due) = self.queue.next_due().await.filter(|due| *due <= to) {
            self.set_time(due);
            handled += self.handler.handle_due().await.expect("handled");
        }
        self.set_time(to);
        handled
    }

    /// Everything that has fallen due, acknowledged.
    pub(crate) async fn receive_all(&self) -> Vec<AlarmRow> {
        let mut received = Vec::new();
        while let Some(delivery) = self.queue.try_receive().await.expect("readable") {
            self.queue.ack(delivery).await.expect("acknowledged");
            received.push(delivery.alarm);
        }
        received
    }

    pub(crate) async fn alarms(&self) -> Vec<AlarmRow> {
        self.world.ledger().alarms(0, Timestamp::MAX, 1_000).await.expect("readable")
    }
}

/// The message of an alarm that rings at `at`.
pub(crate) fn message(at: Timestamp, hop: i64) -> AlarmRow {
    AlarmRow { shard: 0, kind: AlarmKind::CouponExpiry, minute: at.due_minute(), hop }
}
