//! Time: messages that arrive when something falls due.
//!
//! A message is a hint; the alarm row in the ledger is the truth, and `now >= valid_until` decides
//! everything whether or not any alarm has rung. The contract of every queue:
//! - A published message is delivered at least once, at or after `deliver_at` by the clock the queue
//!   was given; a broker may deliver early, and who receives it checks the time again.
//! - A delivery that is never acknowledged comes again, at the latest after a restart of the queue.
//!   An acknowledgement may be lost, so what was acknowledged may come again too: who receives a
//!   message does nothing twice for it.
//! - Messages may be lost, repeated or reordered: that costs delay, nothing else.
//! - Nobody publishes further ahead than the hop limit; longer ways are travelled in hops (R11).

pub mod clocked;
pub mod embedded;
pub mod pulsar;

use async_trait::async_trait;
use coupon_domain::time::Timestamp;

use crate::ledger::AlarmRow;

/// The queue could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the alarm queue is not available: {0}")]
pub struct AlarmQueueError(pub String);

/// A message that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Which alarm, and how many hops it had travelled when it was published.
    pub alarm: AlarmRow,
    /// Names the delivery to [`AlarmQueue::ack`].
    pub ticket: u64,
}

/// The queue. See the module's contract.
#[async_trait]
pub trait AlarmQueue: Send + Sync {
    /// Publishes a message for `deliver_at`.
    ///
    /// # Errors
    /// When it was not accepted.
    async fn publish(&self, alarm: AlarmRow, deliver_at: Timestamp) -> Result<(), AlarmQueueError>;

    /// A message that has fallen due, if there is one now.
    ///
    /// # Errors
    /// When the queue cannot be asked.
    async fn try_receive(&self) -> Result<Option<Delivery>, AlarmQueueError>;

    /// Waits until [`Self::try_receive`] may have something. May return early; a clock that is moved
    /// by hand does not wake it.
    async fn wait(&self);

    /// Done with a delivery.
    ///
    /// # Errors
    /// When the queue could not be told; the message will come again.
    async fn ack(&self, delivery: Delivery) -> Result<(), AlarmQueueError>;

    /// A delivery could not be handled: it comes again after a pause, here or elsewhere. A queue that
    /// cannot do that leaves the alarm to the sweeper.
    async fn retry(&self, _delivery: Delivery) {}

    /// When the next message falls due, if the queue knows.
    async fn next_due(&self) -> Option<Timestamp>;

    /// Whether messages are gone with the process, so that every alarm has to be published again at
    /// the start.
    fn forgets(&self) -> bool {
        true
    }

    /// Whether messages can be published, and received where this process does so.
    ///
    /// # Errors
    /// One plain sentence that names what is wrong and what it means.
    fn health(&self) -> Result<(), AlarmQueueError> {
        Ok(())
    }

    /// Sends what was accepted for sending and stops; a delivery that was not acknowledged comes
    /// again elsewhere.
    async fn close(&self) {}
}
