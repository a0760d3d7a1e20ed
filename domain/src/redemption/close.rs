//! Confirm, Cancel and Lapse: the ends of a lock.

use super::{CloseCommand, Redemption, RedemptionState, RefundProgress, RequestMark};
use crate::{
    Refusal, Rejection,
    book::{Book, OperationKind},
    coupon::CouponStatus,
    ids::{CouponId, RedemptionId},
    time::Timestamp,
};

/// Paid: LOCKED -> CONFIRMED, coupons USED. Repeats its first result. A live lock outlives the
/// coupons' expiry.
///
/// # Errors
/// `RedemptionNotFound`, `IdempotencyKeyReused`, `OrderCancelled`, `LockLapsed`, `LockMismatch`.
pub fn confirm(
    book: &mut Book,
    command: &CloseCommand,
    now: Timestamp,
) -> Result<Redemption, Refusal> {
    let Some(found) = book.redemption_of(command.user, &command.order).cloned() else {
        return Err(Rejection::RedemptionNotFound.into());
    };
    match found.effective_state(now) {
        RedemptionState::Cancelled => return Err(Rejection::OrderCancelled.into()),
        RedemptionState::Lapsed => return Err(Rejection::LockLapsed.into()),
        RedemptionState::Confirmed | RedemptionState::Restored => {
            check_reuse(&found, &command.request)?
        }
        RedemptionState::Locked => {}
    }
    check_set(&found, command)?;
    if found.state != RedemptionState::Locked {
        return Ok(found);
    }
    let closed = closed(&found, RedemptionState::Confirmed, Some(command), now);
    for id in coupons_of(&found) {
        book.change_coupon(id, &closed, OperationKind::Confirm, |coupon| {
            coupon.status = CouponStatus::Used;
            coupon.locked_until = None;
            coupon.used_at = Some(now);
        });
    }
    book.put_redemption(closed.clone());
    Ok(closed)
}

/// Not paid: LOCKED or LAPSED -> CANCELLED, coupons AVAILABLE or, past their validity, EXPIRED.
/// With no redemption (empty rollback) it stores CANCELLED under the id `fresh`, so that a late Lock
/// is refused. Repeats its first result.
///
/// # Errors
/// `IdempotencyKeyReused`, `OrderConfirmed`, `OrderRestored`, `LockMismatch`.
pub fn cancel(
    book: &mut Book,
    command: &CloseCommand,
    fresh: RedemptionId,
    now: Timestamp,
) -> Result<Redemption, Refusal> {
    let Some(found) = book.redemption_of(command.user, &command.order).cloned() else {
        let tombstone = Redemption {
            id: fresh,
            user: command.user,
            order: command.order.clone(),
            state: RedemptionState::Cancelled,
            evaluation: None,
            first_locked_at: None,
            locked_until: None,
            closed_at: Some(now),
            locks: Vec::new(),
            close: Some(command.request.clone()),
            refunded: RefundProgress::default(),
            forced: None,
        };
        book.put_redemption(tombstone.clone());
        return Ok(tombstone);
    };
    match found.state {
        RedemptionState::Confirmed => return Err(Rejection::OrderConfirmed.into()),
        RedemptionState::Restored => return Err(Rejection::OrderRestored.into()),
        RedemptionState::Cancelled => {
            check_reuse(&found, &command.request)?;
            return Ok(found);
        }
        RedemptionState::Locked | RedemptionState::Lapsed => check_set(&found, command)?,
    }
    let closed = closed(&found, RedemptionState::Cancelled, Some(command), now);
    if found.state == RedemptionState::Locked {
        for id in coupons_of(&found) {
            book.release(id, &closed, OperationKind::Cancel, now);
        }
    }
    book.put_redemption(closed.clone());
    Ok(closed)
}

/// The lock's time is over: LOCKED -> LAPSED, coupons AVAILABLE or EXPIRED. Does nothing to a
/// redemption that is not lapsed, so it is safe to repeat. Says whether it did something.
pub fn lapse(book: &mut Book, id: RedemptionId, now: Timestamp) -> bool {
    let Some(found) = book.redemption(id).filter(|r| r.has_lapsed(now)).cloned() else {
        return false;
    };
    let closed = closed(&found, RedemptionState::Lapsed, None, now);
    for coupon in coupons_of(&found) {
        book.release(coupon, &closed, OperationKind::Lapse, now);
    }
    book.put_redemption(closed);
    true
}

fn coupons_of(redemption: &Redemption) -> Vec<CouponId> {
    redemption.coupons().collect()
}

fn closed(
    found: &Redemption,
    state: RedemptionState,
    command: Option<&CloseCommand>,
    now: Timestamp,
) -> Redemption {
    Redemption {
        state,
        locked_until: None,
        closed_at: Some(now),
        close: command.map(|c| c.request.clone()),
        ..found.clone()
    }
}

/// A request to close that comes again with its id but another body. Ids are scoped to the verb, so it
/// is compared only with the request that brought the redemption where this verb leads.
pub(super) fn check_reuse(found: &Redemption, request: &RequestMark) -> Result<(), Refusal> {
    let reused = found.close.as_ref().is_some_and(|mark| {
        mark.request_id == request.request_id && mark.fingerprint != request.fingerprint
    });
    if reused { Err(Rejection::IdempotencyKeyReused.into()) } else { Ok(()) }
}

fn check_set(found: &Redemption, command: &CloseCommand) -> Result<(), Refusal> {
    if command.coupons.is_empty() || found.holds_exactly(&command.coupons) {
        Ok(())
    } else {
        Err(Rejection::LockMismatch.into())
    }
}
