//! A queue under test on a clock that runs: what a broker promises can only be seen in real time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use coupon_domain::time::Timestamp;
use coupon_server::{
    alarm::{AlarmQueue, Delivery, embedded::EmbeddedAlarms},
    clock::{Clock, wall_millis},
    ledger::{AlarmBell, AlarmRow, Ledger},
    worker::{alarms::AlarmHandler, relay::Relay},
};

use super::{QueueUnderTest, message};
use crate::conformance::{
    embedded::Sqlite,
    fixture::{LedgerUnderTest, Shape, World, start},
};

/// No message travels further than this at once.
pub(crate) const SHORT_HOP: Duration = Duration::from_secs(1);
/// Until a test gives up waiting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const SHAPE: Shape = Shape { group_max: 256, queue_max: 16_384 };

/// A clock that runs as the wall's does, from where it is put.
#[derive(Debug)]
pub(crate) struct RunningClock {
    ahead_of_wall: AtomicI64,
}

impl RunningClock {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self { ahead_of_wall: AtomicI64::new(now.as_millis() - wall_millis()) }
    }

    pub(crate) fn jump(&self, to: Timestamp) {
        self.ahead_of_wall.fetch_max(to.as_millis() - wall_millis(), Ordering::SeqCst);
    }
}

impl Clock for RunningClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(wall_millis() + self.ahead_of_wall.load(Ordering::SeqCst))
    }
}

/// A queue with what stands around it, on a clock that runs.
pub(crate) struct RunningWorld {
    under_test: Box<dyn QueueUnderTest>,
    pub(crate) clock: Arc<RunningClock>,
    pub(crate) queue: Arc<dyn AlarmQueue>,
    pub(crate) handler: AlarmHandler,
    pub(crate) world: World,
}

impl RunningWorld {
    pub(crate) async fn start(under_test: Box<dyn QueueUnderTest>) -> Self {
        let ledger: Box<dyn LedgerUnderTest> = Box::new(Sqlite::new());
        let clock = Arc::new(RunningClock::at(start()));
        let relay = new_relay(&clock);
        let bell = Arc::clone(&relay) as Arc<dyn AlarmBell>;
        let world = World::start(ledger, SHAPE, None, Some(bell)).await;
        let queue = under_test.open(Arc::clone(&clock) as Arc<dyn Clock>);
        let handler = handler(&world, &clock, &queue, relay);
        Self { under_test, clock, queue, handler, world }
    }

    pub(crate) async fn finish(&self) {
        self.queue.close().await;
        self.world.finish().await;
    }

    /// The queue's process ends in good order, or dies, and comes again. Where the queue forgets,
    /// every alarm row is published again.
    pub(crate) async fn restart(&mut self, in_good_order: bool) {
        if in_good_order {
            self.queue.close().await;
        }
        // Dropped before the new one is there: it does not receive anything any more.
        let nobody: Arc<dyn AlarmQueue> =
            Arc::new(EmbeddedAlarms::new(Arc::clone(&self.clock) as Arc<dyn Clock>));
        self.queue = Arc::clone(&nobody);
        self.handler = handler(&self.world, &self.clock, &nobody, new_relay(&self.clock));
        self.queue = self.under_test.open(Arc::clone(&self.clock) as Arc<dyn Clock>);
        let relay = new_relay(&self.clock);
        if self.queue.forgets() {
            relay.recall(self.world.ledger().as_ref()).await.expect("recalled");
        }
        self.handler = handler(&self.world, &self.clock, &self.queue, relay);
        self.flush().await;
    }

    /// Publishes what transactions have asked for.
    pub(crate) async fn flush(&self) {
        let ledger = self.world.ledger().as_ref();
        self.handler.relay.flush(self.queue.as_ref(), ledger).await.expect("published");
    }

    /// The node dies before it has published what its transactions wanted.
    pub(crate) fn forget_wanted(&mut self) {
        self.handler.relay = new_relay(&self.clock);
    }

    /// Puts the clock forward. Messages that are published already do not notice.
    pub(crate) fn jump(&mut self, to: Timestamp) {
        self.clock.jump(to);
        self.world.now = to;
    }

    /// Publishes a message of nothing in the ledger, told apart by its hop.
    pub(crate) async fn publish(&self, hop: i64, deliver_at: Timestamp) -> AlarmRow {
        let alarm = message(start(), hop);
        self.queue.publish(alarm, deliver_at).await.expect("accepted");
        alarm
    }

    /// The next delivery.
    pub(crate) async fn receive(&self) -> Delivery {
        receive(self.queue.as_ref()).await
    }

    /// The next `count` deliveries, handled.
    pub(crate) async fn handle(&self, count: usize) {
        for _ in 0..count {
            self.handler.handle(self.receive().await).await.expect("handled");
            self.flush().await;
        }
    }

    /// Handles deliveries until the shard has no more than `left` alarms; how many there were.
    pub(crate) async fn handle_until(&self, left: usize) -> usize {
        self.flush().await;
        let mut handled = 0;
        while self.alarms().await.len() > left {
            self.handle(1).await;
            handled += 1;
        }
        handled
    }

    pub(crate) async fn alarms(&self) -> Vec<AlarmRow> {
        alarms(self.world.ledger().as_ref()).await
    }
}

/// The next delivery of a queue.
pub(crate) async fn receive(queue: &dyn AlarmQueue) -> Delivery {
    let received = async {
        loop {
            match queue.try_receive().await.expect("readable") {
                Some(delivery) => return delivery,
                None => queue.wait().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, received).await.expect("a delivery in time")
}

async fn alarms(ledger: &dyn Ledger) -> Vec<AlarmRow> {
    ledger.alarms(0, Timestamp::MAX, 1_000).await.expect("readable")
}

fn new_relay(clock: &Arc<RunningClock>) -> Arc<Relay> {
    Arc::new(Relay::new(Arc::clone(clock) as Arc<dyn Clock>, SHORT_HOP))
}

fn handler(
    world: &World,
    clock: &Arc<RunningClock>,
    queue: &Arc<dyn AlarmQueue>,
    relay: Arc<Relay>,
) -> AlarmHandler {
    AlarmHandler {
        ledger: Arc::clone(world.ledger()),
        queue: Arc::clone(queue),
        relay,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        chunk_rows: 3,
    }
}

struct InProcess;

impl QueueUnderTest for InProcess {
    fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn AlarmQueue> {
        Arc::new(EmbeddedAlarms::new(clock))
    }
}

/// The embedded queue on a clock that runs.
pub(crate) async fn embedded() -> RunningWorld {
    RunningWorld::start(Box::new(InProcess)).await
}
