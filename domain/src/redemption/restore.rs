//! Restore: the order, or a part of it, was refunded (R59).

use super::{
    Purchase, Redemption, RedemptionState, RefundAmounts, RefundOf, RequestMark, Templates,
};
use crate::{
    Refusal, Rejection,
    book::{AlarmKind, Book, OperationKind, Refund},
    coupon::{Coupon, CouponStatus},
    ids::{CouponId, UserId},
    rules::RestorePolicy,
    template::Template,
    time::Timestamp,
};

/// Works out what a confirmed order gives back, and gives back its coupons.
#[derive(Debug, Clone)]
pub struct RestoreCommand {
    /// Buyer.
    pub user: UserId,
    /// Which order.
    pub order: String,
    /// Id and body of the refund; the id is scoped to (user, order).
    pub request: RequestMark,
    /// What is refunded.
    pub of: RefundOf,
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

/// What a refund came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// As it is now.
    pub redemption: Redemption,
    /// The money.
    pub amounts: RefundAmounts,
    /// The coupons whose fate this refund decided, in the order applied.
    pub coupons: Vec<RestoredCoupon>,
}

/// Refunds a part of a CONFIRMED order, or all that is left of it. A coupon follows its template's
/// policy, once, as soon as the buyer keeps nothing of its discount: all pieces of the lines that it
/// discounted are refunded, or what is kept no longer earns it and it is clawed back. When nothing is
/// left to refund, the order is RESTORED. `mint` makes the id of a reissued coupon. A request id that
/// refunded before answers the same amounts again.
///
/// # Errors
/// `RedemptionNotFound`, `IdempotencyKeyReused`, `OrderNotConfirmed`, `OrderRestored`,
/// `LineNotFound`, `RefundedAlready`; `CouponNotFound` when a coupon or its template is missing from
/// the book.
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
    if let Some(refund) = book.refund(found.id, &command.request.request_id) {
        if refund.request.fingerprint != command.request.fingerprint {
            return Err(Rejection::IdempotencyKeyReused.into());
        }
        let (amounts, coupons) = (refund.amounts.clone(), refund.coupons.clone());
        return Ok(Restored { redemption: found, amounts, coupons });
    }
    let evaluation = match (found.state, &found.evaluation) {
        (RedemptionState::Confirmed, Some(evaluation)) => evaluation,
        (RedemptionState::Restored, _) => return Err(Rejection::OrderRestored.into()),
        _ => return Err(Rejection::OrderNotConfirmed.into()),
    };
    for used in &evaluation.uses {
        if book.coupon(used.coupon).is_none() || templates.template(used.template).is_none() {
            return Err(Rejection::CouponNotFound.into());
        }
    }
    let purchase = Purchase { evaluation, templates };
    let (amounts, mut refunded) = purchase.refund(&command.of, &found.refunded)?;
    let complete = purchase.is_complete(&refunded);
    let undecided = evaluation.uses.iter().filter(|one| !refunded.coupons.contains(&one.coupon));
    let given_up = undecided.filter(|one| complete || purchase.is_given_up(one, &refunded));
    let given_up: Vec<CouponId> = given_up.map(|one| one.coupon).collect();
    refunded.coupons.extend(&given_up);
    let state = if complete { RedemptionState::Restored } else { RedemptionState::Confirmed };
    let redemption = Redemption { state, refunded, ..found };
    let mut coupons = Vec::with_capacity(given_up.len());
    for id in given_up {
        let Some(coupon) = book.coupon(id).cloned() else { continue };
        let Some(template) = templates.template(coupon.template) else { continue };
        coupons.push(restore_coupon(book, &coupon, template, &redemption, &mut mint, now));
    }
    book.put_redemption(redemption.clone());
    let refund = Refund {
        redemption: redemption.id,
        request: command.request.clone(),
        amounts: amounts.clone(),
        coupons: coupons.clone(),
    };
    book.put_refund(refund);
    Ok(Restored { redemption, amounts, coupons })
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
