//! The model's words as the ledger's commands.

use std::time::Duration;

use coupon_domain::{
    fingerprint::Fingerprinter,
    ids::CouponId,
    money::Minor,
    redemption::{CloseCommand, LockCommand, LockLimits, RequestMark},
    rules::{Benefit, RestorePolicy, Stacking, UseWindow},
    time::Timestamp,
};

use super::{
    redeeming::{HORIZON_MS, LOCKS_MAX},
    sequential::{Refund, Shelf, Window},
};
use crate::conformance::fixture::{Offer, cart, user_id};

pub(super) fn offer(shelf: &Shelf) -> Offer {
    let window = match shelf.window {
        Window::Days(days) => UseWindow::AfterClaim { days: u32::try_from(days).expect("few") },
        Window::Fixed { from, until } => UseWindow::Fixed {
            from: Timestamp::from_millis(from),
            until: Timestamp::from_millis(until),
        },
    };
    let days = |days: i64| u32::try_from(days).expect("few");
    let restore = match shelf.refund {
        Refund::Never => RestorePolicy::Never,
        Refund::IfUnexpired => RestorePolicy::IfUnexpired,
        Refund::Extend(more) => RestorePolicy::Extend { days: days(more) },
        Refund::Reissue(more) => RestorePolicy::Reissue { days: days(more) },
    };
    let amount = Minor::new(shelf.off);
    let benefit = match shelf.threshold {
        0 => Benefit::DirectOff { amount },
        threshold => Benefit::ThresholdOff {
            threshold: Minor::new(threshold),
            amount,
            every: false,
            max_discount: None,
        },
    };
    Offer {
        total: shelf.total,
        limit: i32::try_from(shelf.limit).expect("few"),
        buckets: shelf.buckets,
        window,
        restore,
        stacking: if shelf.alone { Stacking::Exclusive } else { Stacking::Stackable },
        benefit,
        ..Offer::default()
    }
}

/// A request id with the fingerprint of a body.
fn mark(request: &str, body: &str) -> RequestMark {
    let fingerprint = Fingerprinter::new("model").text(body).finish();
    RequestMark { request_id: request.to_owned(), fingerprint }
}

pub(super) fn lock(
    user: i64,
    order: &str,
    request: &str,
    coupons: &[CouponId],
    ttl: Duration,
    amount: i64,
    quoted: Option<i64>,
) -> (LockCommand, LockLimits) {
    let horizon = Duration::from_millis(u64::try_from(HORIZON_MS).expect("positive"));
    let command = LockCommand {
        user: user_id(user),
        order: order.to_owned(),
        request: mark(request, &format!("{coupons:?} {ttl:?} {amount} {quoted:?}")),
        coupons: coupons.to_vec(),
        cart: cart(amount),
        ttl,
        expected_discount: quoted.map(Minor::new),
    };
    (command, LockLimits { horizon, locks_max: LOCKS_MAX })
}

pub(super) fn close(
    verb: &str,
    user: i64,
    order: &str,
    request: &str,
    named: &[CouponId],
) -> CloseCommand {
    CloseCommand {
        user: user_id(user),
        order: order.to_owned(),
        request: mark(request, &format!("{verb} {named:?}")),
        coupons: named.to_vec(),
    }
}
