//! Using coupons in an order: Lock, Confirm, Cancel, Lapse, Restore (R49-R51, R58, R59).
//!
//! One [`Redemption`] per (user, order) is the lock's identity and the TCC fence at once:
//!
//! ```text
//! none ---Lock---> LOCKED ---Confirm---> CONFIRMED ---Restore---> RESTORED
//!   \                 |  \---time------> LAPSED ---Lock (new id)---> LOCKED
//!    \                |                     |
//!     \----Cancel-----+------Cancel---------+---> CANCELLED
//! ```
//!
//! Restore of a part leaves the order CONFIRMED. An operator may confirm or cancel by force what is
//! LOCKED or LAPSED.

mod close;
mod force;
mod lock;
mod refund;
mod restore;
mod void;

use std::time::Duration;

pub use close::{cancel, confirm, lapse};
pub use force::{ForceCommand, ForceVerb, Forced, force};
pub use lock::{LockCommand, LockLimits, lock};
use refund::Purchase;
pub use refund::{LineQuantity, RefundAmounts, RefundOf, RefundProgress, RefundedLine};
pub use restore::{RestoreCommand, RestoreResult, Restored, RestoredCoupon, restore};
pub use void::{VoidCommand, void};

use crate::{
    evaluate::Evaluation,
    fingerprint::Fingerprint,
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    template::Template,
    time::Timestamp,
};

/// Where a redemption stands. Stored as the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedemptionState {
    /// Coupons are held until `locked_until`.
    Locked = 0,
    /// Coupons are used.
    Confirmed = 1,
    /// Cancelled, with or without a lock before.
    Cancelled = 2,
    /// The lock's time passed and the coupons were freed.
    Lapsed = 3,
    /// Refunded.
    Restored = 4,
}

impl RedemptionState {
    /// As stored.
    pub const fn to_stored(self) -> i32 {
        self as i32
    }

    /// From storage; `None` for a number no version wrote.
    pub const fn from_stored(value: i32) -> Option<Self> {
        match value {
            0 => Some(Self::Locked),
            1 => Some(Self::Confirmed),
            2 => Some(Self::Cancelled),
            3 => Some(Self::Lapsed),
            4 => Some(Self::Restored),
            _ => None,
        }
    }
}

/// A request id with the fingerprint of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMark {
    /// The caller's id.
    pub request_id: String,
    /// Of the body that came with it.
    pub fingerprint: Fingerprint,
}

/// The use of coupons in one order, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redemption {
    /// Minted by the server.
    pub id: RedemptionId,
    /// Buyer.
    pub user: UserId,
    /// The caller's order id.
    pub order: String,
    /// As stored.
    pub state: RedemptionState,
    /// Discount and split as evaluated by the last Lock; `None` for an empty rollback. Its coupons
    /// are the locked set.
    pub evaluation: Option<Evaluation>,
    /// When the order was first locked.
    pub first_locked_at: Option<Timestamp>,
    /// Set exactly while stored LOCKED.
    pub locked_until: Option<Timestamp>,
    /// When it was confirmed, cancelled or found lapsed.
    pub closed_at: Option<Timestamp>,
    /// Every request that locked it, oldest first.
    pub locks: Vec<RequestMark>,
    /// The request that confirmed or cancelled it.
    pub close: Option<RequestMark>,
    /// What has been refunded so far.
    pub refunded: RefundProgress,
    /// The operator who closed it by force.
    pub forced: Option<Forced>,
}

impl Redemption {
    /// What it is at `now`: LAPSED from `locked_until` on, whether or not the alarm has rung.
    pub fn effective_state(&self, now: Timestamp) -> RedemptionState {
        if self.has_lapsed(now) { RedemptionState::Lapsed } else { self.state }
    }

    /// Whether it is stored LOCKED although its time is over.
    pub fn has_lapsed(&self, now: Timestamp) -> bool {
        self.state == RedemptionState::Locked && self.locked_until.is_some_and(|until| now >= until)
    }

    /// The coupons of the last Lock, in the order applied.
    pub fn coupons(&self) -> impl Iterator<Item = CouponId> + '_ {
        self.evaluation.iter().flat_map(|evaluation| evaluation.uses.iter().map(|u| u.coupon))
    }

    /// Whether `named` is the locked set, in any order.
    fn holds_exactly(&self, named: &[CouponId]) -> bool {
        let mut held: Vec<_> = self.coupons().collect();
        let mut named = named.to_vec();
        held.sort_unstable();
        named.sort_unstable();
        held == named
    }
}

/// Confirm or Cancel.
#[derive(Debug, Clone)]
pub struct CloseCommand {
    /// Buyer.
    pub user: UserId,
    /// Which order.
    pub order: String,
    /// Id and body of the request.
    pub request: RequestMark,
    /// When not empty, must equal the locked set.
    pub coupons: Vec<CouponId>,
}

/// What the decisions need to know besides the rows: templates of the coupons involved.
pub trait Templates {
    /// The template, when it was loaded.
    fn template(&self, id: TemplateId) -> Option<&Template>;
}

/// The last instant a lock may reach: `horizon` after the order's first Lock.
fn lock_end(now: Timestamp, ttl: Duration, first: Timestamp, horizon: Duration) -> Timestamp {
    now.plus(ttl).min(first.plus(horizon))
}
