//! Moves a test clock forward, alarm by alarm.

use std::sync::Arc;

use async_trait::async_trait;
use coupon_domain::time::Timestamp;
use tokio::sync::Mutex;

use super::alarms::{AlarmError, AlarmHandler};
use crate::{
    catalog::Catalog,
    clock::{Clock, ClockDriver, ManualClock},
    error::ServiceError,
};

/// Drives the clock of a server started with `--test-clock`.
pub struct TestClock {
    clock: Arc<ManualClock>,
    handler: Arc<AlarmHandler>,
    catalog: Arc<Catalog>,
    /// One advance at a time.
    moving: Mutex<()>,
}

impl TestClock {
    /// A driver of `clock`; its time is kept in the catalog's database.
    pub fn new(clock: Arc<ManualClock>, handler: Arc<AlarmHandler>, catalog: Arc<Catalog>) -> Self {
        Self { clock, handler, catalog, moving: Mutex::new(()) }
    }

    /// Steps through every alarm and hop up to `to`, in due order, each with the clock at its due
    /// instant.
    async fn step_through(&self, to: Timestamp) -> Result<i64, AlarmError> {
        let mut handled = self.handler.handle_due().await?;
        while let Some(due) = self.handler.queue.next_due().await.filter(|due| *due <= to) {
            self.clock.advance(due);
            handled += self.handler.handle_due().await?;
        }
        self.clock.advance(to);
        Ok(handled)
    }
}

#[async_trait]
impl ClockDriver for TestClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn advance(&self, to: Timestamp) -> Result<(Timestamp, i64), ServiceError> {
        let _moving = self.moving.lock().await;
        let now = self.clock.now();
        if to < now {
            let description = format!("must not be before the server's time, {now}");
            return Err(ServiceError::invalid("to", description));
        }
        let unavailable = |error: String| ServiceError::Unavailable(error);
        // Kept first: after a crash on the way the clock must not stand before what was written.
        let kept = self.catalog.keep_test_clock(to).await;
        kept.map_err(|error| unavailable(error.to_string()))?;
        let handled = self.step_through(to).await;
        let handled = handled.map_err(|error| unavailable(error.to_string()))?;
        Ok((self.clock.now(), handled))
    }
}
