//! Void: an operator takes a coupon away.

use super::lapse;
use crate::{
    Refusal, Rejection,
    book::{Book, Operation, OperationKind},
    coupon::{Coupon, CouponStatus},
    ids::{CouponId, UserId},
    time::Timestamp,
};

/// Takes one coupon away.
#[derive(Debug, Clone, Copy)]
pub struct VoidCommand {
    /// Owner.
    pub user: UserId,
    /// Which.
    pub coupon: CouponId,
}

/// AVAILABLE -> VOIDED. Voiding a voided coupon changes nothing and succeeds.
///
/// # Errors
/// `CouponNotFound`, `CouponUsed`, `CouponLocked`, `CouponExpired`.
pub fn void(book: &mut Book, command: VoidCommand, now: Timestamp) -> Result<Coupon, Refusal> {
    let own = |book: &Book| book.coupon(command.coupon).filter(|c| c.user == command.user).cloned();
    let Some(coupon) = own(book) else { return Err(Rejection::CouponNotFound.into()) };
    if let Some(holder) = coupon.redemption.filter(|_| coupon.lock_has_lapsed(now)) {
        lapse(book, holder, now);
    }
    match coupon.effective_status(now) {
        CouponStatus::Voided => return Ok(coupon),
        CouponStatus::Used => return Err(Rejection::CouponUsed.into()),
        CouponStatus::Locked => return Err(Rejection::CouponLocked.into()),
        CouponStatus::Expired => return Err(Rejection::CouponExpired.into()),
        CouponStatus::Available => {}
    }
    let Some(current) = own(book) else { return Err(Rejection::CouponNotFound.into()) };
    let voided = Coupon { status: CouponStatus::Voided, ..current };
    book.log(Operation::of(&voided, String::new(), OperationKind::Void, CouponStatus::Available));
    book.put_coupon(voided.clone());
    Ok(voided)
}
