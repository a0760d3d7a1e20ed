//! What the shoppers asked and were told, in order.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use coupon_client::{ClientError, tonic::Code, v1::ErrorReason};
use tokio::sync::Notify;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// The user takes a coupon.
    Claim,
    /// The user is given one.
    Issue,
    /// Try of an order.
    Lock,
    /// The order is paid.
    Confirm,
    /// The order is given up.
    Cancel,
    /// The order is refunded.
    Restore,
}

impl Verb {
    /// Whether it makes coupons.
    pub fn gives(self) -> bool {
        matches!(self, Self::Claim | Self::Issue)
    }
}

/// How an order stands, as the platform tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderState {
    /// Its coupons are held.
    Locked,
    /// Its coupons are used.
    Confirmed,
    /// Its coupons are free again.
    Cancelled,
    /// Its lock ran out.
    Lapsed,
    /// Its coupons were given back.
    Restored,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// W or R: coupons were given, now or before.
    Given {
        /// Which.
        coupons: Vec<i64>,
        /// Whether the platform says that it was before.
        replayed: bool,
    },
    /// W or R: the order stands like this.
    Order {
        /// Its redemption.
        redemption: i64,
        /// Its state.
        state: OrderState,
        /// Its coupons.
        coupons: Vec<i64>,
    },
    /// L: refused, and by which rule.
    Lost(ErrorReason),
    /// N: not admitted, proven without effect.
    NotAdmitted,
    /// U: nobody knows; the same request id settles it.
    Unknown,
}

impl Outcome {
    /// W, R or L.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::NotAdmitted | Self::Unknown)
    }

    /// W or R.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Given { .. } | Self::Order { .. })
    }

    /// What an error says.
    pub fn of_error(error: &ClientError) -> Self {
        Self::of(error.code(), error.reason())
    }

    pub(super) fn of(code: Code, reason: Option<ErrorReason>) -> Self {
        match (code, reason) {
            (Code::Unavailable | Code::ResourceExhausted, Some(_)) => Self::NotAdmitted,
            // A connection that broke, or was never made.
            (Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled, _) => Self::Unknown,
            (_, Some(reason)) => Self::Lost(reason),
            (_, None) => Self::Unknown,
        }
    }
}

/// One attempt: a request that was sent once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What was asked.
    pub verb: Verb,
    /// Of which node.
    pub node: usize,
    /// For whom.
    pub user: i64,
    /// Of which template.
    pub template: i64,
    /// Of which order; empty for what gives coupons.
    pub order: String,
    /// Its idempotency key.
    pub request_id: String,
    /// Stands for its body: equal bodies, equal numbers.
    pub body: u64,
    /// When it was sent, since the log began.
    pub start: Duration,
    /// When it was answered, since the log began.
    pub end: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// Where shoppers write what they do.
#[derive(Debug)]
pub struct Log {
    began: Instant,
    ops: Mutex<Vec<Op>>,
    won: Notify,
}

impl Default for Log {
    fn default() -> Self {
        Self { began: Instant::now(), ops: Mutex::default(), won: Notify::new() }
    }
}

impl Log {
    /// Time since the log began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes an attempt that has ended.
    pub fn add(&self, op: Op) {
        if matches!(op.outcome, Outcome::Given { replayed: false, .. }) {
            self.won.notify_waiters();
        }
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
    }

    /// Waits for the next coupon that somebody is told to have.
    pub async fn next_win(&self) {
        self.won.notified().await;
    }

    /// Attempts noted so far.
    pub fn len(&self) -> usize {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing has been noted yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All attempts in the order of their starts; the log is empty after it.
    pub fn take(&self) -> Vec<Op> {
        let mut ops = std::mem::take(&mut *self.ops.lock().unwrap_or_else(PoisonError::into_inner));
        ops.sort_by_key(|op| (op.start, op.end));
        ops
    }
}

/// Definite answers a second between two instants; 0 when there is nothing between them.
pub fn goodput(ops: &[Op], from: Duration, until: Duration) -> f64 {
    let within = |op: &&Op| op.end >= from && op.end < until && op.outcome.is_definite();
    let length = until.saturating_sub(from).as_secs_f64();
    if length <= 0.0 {
        return 0.0;
    }
    // Counts of one run are far below the precision of a double.
    ops.iter().filter(within).count() as f64 / length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_become_the_five_outcomes() {
        let reason = Some(ErrorReason::BackendUnavailable);
        assert_eq!(Outcome::of(Code::Unavailable, reason), Outcome::NotAdmitted);
        let reason = Some(ErrorReason::Overloaded);
        assert_eq!(Outcome::of(Code::ResourceExhausted, reason), Outcome::NotAdmitted);
        assert_eq!(Outcome::of(Code::Unavailable, None), Outcome::Unknown);
        let reason = Some(ErrorReason::OutcomeUnknown);
        assert_eq!(Outcome::of(Code::DeadlineExceeded, reason), Outcome::Unknown);
        assert_eq!(Outcome::of(Code::Unknown, None), Outcome::Unknown);
        let reason = ErrorReason::SoldOut;
        assert_eq!(Outcome::of(Code::FailedPrecondition, Some(reason)), Outcome::Lost(reason));
        // A defect is an answer too, and the checker makes a violation of it.
        let reason = ErrorReason::Internal;
        assert_eq!(Outcome::of(Code::Internal, Some(reason)), Outcome::Lost(reason));
    }

    #[test]
    fn goodput_counts_definite_answers_in_the_window() {
        let op = |end: u64, outcome| Op {
            verb: Verb::Claim,
            node: 0,
            user: 1,
            template: 1,
            order: String::new(),
            request_id: "r".to_owned(),
            body: 0,
            start: Duration::ZERO,
            end: Duration::from_secs(end),
            outcome,
        };
        let ops = [
            op(1, Outcome::Lost(ErrorReason::SoldOut)),
            op(2, Outcome::Unknown),
            op(3, Outcome::Lost(ErrorReason::SoldOut)),
            op(9, Outcome::Lost(ErrorReason::SoldOut)),
        ];
        let seconds = Duration::from_secs;
        assert!((goodput(&ops, seconds(0), seconds(4)) - 0.5).abs() < 1e-9);
        assert!(goodput(&ops, seconds(4), seconds(4)).abs() < 1e-9);
    }
}
