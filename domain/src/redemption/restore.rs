//! Restore: the order was refunded (R59).

use super::{Redemption, RedemptionState, Templates};
use crate::{
    Refusal, Rejection,
    book::{AlarmKind, Book, OperationKind},
    coupon::{Coupon, CouponStatus},
    ids::{CouponId, UserId},
    template::{RestorePolicy, Template},
    time::Timestamp,
};

/// Gives the coupons of a confirmed order back.
#[derive(Debug, Clone)]
pub struct RestoreCommand {
    /// Buyer.
    pub user: UserId,
    /// Which order.
    pub order: String,
    /// Idempotency key of the refund, scoped to (user, order).
    pub request_id: String,
}

/// What a refund did with a coupon. Stored as the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestoreResult {
    /// AVAILABLE again.
    GivenBack = 0,
    /// A new coupon replaces it.
    Reissued = 1,
    /// Stays used.
    KeptUsed = 2,
}

impl RestoreResult {
    /// As stored.
    pub const fn to_stored(self) -> i32 {
        self as i32
    }

    /// From storage; `None` for a number no version wrote.
    pub const fn from_stored(value: i32) -> Option<Self> {
        match value {
            0 => Some(Self::GivenBack),
            1 => Some(Self::Reissued),
            2 => Some(Self::KeptUsed),
            _ => None,
        }
    }
}

/// What became of one coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredCoupon {
    /// The coupon that had been used.
    pub coupon: CouponId,
    /// What was done.
    pub result: RestoreResult,
    /// With [`RestoreResult::Reissued`]: the new coupon.
    pub reissued: Option<CouponId>,
    /// With anything but [`RestoreResult::KeptUsed`]: until when it is valid.
    pub valid_until: Option<Timestamp>,
}

/// A restored order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// As it is now.
    pub redemption: Redemption,
    /// One per coupon, in the order applied.
    pub coupons: Vec<RestoredCoupon>,
}

/// CONFIRMED -> RESTORED: each coupon by its template's policy, once. `mint` makes the id of a
/// reissued coupon. A request id that restored the order before answers the same again.
///
/// # Errors
/// `RedemptionNotFound`, `OrderNotConfirmed`, `OrderRestored`; `CouponNotFound` when a coupon or its
/// template is missing from the book.
pub fn restore(
    book: &mut Book,
    command: &RestoreCommand,
    templates: &impl Templates,
    mut mint: impl FnMut() -> CouponId,
    now: Timestamp,
) -> Result<Restored, Refusal> {
    let Some(found) = book.redemption_of(command.user, &command.order).cloned() else {
        return Err(Rejection::RedemptionNotFound.into());
    };
    if let Some(coupons) = book.refund(found.id, &command.request_id) {
        return Ok(Restored { coupons: coupons.to_vec(), redemption: found });
    }
    match found.state {
        RedemptionState::Confirmed => {}
        RedemptionState::Restored => return Err(Rejection::OrderRestored.into()),
        _ => return Err(Rejection::OrderNotConfirmed.into()),
    }
    let ids: Vec<CouponId> = found.coupons().collect();
    for id in &ids {
        let known = book.coupon(*id).and_then(|coupon| templates.template(coupon.template));
        if known.is_none() {
            return Err(Rejection::CouponNotFound.into());
        }
    }
    let redemption = Redemption { state: RedemptionState::Restored, ..found };
    let mut coupons = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(coupon) = book.coupon(id).cloned() else { continue };
        let Some(template) = templates.template(coupon.template) else { continue };
        coupons.push(restore_coupon(book, &coupon, template, &redemption, &mut mint, now));
    }
    book.put_redemption(redemption.clone());
    book.put_refund(redemption.id, command.request_id.clone(), coupons.clone());
    Ok(Restored { redemption, coupons })
}

fn restore_coupon(
    book: &mut Book,
    coupon: &Coupon,
    template: &Template,
    redemption: &Redemption,
    mint: &mut impl FnMut() -> CouponId,
    now: Timestamp,
) -> RestoredCoupon {
    let zone = &template.rules.time_zone;
    match template.rules.restore {
        RestorePolicy::IfUnexpired if now < coupon.valid_until => {
            give_back(book, coupon, redemption, coupon.valid_until)
        }
        RestorePolicy::Extend { days } => {
            let until = coupon.valid_until.max(zone.end_of_day_after(now, days));
            give_back(book, coupon, redemption, until)
        }
        RestorePolicy::Reissue { days } => {
            let until = zone.end_of_day_after(now, days);
            let fresh = Coupon {
                id: mint(),
                claim_no: -coupon.id.get(),
                status: CouponStatus::Available,
                claimed_at: now,
                valid_until: until,
                redemption: None,
                locked_until: None,
                used_at: None,
                reissue_of: Some(coupon.id),
                ..coupon.clone()
            };
            let reissued = Some(fresh.id);
            book.ring(AlarmKind::CouponExpiry, until);
            book.insert_coupon(fresh, redemption);
            let result = RestoreResult::Reissued;
            RestoredCoupon { coupon: coupon.id, result, reissued, valid_until: Some(until) }
        }
        RestorePolicy::Never | RestorePolicy::IfUnexpired => {
            let result = RestoreResult::KeptUsed;
            RestoredCoupon { coupon: coupon.id, result, reissued: None, valid_until: None }
        }
    }
}

fn give_back(
    book: &mut Book,
    coupon: &Coupon,
    redemption: &Redemption,
    until: Timestamp,
) -> RestoredCoupon {
    book.change_coupon(coupon.id, redemption, OperationKind::Restore, |coupon| {
        coupon.status = CouponStatus::Available;
        coupon.redemption = None;
        coupon.used_at = None;
        coupon.valid_until = until;
    });
    book.ring(AlarmKind::CouponExpiry, until);
    let result = RestoreResult::GivenBack;
    RestoredCoupon { coupon: coupon.id, result, reissued: None, valid_until: Some(until) }
}
