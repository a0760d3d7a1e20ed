//! Force: an operator ends what a coordinator gave up on (trap 12).

use super::{Redemption, RedemptionState, RequestMark, close::check_reuse, lapse};
use crate::{
    CouponFault, Refusal, Rejection,
    book::{Book, OperationKind},
    coupon::{Coupon, CouponStatus},
    ids::{CouponId, RedemptionId, UserId},
    money::Minor,
    time::Timestamp,
};

/// How an operator ends an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForceVerb {
    /// It was paid.
    Confirm,
    /// It was not.
    Cancel,
}

/// Ends an order by force.
#[derive(Debug, Clone)]
pub struct ForceCommand {
    /// Buyer.
    pub user: UserId,
    /// Which order.
    pub order: String,
    /// Id and body of the request.
    pub request: RequestMark,
    /// How.
    pub verb: ForceVerb,
    /// Who does it.
    pub operator: String,
    /// Why.
    pub reason: String,
}

/// The record of an order that was ended by force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// Who did it.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Where the order stood, as stored.
    pub from: RedemptionState,
    /// When.
    pub at: Timestamp,
}

/// LOCKED or LAPSED -> CONFIRMED or CANCELLED, whatever the time, recorded with operator and reason.
/// A lapsed order is confirmed only if all its coupons are free: AVAILABLE or EXPIRED, or locked by an
/// order whose time is over, which is lapsed whole. An order that stands already where it is forced to
/// is left as it is, and succeeds.
///
/// # Errors
/// `RedemptionNotFound`, `IdempotencyKeyReused`, `OrderConfirmed`, `OrderCancelled`, `OrderRestored`; when coupons of a
/// lapsed order are not free, a [`Refusal`] that names each of them.
pub fn force(
    book: &mut Book,
    command: &ForceCommand,
    now: Timestamp,
) -> Result<Redemption, Refusal> {
    let Some(found) = book.redemption_of(command.user, &command.order).cloned() else {
        return Err(Rejection::RedemptionNotFound.into());
    };
    match (found.state, command.verb) {
        (RedemptionState::Confirmed, ForceVerb::Confirm)
        | (RedemptionState::Cancelled, ForceVerb::Cancel) => {
            if found.forced.is_some() {
                check_reuse(&found, &command.request)?;
            }
            return Ok(found);
        }
        (RedemptionState::Confirmed, ForceVerb::Cancel) => {
            return Err(Rejection::OrderConfirmed.into());
        }
        (RedemptionState::Cancelled, ForceVerb::Confirm) => {
            return Err(Rejection::OrderCancelled.into());
        }
        (RedemptionState::Restored, _) => return Err(Rejection::OrderRestored.into()),
        (RedemptionState::Locked | RedemptionState::Lapsed, _) => {}
    }
    let state = match command.verb {
        ForceVerb::Confirm => RedemptionState::Confirmed,
        ForceVerb::Cancel => RedemptionState::Cancelled,
    };
    let forced = Forced {
        operator: command.operator.clone(),
        reason: command.reason.clone(),
        from: found.state,
        at: now,
    };
    let closed = Redemption {
        state,
        locked_until: None,
        closed_at: Some(now),
        close: Some(command.request.clone()),
        forced: Some(forced),
        ..found
    };
    let coupons: Vec<CouponId> = closed.coupons().collect();
    match command.verb {
        ForceVerb::Confirm => {
            free_lapsed(book, &closed, now);
            let faults = coupons.iter().filter_map(|id| taken(book, *id, &closed)).collect();
            if let Some(refusal) = Refusal::of(faults) {
                return Err(refusal);
            }
            for id in coupons {
                book.change_coupon(id, &closed, OperationKind::ForceConfirm, |coupon| {
                    coupon.status = CouponStatus::Used;
                    coupon.redemption = Some(closed.id);
                    coupon.locked_until = None;
                    coupon.used_at = Some(now);
                });
            }
        }
        ForceVerb::Cancel => {
            for id in coupons {
                book.release(id, &closed, OperationKind::ForceCancel, now);
            }
        }
    }
    book.put_redemption(closed.clone());
    Ok(closed)
}

/// Lapses the other orders that hold a coupon of this one beyond their time, each with all its coupons.
/// The order's own lock is not asked for its time.
fn free_lapsed(book: &mut Book, redemption: &Redemption, now: Timestamp) {
    let holders = redemption.coupons().filter_map(|id| {
        let coupon = book.coupon(id).filter(|coupon| coupon.lock_has_lapsed(now))?;
        coupon.redemption.filter(|holder| *holder != redemption.id)
    });
    let holders: Vec<RedemptionId> = holders.collect();
    for holder in holders {
        lapse(book, holder, now);
    }
}

/// Why the order cannot have the coupon any more, if so.
fn taken(book: &Book, id: CouponId, redemption: &Redemption) -> Option<CouponFault> {
    let reason = match book.coupon(id) {
        None => Rejection::CouponNotFound,
        Some(Coupon { status, redemption: holder, .. }) => match status {
            CouponStatus::Locked if *holder == Some(redemption.id) => return None,
            CouponStatus::Available | CouponStatus::Expired => return None,
            CouponStatus::Locked => Rejection::CouponLocked,
            CouponStatus::Used => Rejection::CouponUsed,
            CouponStatus::Voided => Rejection::CouponVoided,
        },
    };
    Some(CouponFault { coupon: id, reason, missing: Minor::ZERO })
}
