//! Why something is refused: one enum, in order of precedence.

use crate::{ids::CouponId, money::Minor};

/// A refusal by rule or state. Where several apply, the first in this order is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Rejection {
    /// No such template.
    #[error("no such template")]
    TemplateNotFound,
    /// The user has no such coupon.
    #[error("the user has no such coupon")]
    CouponNotFound,
    /// Nothing was ever locked for the order.
    #[error("nothing was ever locked for this order")]
    RedemptionNotFound,
    /// The request id was used with another body.
    #[error("this request id was used with another body; use a new id for a new request")]
    IdempotencyKeyReused,

    /// The template is a draft.
    #[error("the template is not published")]
    TemplateNotPublished,
    /// The template is paused.
    #[error("the template is paused")]
    TemplatePaused,
    /// The claim window has not begun.
    #[error("claiming has not started")]
    ClaimNotStarted,
    /// The claim window is over, or the template ended.
    #[error("claiming is over")]
    ClaimEnded,
    /// The template is for named users.
    #[error("the user is not among those this template is for")]
    NotEligible,
    /// The user holds as many as allowed.
    #[error("the user holds as many coupons of this template as allowed")]
    LimitReached,
    /// Every piece is given.
    #[error("every coupon of this template is given")]
    SoldOut,

    /// Taken away by an operator.
    #[error("the coupon was voided")]
    CouponVoided,
    /// Already redeemed.
    #[error("the coupon is used")]
    CouponUsed,
    /// Held by another order.
    #[error("the coupon is locked by another order")]
    CouponLocked,
    /// Before its first instant of use.
    #[error("the coupon is not yet valid")]
    CouponNotYetValid,
    /// Its validity is over.
    #[error("the coupon has expired")]
    CouponExpired,
    /// The cart is in another currency.
    #[error("the coupon is in another currency than the cart")]
    CurrencyMismatch,
    /// No line is eligible.
    #[error("no line of the cart is in the coupon's scope")]
    OutOfScope,
    /// The eligible lines do not reach the threshold.
    #[error("the eligible lines do not reach the threshold")]
    BelowThreshold,
    /// It cannot be combined with the others.
    #[error("the coupon cannot be combined with the others")]
    CouponMutex,
    /// The order uses as many coupons of its template as one may.
    #[error("one order may not use so many coupons of this template")]
    TooManyOfTemplate,
    /// The others leave nothing for it.
    #[error("the other coupons leave nothing for it to take off")]
    NothingLeft,

    /// The discount is not the quoted one.
    #[error("the discount is not the one that was quoted; quote again")]
    QuoteChanged,
    /// The coupons named are not the locked set.
    #[error("the coupons named are not the ones locked for this order")]
    LockMismatch,
    /// The lock's time is over.
    #[error("the lock has lapsed; lock again")]
    LockLapsed,
    /// The order was cancelled.
    #[error("the order was cancelled")]
    OrderCancelled,
    /// The order was confirmed.
    #[error("the order was confirmed")]
    OrderConfirmed,
    /// The order was refunded.
    #[error("the order was restored")]
    OrderRestored,
    /// Only a confirmed order can be restored.
    #[error("the order is not confirmed")]
    OrderNotConfirmed,
    /// A refund names a line that the order does not have.
    #[error("the order has no such line")]
    LineNotFound,
    /// A refund names more than is left to refund.
    #[error("so much of this is not left to refund")]
    RefundedAlready,
    /// Too many request ids for one order.
    #[error("the order was locked under too many request ids")]
    TooManyLocks,

    /// The template's state does not allow the transition.
    #[error("the template's state does not allow this")]
    TemplateStateConflict,
    /// Stock only rises.
    #[error("the stock of a template only rises")]
    StockNotRaised,
    /// The template has ended.
    #[error("the template has ended")]
    TemplateEnded,
}

/// What keeps one coupon from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CouponFault {
    /// Which coupon.
    pub coupon: CouponId,
    /// The first reason that applies.
    pub reason: Rejection,
    /// With [`Rejection::BelowThreshold`]: what the eligible lines lack.
    pub missing: Minor,
}

/// A refused command: the deciding reason and, where coupons were named, every failing one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The first reason, in order of precedence.
    pub reason: Rejection,
    /// Every coupon that fails, in the order of the request.
    pub faults: Vec<CouponFault>,
}

impl Refusal {
    /// Refuses for the failing coupons; the earliest reason in the order of precedence decides.
    /// `None` when nothing fails.
    pub fn of(faults: Vec<CouponFault>) -> Option<Self> {
        let reason = faults.iter().map(|fault| fault.reason).min()?;
        Some(Self { reason, faults })
    }
}

impl From<Rejection> for Refusal {
    fn from(reason: Rejection) -> Self {
        Self { reason, faults: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(coupon: i64, reason: Rejection) -> CouponFault {
        CouponFault { coupon: CouponId::new(coupon).unwrap(), reason, missing: Minor::ZERO }
    }

    // R47: the order that Lock and Quote promise.
    #[test]
    fn reasons_of_a_lock_stand_in_order_of_precedence() {
        let promised = [
            Rejection::CouponNotFound,
            Rejection::CouponVoided,
            Rejection::CouponUsed,
            Rejection::CouponLocked,
            Rejection::CouponNotYetValid,
            Rejection::CouponExpired,
            Rejection::CurrencyMismatch,
            Rejection::OutOfScope,
            Rejection::BelowThreshold,
            Rejection::CouponMutex,
            Rejection::TooManyOfTemplate,
            Rejection::NothingLeft,
        ];
        assert!(promised.is_sorted_by(|a, b| a < b));
    }

    // R9: parameters and the template first, then the user, then the stock.
    #[test]
    fn reasons_of_a_claim_stand_in_order_of_precedence() {
        let promised = [
            Rejection::TemplateNotFound,
            Rejection::TemplateNotPublished,
            Rejection::TemplatePaused,
            Rejection::ClaimNotStarted,
            Rejection::ClaimEnded,
            Rejection::NotEligible,
            Rejection::LimitReached,
            Rejection::SoldOut,
        ];
        assert!(promised.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn the_earliest_reason_decides_and_every_fault_is_kept() {
        let faults = vec![
            fault(5, Rejection::BelowThreshold),
            fault(3, Rejection::CouponUsed),
            fault(4, Rejection::CouponExpired),
        ];
        let refusal = Refusal::of(faults.clone()).unwrap();
        assert_eq!(refusal, Refusal { reason: Rejection::CouponUsed, faults });
        assert_eq!(refusal.to_string(), "the coupon is used");
        assert_eq!(Refusal::of(Vec::new()), None);
        assert_eq!(Refusal::from(Rejection::SoldOut).faults, []);
    }
}
