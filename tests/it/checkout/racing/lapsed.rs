//! Time: a lock that has run out, and one that outlives its coupon.

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::{
    CALLS,
    call::{Order, Told, all_refused, all_told},
    world::{Effects, World},
};
use crate::harness::given::{DAY, MINUTE, SECOND, millis};

/// How long a lock holds that is to lapse, in seconds: short enough to be waited for.
const BRIEFLY: i64 = 1;

/// Locks and lets the lock run out, past the proxy: nothing may keep the Lock until it is over.
async fn lapse(world: &World, order: &Order) {
    let told = order.lock_for(BRIEFLY, "try").settle(world.client.clone()).await;
    let held = told.outcome.expect("locked");
    world.reach(millis(held.locked_until)).await;
}

// R51, R58: from `locked_until` on no Confirm succeeds, whether or not the alarm has rung; the Cancel
// that a coordinator sends then does.
pub(super) async fn a_lapsed_lock_is_not_confirmed_and_can_be_cancelled(world: &World) {
    let order = world.order().await;
    lapse(world, &order).await;
    let calls = (0..CALLS).map(|n| order.confirm(&format!("pay-{}", n % 10)));
    let told = world.race(calls.chain([order.lock_for(BRIEFLY, "try")])).await;
    all_refused(&told, ErrorReason::LockLapsed);
    assert_eq!(world.redemption(&order).await.state(), RedemptionState::Lapsed);
    assert_eq!(world.coupon(&order).await.status(), CouponStatus::Available);
    let told = world.race((0..CALLS).map(|n| order.cancel(&format!("off-{}", n % 10)))).await;
    all_told(&told, RedemptionState::Cancelled);
    let late = world.race((0..CALLS).map(|n| order.lock(&format!("again-{}", n % 10)))).await;
    all_refused(&late, ErrorReason::OrderCancelled);
    let effects = released_once(world, &order, 1).await;
    world.ends(&order, RedemptionState::Cancelled, CouponStatus::Available, effects).await;
}

/// What the log holds of a coupon that was locked so often and whose lapsed lock was released once:
/// by the alarm, by the Cancel, or by the Lock that took its place.
async fn released_once(world: &World, order: &Order, locks: u32) -> Effects {
    let effects = world.effects(order).await;
    let Effects { cancels, lapses, .. } = effects;
    assert_eq!(cancels + lapses, 1, "{effects:?}");
    Effects { cancels, lapses, ..Effects::locked(locks) }
}

// R51, R58: the next order takes what has lapsed, and the Cancels of the old one are late for it.
pub(super) async fn a_late_cancel_leaves_the_next_order_alone(world: &World) {
    let old = world.order().await;
    lapse(world, &old).await;
    let next = Order { id: "next".to_owned(), ..old.clone() };
    let calls = (0..CALLS).map(|n| match n % 2 {
        0 => next.lock("try"),
        _ => old.cancel(&format!("off-{}", n % 10)),
    });
    let (locks, cancels): (Vec<_>, Vec<_>) =
        world.race(calls).await.into_iter().partition(Told::is_lock);
    let held = all_told(&locks, RedemptionState::Locked);
    all_told(&cancels, RedemptionState::Cancelled);
    let effects = released_once(world, &next, 2).await;
    world.ends(&next, RedemptionState::Locked, CouponStatus::Locked, effects).await;
    assert_eq!(world.redemption(&next).await, held);
    let late = world.race((0..CALLS).map(|n| old.confirm(&format!("pay-{}", n % 10)))).await;
    all_refused(&late, ErrorReason::OrderCancelled);
    world.ends(&next, RedemptionState::Locked, CouponStatus::Locked, effects).await;
    assert_eq!(world.redemption(&old).await.state(), RedemptionState::Cancelled);
}

/// An order whose lock holds beyond the end of its coupon, which has come.
async fn outlives(world: &World) -> Order {
    let expiry = world.now().await + DAY;
    let order = world.order_until(expiry).await;
    let told = world.settle(order.lock_for(2 * DAY / SECOND, "try")).await;
    all_told(&[told], RedemptionState::Locked);
    world.reach(expiry + MINUTE).await;
    assert_eq!(world.coupon(&order).await.status(), CouponStatus::Locked);
    order
}

// R51, R58: expiry is decided at the Lock: a live one is confirmed afterwards.
pub(super) async fn a_live_lock_is_confirmed_after_the_expiry(world: &World) {
    let order = outlives(world).await;
    let told = world.race((0..CALLS).map(|n| order.confirm(&format!("pay-{}", n % 10)))).await;
    all_told(&told, RedemptionState::Confirmed);
    let effects = Effects { confirms: 1, ..Effects::locked(1) };
    world.ends(&order, RedemptionState::Confirmed, CouponStatus::Used, effects).await;
}

// R51, R58: what is released after the expiry is expired, and no order gets it any more.
pub(super) async fn a_lock_cancelled_after_the_expiry_leaves_an_expired_coupon(world: &World) {
    let order = outlives(world).await;
    let told = world.race((0..CALLS).map(|n| order.cancel(&format!("off-{}", n % 10)))).await;
    all_told(&told, RedemptionState::Cancelled);
    let rivals = (0..CALLS).map(|n| Order { id: format!("rival-{n}"), ..order.clone() });
    let told = world.race(rivals.map(|rival| rival.lock("try"))).await;
    all_refused(&told, ErrorReason::CouponExpired);
    let effects = Effects { cancels: 1, ..Effects::locked(1) };
    world.ends(&order, RedemptionState::Cancelled, CouponStatus::Expired, effects).await;
}
