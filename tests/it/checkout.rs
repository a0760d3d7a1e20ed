//! Using coupons in an order: Quote, Lock, Confirm, Cancel, Restore, Void (R28, R47-R51, R59, R60).

mod aborted;
mod force;
mod lapse;
mod race;
mod racing;
mod refund;
mod refusals;
mod restore;
mod rules;
mod stacking;
mod stuck;
mod tcc;
mod void;

use coupon_client::v1;
use coupon_server::audit;
use v1::{CouponStatus, RedemptionState};

use crate::harness::{
    self, Harness, START_MS,
    given::{MINUTE, cancel, cart, confirm, instant, line, lock, rules},
};

/// Locks and answers the redemption.
async fn locked(harness: &Harness, request: v1::LockRequest) -> v1::Redemption {
    let locked = harness.client.lock(request).await.expect("locked");
    locked.redemption.expect("the redemption")
}

/// Confirms and answers the redemption.
async fn confirmed(harness: &Harness, user: i64, order: &str) -> v1::Redemption {
    let confirmed = harness.client.confirm(confirm(user, order, "")).await.expect("confirmed");
    confirmed.redemption.expect("the redemption")
}

/// Cancels and answers the redemption.
async fn cancelled(harness: &Harness, user: i64, order: &str) -> v1::Redemption {
    let cancelled = harness.client.cancel(cancel(user, order, "")).await.expect("cancelled");
    cancelled.redemption.expect("the redemption")
}

/// Stops the server: whatever was done, its rows tell one sound story.
async fn audited(harness: Harness) {
    let folder = harness.stop().await;
    let report = audit::run(&harness::config(folder.path())).await.expect("the audit runs");
    assert!(report.is_clean(), "{report:#?}");
}

// R47, R49-R51: the whole way from the cart to the paid order.
#[tokio::test]
async fn quote_lock_confirm() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    let template = harness.coupon(1, coupon).await.template_id;
    let cart = cart([line("a", 1, 1_000), line("b", 2, 3_000)]);
    let request = v1::QuoteRequest { user_id: 1, cart: cart.clone(), coupon_ids: Vec::new() };
    let quoted = harness.client.quote(request).await.expect("a quote");
    let usable = v1::UsableCoupon { coupon_id: coupon, template_id: template, discount_minor: 500 };
    assert_eq!((quoted.usable, quoted.unusable), (vec![usable], vec![]));
    let best = quoted.best.expect("usable");
    assert!(best.optimal);

    let request = v1::LockRequest {
        cart,
        expected_discount_minor: Some(best.discount_minor),
        ..lock(1, "order-1", "try", &[coupon])
    };
    let redemption = locked(&harness, request).await;
    let share = |line_id: &str, discount_minor| v1::LineShare {
        line_id: line_id.to_owned(),
        discount_minor,
    };
    let used = v1::CouponUse {
        coupon_id: coupon,
        template_id: template,
        discount_minor: 500,
        shares: vec![share("a", 125), share("b", 375)],
        ..v1::CouponUse::default()
    };
    let after = |line_id: &str, amount_minor, discount_minor| v1::LineDiscount {
        line_id: line_id.to_owned(),
        amount_minor,
        discount_minor,
        payable_minor: amount_minor - discount_minor,
        quantity: 1,
    };
    let expected = v1::Redemption {
        name: "users/1/redemptions/order-1".to_owned(),
        redemption_id: redemption.redemption_id,
        user_id: 1,
        order_id: "order-1".to_owned(),
        state: RedemptionState::Locked.into(),
        currency_code: "CNY".to_owned(),
        coupons: vec![used],
        lines: vec![after("a", 1_000, 125), after("b", 3_000, 375)],
        discount_minor: 500,
        payable_minor: 3_500,
        first_locked_at: Some(instant(START_MS)),
        locked_until: Some(instant(START_MS + 30 * MINUTE)),
        closed_at: None,
        shipping: Some(v1::ShippingDiscount::default()),
        ..v1::Redemption::default()
    };
    assert_eq!(redemption, expected);
    assert_eq!((&best.coupons, &best.lines), (&expected.coupons, &expected.lines));
    assert_eq!(harness.redemption(1, "order-1").await, expected);
    let held = harness.coupon(1, coupon).await;
    assert_eq!(held.status(), CouponStatus::Locked);
    assert_eq!(held.order_id, "order-1");
    assert_eq!(held.locked_until, expected.locked_until);

    harness.advance(START_MS + MINUTE).await;
    let paid = confirmed(&harness, 1, "order-1").await;
    let expected = v1::Redemption {
        state: RedemptionState::Confirmed.into(),
        locked_until: None,
        closed_at: Some(instant(START_MS + MINUTE)),
        ..expected
    };
    assert_eq!(paid, expected);
    let used = harness.coupon(1, coupon).await;
    assert_eq!(used.status(), CouponStatus::Used);
    assert_eq!(used.order_id, "order-1");
    assert_eq!(used.used_at, Some(instant(START_MS + MINUTE)));
    assert_eq!(used.locked_until, None);
    let harness = harness.restart().await;
    assert_eq!(harness.redemption(1, "order-1").await, expected);
    assert_eq!(harness.coupon(1, coupon).await, used);
}

// R51: not paid: the coupon is free for another order.
#[tokio::test]
async fn quote_lock_cancel() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    locked(&harness, lock(1, "order-1", "try", &[coupon])).await;
    let ended = cancelled(&harness, 1, "order-1").await;
    assert_eq!(ended.state(), RedemptionState::Cancelled);
    assert_eq!(ended.closed_at, Some(instant(START_MS)));
    let free = harness.coupon(1, coupon).await;
    assert_eq!(free.status(), CouponStatus::Available);
    assert_eq!((free.order_id.as_str(), free.locked_until), ("", None));
    locked(&harness, lock(1, "order-2", "try", &[coupon])).await;
    assert_eq!(confirmed(&harness, 1, "order-2").await.discount_minor, 500);
    assert_eq!(harness.coupon(1, coupon).await.order_id, "order-2");
}

// R49: an order of one user is not the order of another with the same id.
#[tokio::test]
async fn orders_belong_to_their_user() {
    let harness = harness::start().await;
    let (one, two) = (harness.give(1, rules()).await, harness.give(2, rules()).await);
    locked(&harness, lock(1, "order", "try", &[one])).await;
    locked(&harness, lock(2, "order", "try", &[two])).await;
    cancelled(&harness, 1, "order").await;
    assert_eq!(confirmed(&harness, 2, "order").await.state(), RedemptionState::Confirmed);
    assert_eq!(harness.status(1, one).await, CouponStatus::Available);
    assert_eq!(harness.status(2, two).await, CouponStatus::Used);
}
