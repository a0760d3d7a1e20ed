//! Each rejection as the contract names it.

use coupon_domain::Rejection;
use coupon_proto::v1::ErrorReason;

/// The reason on the wire. One arm per rejection, so that a new one cannot be forgotten.
pub(crate) fn reason_of(rejection: Rejection) -> ErrorReason {
    match rejection {
        Rejection::TemplateNotFound => ErrorReason::TemplateNotFound,
        Rejection::CouponNotFound => ErrorReason::CouponNotFound,
        Rejection::RedemptionNotFound => ErrorReason::RedemptionNotFound,
        Rejection::IdempotencyKeyReused => ErrorReason::IdempotencyKeyReused,

        Rejection::TemplateNotPublished => ErrorReason::TemplateNotPublished,
        Rejection::TemplatePaused => ErrorReason::TemplatePaused,
        Rejection::ClaimNotStarted => ErrorReason::ClaimNotStarted,
        Rejection::ClaimEnded => ErrorReason::ClaimEnded,
        Rejection::NotEligible => ErrorReason::NotEligible,
        Rejection::LimitReached => ErrorReason::LimitReached,
        Rejection::SoldOut => ErrorReason::SoldOut,

        Rejection::CouponVoided => ErrorReason::CouponVoided,
        Rejection::CouponUsed => ErrorReason::CouponUsed,
        Rejection::CouponLocked => ErrorReason::CouponLocked,
        Rejection::CouponNotYetValid => ErrorReason::CouponNotYetValid,
        Rejection::CouponExpired => ErrorReason::CouponExpired,
        Rejection::CurrencyMismatch => ErrorReason::CurrencyMismatch,
        Rejection::OutOfScope => ErrorReason::OutOfScope,
        Rejection::BelowThreshold => ErrorReason::BelowThreshold,
        Rejection::CouponMutex => ErrorReason::CouponMutex,
        Rejection::TooManyOfTemplate => ErrorReason::TooManyOfTemplate,
        Rejection::NothingLeft => ErrorReason::NothingLeft,

        Rejection::QuoteChanged => ErrorReason::QuoteChanged,
        Rejection::LockMismatch => ErrorReason::LockMismatch,
        Rejection::LockLapsed => ErrorReason::LockLapsed,
        Rejection::OrderCancelled => ErrorReason::OrderCancelled,
        Rejection::OrderConfirmed => ErrorReason::OrderConfirmed,
        Rejection::OrderRestored => ErrorReason::OrderRestored,
        Rejection::OrderNotConfirmed => ErrorReason::OrderNotConfirmed,
        Rejection::LineNotFound => ErrorReason::LineNotFound,
        Rejection::RefundedAlready => ErrorReason::RefundedAlready,
        Rejection::TooManyLocks => ErrorReason::TooManyLocks,

        Rejection::TemplateStateConflict => ErrorReason::TemplateStateConflict,
        Rejection::StockNotRaised => ErrorReason::StockNotRaised,
        Rejection::TemplateEnded => ErrorReason::TemplateEnded,
    }
}
