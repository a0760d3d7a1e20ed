//! Cancel: of nothing, against its Try, and for good.

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::{
    CALLS,
    call::{Told, all_refused, all_told},
    world::{Effects, World},
};

// R58: empty rollback: every Cancel succeeds with the one tombstone, and whatever comes late finds it.
pub(super) async fn a_hundred_cancels_of_nothing_fence_every_late_lock(world: &World) {
    let order = world.order().await;
    let told = world.race((0..CALLS).map(|n| order.cancel(&format!("off-{}", n % 10)))).await;
    let tombstone = all_told(&told, RedemptionState::Cancelled);
    assert!(tombstone.coupons.is_empty());
    let late = world.race((0..CALLS).map(|n| order.lock(&format!("try-{}", n % 10)))).await;
    all_refused(&late, ErrorReason::OrderCancelled);
    let late = world.race((0..CALLS).map(|n| order.confirm(&format!("pay-{}", n % 10)))).await;
    all_refused(&late, ErrorReason::OrderCancelled);
    let (cancelled, free) = (RedemptionState::Cancelled, CouponStatus::Available);
    world.ends(&order, cancelled, free, Effects::default()).await;
    assert_eq!(world.redemption(&order).await, tombstone);
}

// R58: hanging: whichever arrives first, nothing is held once a Cancel has succeeded.
pub(super) async fn a_lock_never_outlives_its_cancel(world: &World) {
    const ORDERS: usize = 10;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        orders.push(world.order().await);
    }
    let told = world
        .race((0..CALLS).map(|n| {
            let (order, turn) = (&orders[n % ORDERS], n / ORDERS);
            // Each order has five Tries under two ids and five Cancels under two others.
            match turn % 2 {
                0 => order.lock(&format!("try-{}", turn % 4)),
                _ => order.cancel(&format!("off-{}", turn % 4)),
            }
        }))
        .await;
    let (cancelled, free) = (RedemptionState::Cancelled, CouponStatus::Available);
    for order in &orders {
        let (locks, cancels): (Vec<Told>, Vec<Told>) =
            told.iter().filter(|one| one.is_of(order)).cloned().partition(Told::is_lock);
        assert_eq!((locks.len(), cancels.len()), (5, 5));
        all_told(&cancels, cancelled);
        for lock in &locks {
            match &lock.outcome {
                Ok(redemption) => assert_eq!(redemption.state(), RedemptionState::Locked),
                Err(reason) => assert_eq!(*reason, ErrorReason::OrderCancelled),
            }
            let after = cancels.iter().any(|cancel| cancel.told < lock.asked);
            assert!(!after || lock.outcome.is_err(), "locked after a Cancel: {lock:?}");
        }
        // An order that no Try has reached first was never held; any other was, and was freed, once:
        // a renewal changes no status.
        let held = world.effects(order).await.locks.min(1);
        let effects = Effects { cancels: held, ..Effects::locked(held) };
        world.ends(order, cancelled, free, effects).await;
    }
    let late = world
        .race((0..CALLS).map(|n| orders[n % ORDERS].lock(&format!("try-{}", n / ORDERS))))
        .await;
    all_refused(&late, ErrorReason::OrderCancelled);
}

// R51, R58: cancelled is the end: for a Confirm, for a Try old and new, and for another Cancel.
pub(super) async fn a_cancelled_order_stays_cancelled(world: &World) {
    let order = world.order().await;
    all_told(&[world.settle(order.lock("try")).await], RedemptionState::Locked);
    let off = world.settle(order.cancel("off")).await;
    let first = all_told(&[off], RedemptionState::Cancelled);
    let calls = (0..CALLS).map(|n| match n % 4 {
        0 | 1 => order.confirm(&format!("pay-{n}")),
        2 => order.lock(&format!("try-{}", n % 3)),
        _ => order.cancel(&format!("off-{}", n % 3)),
    });
    let told = world.race(calls.chain([order.lock("try")])).await;
    let (cancels, others): (Vec<_>, Vec<_>) = told.into_iter().partition(Told::is_cancel);
    assert_eq!(all_told(&cancels, RedemptionState::Cancelled), first);
    all_refused(&others, ErrorReason::OrderCancelled);
    let told = world.race((0..CALLS).map(|_| order.confirm("pay"))).await;
    all_refused(&told, ErrorReason::OrderCancelled);
    let effects = Effects { cancels: 1, ..Effects::locked(1) };
    world.ends(&order, RedemptionState::Cancelled, CouponStatus::Available, effects).await;
}
