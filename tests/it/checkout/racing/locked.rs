//! Lock: once for a request id, by one order, and until the Confirm.

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::{
    CALLS,
    call::{Order, Told, all_told},
    world::{Effects, World},
};

// R58, R61: one request id is one lock, however often it arrives.
pub(super) async fn a_hundred_copies_of_a_lock_hold_once(world: &World) {
    let order = world.order().await;
    let told = world.race((0..CALLS).map(|_| order.lock("try"))).await;
    let held = all_told(&told, RedemptionState::Locked);
    assert_eq!(held.coupons.len(), 1);
    world.ends(&order, RedemptionState::Locked, CouponStatus::Locked, Effects::locked(1)).await;
    assert_eq!(world.redemption(&order).await, held);
}

// R49, R58: one order gets the coupon; the others are told who is in their way, and leave no trace.
pub(super) async fn one_of_a_hundred_orders_holds_the_coupon(world: &World) {
    let first = world.order().await;
    let orders: Vec<Order> =
        (0..CALLS).map(|n| Order { id: format!("rival-{n}"), ..first.clone() }).collect();
    let told = world.race(orders.iter().map(|order| order.lock("try"))).await;
    let (won, lost): (Vec<_>, Vec<_>) =
        orders.iter().zip(&told).partition(|(_, told)| told.outcome.is_ok());
    assert_eq!(won.len(), 1, "{won:#?}");
    let (holder, told) = won[0];
    all_told(std::slice::from_ref(told), RedemptionState::Locked);
    for (order, told) in lost {
        assert_eq!(told.outcome, Err(ErrorReason::CouponLocked));
        world.never_stored(order).await;
    }
    world.ends(holder, RedemptionState::Locked, CouponStatus::Locked, Effects::locked(1)).await;
    let told = world.race(orders.iter().map(|order| order.confirm("pay"))).await;
    for (order, told) in orders.iter().zip(told) {
        match told.outcome {
            Ok(_) => assert_eq!(order.id, holder.id),
            Err(reason) => {
                assert_eq!(reason, ErrorReason::RedemptionNotFound);
                assert_ne!(order.id, holder.id);
            }
        }
    }
    let effects = Effects { confirms: 1, ..Effects::locked(1) };
    world.ends(holder, RedemptionState::Confirmed, CouponStatus::Used, effects).await;
}

// R51, R58: a Lock under a new id renews until the Confirm, and is refused from then on.
pub(super) async fn renewals_end_with_the_confirm(world: &World) {
    // Fewer than an order may be locked under.
    const IDS: usize = 25;
    let order = world.order().await;
    all_told(&[world.settle(order.lock("try")).await], RedemptionState::Locked);
    let calls = (0..CALLS).map(|n| match n % 2 {
        0 => order.lock(&format!("again-{}", n / 2 % IDS)),
        _ => order.confirm(&format!("pay-{}", n % 10)),
    });
    let told = world.race(calls).await;
    let (confirms, locks): (Vec<_>, Vec<_>) = told.into_iter().partition(Told::is_confirm);
    let paid = all_told(&confirms, RedemptionState::Confirmed);
    for lock in &locks {
        let after = confirms.iter().any(|confirm| confirm.told < lock.asked);
        match &lock.outcome {
            // Either it renewed, or it repeats an id that had.
            Ok(found) if found.state() == RedemptionState::Locked => {
                assert!(!after, "locked after a Confirm: {lock:?}");
            }
            Ok(found) => assert_eq!(*found, paid),
            Err(reason) => assert_eq!(*reason, ErrorReason::OrderConfirmed, "{lock:?}"),
        }
    }
    // A renewal changes no status, so the log has the first Lock alone.
    let effects = Effects { confirms: 1, ..Effects::locked(1) };
    world.ends(&order, RedemptionState::Confirmed, CouponStatus::Used, effects).await;
    assert_eq!(world.redemption(&order).await, paid);
}
