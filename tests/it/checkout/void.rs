//! An operator takes a coupon away (R50, R61).

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason};

use super::{confirmed, locked};
use crate::harness::{
    self, START_MS,
    given::{DAY, HOUR, claim, lock, reason, rules, template},
};

fn void(user_id: i64, coupon_id: i64, request_id: &str) -> v1::VoidCouponRequest {
    v1::VoidCouponRequest { request_id: request_id.to_owned(), user_id, coupon_id }
}

// R50: only a coupon in the wallet can be voided; then it is void for good.
#[tokio::test]
async fn only_an_available_coupon_is_voided() {
    let harness = harness::start().await;
    let client = &harness.client;
    let coupon = harness.give(1, rules()).await;
    let voided = client.void_coupon(void(1, coupon, "v")).await.expect("voided");
    assert_eq!(voided.coupon.clone().expect("the coupon").status(), CouponStatus::Voided);
    assert_eq!(client.void_coupon(void(1, coupon, "v")).await.expect("again"), voided);
    assert_eq!(client.void_coupon(void(1, coupon, "w")).await.expect("by state"), voided);
    let refused = client.lock(lock(1, "o", "", &[coupon])).await;
    assert_eq!(reason(refused), ErrorReason::CouponVoided);

    let held = harness.give(1, rules()).await;
    locked(&harness, lock(1, "o", "", &[held])).await;
    assert_eq!(reason(client.void_coupon(void(1, held, "")).await), ErrorReason::CouponLocked);
    confirmed(&harness, 1, "o").await;
    assert_eq!(reason(client.void_coupon(void(1, held, "")).await), ErrorReason::CouponUsed);
    let lapsing = harness.give(1, rules()).await;
    locked(&harness, lock(1, "p", "", &[lapsing])).await;
    harness.advance(START_MS + HOUR).await;
    client.void_coupon(void(1, lapsing, "")).await.expect("its lock has lapsed");
    let late = harness.give(1, rules()).await;
    harness.advance(START_MS + 30 * DAY).await;
    assert_eq!(reason(client.void_coupon(void(1, late, "")).await), ErrorReason::CouponExpired);
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Voided, "it does not expire");
    for (user, id) in [(2, coupon), (1, 10_001)] {
        let unknown = client.void_coupon(void(user, id, "")).await;
        assert_eq!(reason(unknown), ErrorReason::CouponNotFound);
    }
}

// R61: a void's id is not used for another coupon.
#[tokio::test]
async fn the_id_of_a_void_belongs_to_its_coupon() {
    let harness = harness::start().await;
    let (one, two) = (harness.give(1, rules()).await, harness.give(1, rules()).await);
    harness.client.void_coupon(void(1, one, "v")).await.expect("voided");
    let reused = harness.client.void_coupon(void(1, two, "v")).await;
    assert_eq!(reason(reused), ErrorReason::IdempotencyKeyReused);
    assert_eq!(harness.status(1, two).await, CouponStatus::Available);
}

// R50: a void returns no stock, and its number stays taken; its claim is still answered.
#[tokio::test]
async fn a_void_returns_neither_stock_nor_limit() {
    let harness = harness::start().await;
    let id = harness.publish(template(1)).await;
    let won = harness.client.claim(claim(1, id, "r")).await.expect("a win");
    let coupon = won.coupon.clone().expect("the coupon").coupon_id;
    harness.client.void_coupon(void(1, coupon, "")).await.expect("voided");
    let again = harness.client.claim(claim(1, id, "r")).await.expect("a replay");
    assert_eq!((again.replayed, again.coupon), (true, won.coupon));
    let second = harness.client.claim(claim(1, id, "s")).await;
    assert_eq!(reason(second), ErrorReason::LimitReached);
    let other = harness.client.claim(claim(2, id, "r")).await;
    assert_eq!(reason(other), ErrorReason::SoldOut);
}
