//! One coupon (券) in a user's hands.

use crate::{
    Rejection,
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    time::Timestamp,
};

/// Status as stored, with the stored numbers of R35. The stored status is a projection: what a
/// coupon is *now* follows from the time, see [`Coupon::effective_status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CouponStatus {
    /// In the wallet.
    Available = 0,
    /// Redeemed.
    Used = 1,
    /// Its validity is over.
    Expired = 2,
    /// Held by an order (冻结).
    Locked = 3,
    /// Taken away by an operator.
    Voided = 4,
}

impl CouponStatus {
    /// As stored.
    pub const fn to_stored(self) -> i32 {
        self as i32
    }

    /// From storage; `None` for a number no version wrote.
    pub const fn from_stored(value: i32) -> Option<Self> {
        match value {
            0 => Some(Self::Available),
            1 => Some(Self::Used),
            2 => Some(Self::Expired),
            3 => Some(Self::Locked),
            4 => Some(Self::Voided),
            _ => None,
        }
    }
}

/// A coupon as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coupon {
    /// Minted by the server.
    pub id: CouponId,
    /// Owner.
    pub user: UserId,
    /// What it is.
    pub template: TemplateId,
    /// Version of the rules it pins.
    pub template_version: i32,
    /// The user's how-many-eth of the template, from 1; minus the replaced coupon's id when
    /// reissued, so that reissues never take a number of the limit.
    pub claim_no: i64,
    /// As stored.
    pub status: CouponStatus,
    /// Where the claim came from.
    pub source: String,
    /// When it was won or given.
    pub claimed_at: Timestamp,
    /// First instant at which it is expired.
    pub valid_until: Timestamp,
    /// The redemption that holds or used it.
    pub redemption: Option<RedemptionId>,
    /// Set exactly while stored LOCKED.
    pub locked_until: Option<Timestamp>,
    /// Set exactly while stored USED.
    pub used_at: Option<Timestamp>,
    /// The used coupon that this one replaces.
    pub reissue_of: Option<CouponId>,
}

impl Coupon {
    /// What the coupon is at `now`, whether or not any alarm has rung (R3, R11): EXPIRED from
    /// `valid_until` on, and no longer locked from `locked_until` on.
    pub fn effective_status(&self, now: Timestamp) -> CouponStatus {
        match self.status {
            CouponStatus::Locked if !self.lock_has_lapsed(now) => CouponStatus::Locked,
            CouponStatus::Available | CouponStatus::Locked => self.released_status(now),
            stored => stored,
        }
    }

    /// Whether it is stored LOCKED by a lock whose time is over.
    pub fn lock_has_lapsed(&self, now: Timestamp) -> bool {
        self.status == CouponStatus::Locked && self.locked_until.is_some_and(|until| now >= until)
    }

    /// What a coupon that nobody holds is at `now`.
    pub fn released_status(&self, now: Timestamp) -> CouponStatus {
        if now >= self.valid_until { CouponStatus::Expired } else { CouponStatus::Available }
    }

    /// Why `order` cannot lock it at `now`, by the coupon's own state and time: the first of voided,
    /// used, locked by another, not yet valid, expired. A coupon that the same order holds can be
    /// locked again, but not once it has expired: a live lock outlives the expiry, a new one does
    /// not begin after it.
    pub fn lock_rejection(
        &self,
        order: Option<RedemptionId>,
        use_from: Timestamp,
        now: Timestamp,
    ) -> Option<Rejection> {
        let held_by_another = self.redemption != order || order.is_none();
        match self.effective_status(now) {
            CouponStatus::Voided => Some(Rejection::CouponVoided),
            CouponStatus::Used => Some(Rejection::CouponUsed),
            CouponStatus::Locked if held_by_another => Some(Rejection::CouponLocked),
            _ if now < use_from => Some(Rejection::CouponNotYetValid),
            _ if now >= self.valid_until => Some(Rejection::CouponExpired),
            _ => None,
        }
    }
}
