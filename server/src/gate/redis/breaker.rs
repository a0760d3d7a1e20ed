//! Leaves a primary alone for a while after it has failed several times in a row.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Not open.
const CLOSED: u64 = 0;

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    born: Instant,
    failures_max: u32,
    pause: Duration,
    failures: AtomicU32,
    /// Milliseconds after `born` at which one call may try again.
    open_until: AtomicU64,
}

impl Breaker {
    /// Opens after `failures_max` failures in a row, for `pause`.
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        let (failures, open_until) = (AtomicU32::new(0), AtomicU64::new(CLOSED));
        Self {
            born: Instant::now(),
            failures_max: failures_max.max(1),
            pause,
            failures,
            open_until,
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.born).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Whether an open breaker may be tried again: once per pause. Calls do not try, or they would wait
    /// in vain: whoever watches the primary does.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let until = self.open_until.load(Ordering::Acquire);
        let next = self.millis(now + self.pause);
        until != CLOSED
            && self.millis(now) >= until
            && self
                .open_until
                .compare_exchange(until, next, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether calls are being kept away.
    pub(super) fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Acquire) != CLOSED
    }

    /// A call was answered.
    pub(super) fn succeeded(&self) {
        // Read first: it is written by every core otherwise.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.open_until.store(CLOSED, Ordering::Release);
        }
    }

    /// A call was not; true when that has opened it.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < self.failures_max {
            return false;
        }
        self.open_until.swap(self.millis(now + self.pause), Ordering::AcqRel) == CLOSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_failures_in_a_row_and_is_tried_once_per_pause() {
        let (breaker, start) = (Breaker::new(3, PAUSE), Instant::now());
        assert!(!breaker.failed(start) && !breaker.failed(start));
        breaker.succeeded();
        assert!(!breaker.failed(start) && !breaker.failed(start));
        assert!(!breaker.is_open() && !breaker.is_due(start));
        assert!(breaker.failed(start), "the third in a row opens it");
        assert!(!breaker.failed(start), "once");
        assert!(breaker.is_open() && !breaker.is_due(start));
        let later = start + PAUSE + Duration::from_millis(5);
        assert!(breaker.is_due(later) && !breaker.is_due(later), "one tries");
        assert!(breaker.is_open(), "and has not succeeded yet");
        breaker.succeeded();
        assert!(!breaker.is_open() && !breaker.is_due(later));
        assert!(!breaker.failed(later), "it counts anew");
    }
}
