//! Time is a port. Every decision takes its `now` from here; the only wall clock read of the
//! platform is in this file.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use coupon_domain::time::Timestamp;

use crate::error::ServiceError;

/// The time that decisions are made by. Deadlines, retries and grouping do not ask it: they stay on
/// monotonic time.
pub trait Clock: Send + Sync {
    /// Now. Never goes back.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct WallClock {
    latest: AtomicI64,
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let wall = wall_millis();
        Timestamp::from_millis(self.latest.fetch_max(wall, Ordering::Relaxed).max(wall))
    }
}

/// A clock that stands still until it is set.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
}

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: AtomicI64::new(now.as_millis()) }
    }

    /// Moves forward to `to`; an earlier instant changes nothing. Returns the time after it.
    pub fn advance(&self, to: Timestamp) -> Timestamp {
        let before = self.now.fetch_max(to.as_millis(), Ordering::SeqCst);
        Timestamp::from_millis(before.max(to.as_millis()))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }
}

/// Moves the clock together with what depends on it.
#[async_trait]
pub trait ClockDriver: Send + Sync {
    /// The server's time.
    fn now(&self) -> Timestamp;

    /// Moves the clock forward to `to`, stopping at every alarm on the way. Answers the new time and
    /// how many alarms were handled.
    ///
    /// # Errors
    /// `Invalid` for a time before now.
    async fn advance(&self, to: Timestamp) -> Result<(Timestamp, i64), ServiceError>;
}

/// Wall time in milliseconds since the Unix epoch, for minting ids: they follow the wall even under
/// a test clock, so that they stay unique over restarts.
#[expect(clippy::disallowed_methods, reason = "this file is where the wall clock is read")]
pub fn wall_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
