//! A queue on a test clock over a broker that goes by the wall: a message is handed to the broker
//! when the test clock reaches its time, and taken from it at once.

use std::sync::Arc;

use async_trait::async_trait;
use coupon_domain::time::Timestamp;

use super::{AlarmQueue, AlarmQueueError, Delivery, embedded::EmbeddedAlarms};
use crate::{clock::Clock, ledger::AlarmRow};

/// The queue of a server on a test clock. Like the embedded one it forgets what was not due when the
/// process ended: at the start the relay publishes every alarm row again.
pub struct ClockedAlarms {
    waiting: EmbeddedAlarms,
    broker: Arc<dyn AlarmQueue>,
}

impl ClockedAlarms {
    /// A queue that goes by `clock` and travels through `broker`.
    pub fn new(clock: Arc<dyn Clock>, broker: Arc<dyn AlarmQueue>) -> Self {
        Self { waiting: EmbeddedAlarms::new(clock), broker }
    }
}

#[async_trait]
impl AlarmQueue for ClockedAlarms {
    async fn publish(&self, alarm: AlarmRow, deliver_at: Timestamp) -> Result<(), AlarmQueueError> {
        self.waiting.publish(alarm, deliver_at).await
    }

    async fn try_receive(&self) -> Result<Option<Delivery>, AlarmQueueError> {
        let Some(due) = self.waiting.try_receive().await? else { return Ok(None) };
        self.broker.publish(due.alarm, Timestamp::from_millis(0)).await?;
        loop {
            match self.broker.try_receive().await? {
                Some(delivery) if delivery.alarm == due.alarm => {
                    self.waiting.ack(due).await?;
                    return Ok(Some(delivery));
                }
                // A copy left over from an earlier life of the process.
                Some(stale) => self.broker.ack(stale).await?,
                None => self.broker.wait().await,
            }
        }
    }

    async fn wait(&self) {
        self.waiting.wait().await;
    }

    async fn ack(&self, delivery: Delivery) -> Result<(), AlarmQueueError> {
        self.broker.ack(delivery).await
    }

    async fn retry(&self, delivery: Delivery) {
        self.broker.retry(delivery).await;
    }

    async fn next_due(&self) -> Option<Timestamp> {
        self.waiting.next_due().await
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

#[cfg(test)]
mod tests {
    use coupon_domain::{book::AlarmKind, time::Minute};

    use super::*;
    use crate::clock::{ManualClock, WallClock};

    #[tokio::test]
    async fn messages_travel_through_the_broker_when_the_test_clock_says_so() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
        let broker = Arc::new(EmbeddedAlarms::new(Arc::new(WallClock::default())));
        let queue = ClockedAlarms::new(Arc::clone(&clock) as Arc<dyn Clock>, broker.clone());
        let alarm = |hop| AlarmRow {
            shard: 0,
            kind: AlarmKind::LockLapse,
            minute: Minute::from_minutes(9),
            hop,
        };
        broker.publish(alarm(7), Timestamp::from_millis(0)).await.unwrap();
        queue.publish(alarm(0), Timestamp::from_millis(2_000)).await.unwrap();
        assert_eq!(queue.try_receive().await.unwrap(), None);
        assert_eq!(queue.next_due().await, Some(Timestamp::from_millis(2_000)));
        clock.advance(Timestamp::from_millis(2_000));
        let delivery = queue.try_receive().await.unwrap().unwrap();
        assert_eq!(delivery.alarm, alarm(0));
        queue.ack(delivery).await.unwrap();
        assert_eq!(queue.try_receive().await.unwrap(), None);
        assert_eq!(broker.try_receive().await.unwrap(), None);
    }
}
