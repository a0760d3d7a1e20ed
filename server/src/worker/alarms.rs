//! The alarm loop: hops on the way (R11), a sweep at the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use coupon_domain::{book::AlarmKind, time::Timestamp};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::relay::Relay;
use crate::{
    alarm::{AlarmQueue, AlarmQueueError, Delivery},
    clock::Clock,
    ledger::{AlarmRow, Ledger, LedgerError, NotRedeemed, RedeemCommand, Redeemed},
};

/// Pause after a failure.
const RETRY: Duration = Duration::from_millis(500);
/// Time one chunk of lapses may take.
const LAPSE_DEADLINE: Duration = Duration::from_secs(30);

/// An alarm could not be handled; it will ring again.
#[derive(Debug, thiserror::Error)]
pub enum AlarmError {
    /// The ledger could not do it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The queue could not do it.
    #[error(transparent)]
    Queue(#[from] AlarmQueueError),
}

/// Handles alarms.
pub struct AlarmHandler {
    /// Rows and sweeps.
    pub ledger: Arc<dyn Ledger>,
    /// Messages.
    pub queue: Arc<dyn AlarmQueue>,
    /// Knows what is published.
    pub relay: Arc<Relay>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Rows of one chunk of a sweep.
    pub chunk_rows: u32,
}

impl AlarmHandler {
    /// Handles one delivery: a hop when it came early, otherwise the sweep. Safe to repeat: a stale
    /// copy changes nothing.
    ///
    /// # Errors
    /// When ledger or queue fail; the delivery is not acknowledged then.
    pub async fn handle(&self, delivery: Delivery) -> Result<(), AlarmError> {
        let alarm = delivery.alarm;
        if alarm.shard >= self.ledger.shards() {
            // It would come again for ever.
            tracing::warn!(?alarm, "alarm dropped that is of no shard");
        } else if self.clock.now() < alarm.minute.due_at() {
            self.travel(alarm).await?;
        } else {
            self.ring(alarm).await?;
        }
        self.queue.ack(delivery).await?;
        Ok(())
    }

    /// Counts a hop and sends the message on. If it cannot be sent the relay keeps trying, because
    /// the delivery is a stale copy from now on.
    async fn travel(&self, alarm: AlarmRow) -> Result<(), LedgerError> {
        if !self.ledger.hop(alarm).await? {
            return Ok(());
        }
        let next = AlarmRow { hop: alarm.hop + 1, ..alarm };
        if let Err(error) = self.queue.publish(next, self.relay.next_stop(alarm.minute)).await {
            tracing::warn!(%error, alarm = ?next, "hop not published yet");
            self.relay.again(next);
        }
        Ok(())
    }

    /// Sweeps what fell due in the alarm's minute, and closes the alarm when nothing of it is live.
    ///
    /// # Errors
    /// When the ledger fails; chunks done so far stay done.
    pub async fn ring(&self, alarm: AlarmRow) -> Result<(), AlarmError> {
        let now = self.clock.now();
        match alarm.kind {
            AlarmKind::CouponExpiry => self.expire(alarm, now).await?,
            AlarmKind::LockLapse => self.lapse(alarm, now).await?,
        }
        if self.ledger.close_alarm(alarm).await? {
            self.relay.closed(alarm);
        }
        Ok(())
    }

    async fn expire(&self, alarm: AlarmRow, now: Timestamp) -> Result<(), LedgerError> {
        let mut after = None;
        loop {
            let swept = self.ledger.expire_chunk(alarm, after, self.chunk_rows, now).await?;
            match swept.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn lapse(&self, alarm: AlarmRow, now: Timestamp) -> Result<(), LedgerError> {
        loop {
            let lapsing = self.ledger.lapsing(alarm, self.chunk_rows).await?;
            if lapsing.is_empty() {
                return Ok(());
            }
            let deadline = Instant::now() + LAPSE_DEADLINE;
            let commands = lapsing.into_iter().map(|(user, id)| {
                self.ledger.redeem(RedeemCommand::Lapse(user, id), now, deadline)
            });
            let mut changed = false;
            for outcome in join_all(commands).await {
                match outcome {
                    Ok(redeemed) => changed |= redeemed == Redeemed::Lapsed(true),
                    Err(NotRedeemed::Failed(error)) => return Err(error),
                    Err(NotRedeemed::Refused(_)) => {}
                }
            }
            if !changed {
                return Ok(());
            }
        }
    }

    /// Handles everything that has fallen due; says how many deliveries there were.
    ///
    /// # Errors
    /// The first failure.
    pub async fn handle_due(&self) -> Result<i64, AlarmError> {
        let mut handled = 0;
        self.relay.flush(self.queue.as_ref(), self.ledger.as_ref()).await?;
        while let Some(delivery) = self.queue.try_receive().await? {
            self.handle(delivery).await?;
            handled += 1;
            self.relay.flush(self.queue.as_ref(), self.ledger.as_ref()).await?;
        }
        Ok(handled)
    }

    /// Handles alarms until `stop`. An alarm that fails comes again after a pause.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            match self.queue.try_receive().await {
                Ok(Some(delivery)) => {
                    if let Err(error) = self.handle(delivery).await {
                        tracing::warn!(%error, alarm = ?delivery.alarm, "alarm not handled");
                        self.queue.retry(delivery).await;
                    }
                    if stop.is_cancelled() {
                        return;
                    }
                }
                Ok(None) => tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.queue.wait() => {}
                },
                Err(error) => {
                    tracing::warn!(%error, "alarm queue not readable");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
            }
        }
    }
}
