//! Confirm: once, against a Cancel, and for good.

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::{
    CALLS,
    call::{Told, all_refused, all_told},
    world::{Effects, World},
};
use crate::harness::eventually;

// R51, R58, R61: double confirm: every one has the first one's result, and the coupon is used once.
pub(super) async fn a_hundred_confirms_use_the_coupon_once(world: &World) {
    let order = world.order().await;
    all_told(&[world.settle(order.lock("try")).await], RedemptionState::Locked);
    let told = world.race((0..CALLS).map(|n| order.confirm(&format!("pay-{}", n % 10)))).await;
    let paid = all_told(&told, RedemptionState::Confirmed);
    let effects = Effects { confirms: 1, ..Effects::locked(1) };
    world.ends(&order, RedemptionState::Confirmed, CouponStatus::Used, effects).await;
    assert_eq!(world.redemption(&order).await, paid);
    let template_id = world.coupon(&order).await.template_id;
    let stats = eventually("the counts are folded", async || {
        let request = v1::GetTemplateStatsRequest { template_id };
        let stats = world.client.get_template_stats(request).await.expect("counts");
        (stats.used_count > 0).then_some(stats)
    })
    .await;
    assert_eq!((stats.used_count, stats.locked_count, stats.issued_count), (1, 0, 1));
}

// R51, R58: of Confirm and Cancel one has its way, and every call of the other is told so.
pub(super) async fn confirm_or_cancel_and_never_both(world: &World) {
    const ORDERS: usize = 10;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        let order = world.order().await;
        all_told(&[world.settle(order.lock("try")).await], RedemptionState::Locked);
        orders.push(order);
    }
    let told = world
        .race((0..CALLS).map(|n| {
            let (order, turn) = (&orders[n % ORDERS], n / ORDERS);
            match turn % 2 {
                0 => order.confirm(&format!("pay-{}", turn % 4)),
                _ => order.cancel(&format!("off-{}", turn % 4)),
            }
        }))
        .await;
    for order in &orders {
        let (confirms, cancels): (Vec<Told>, Vec<Told>) =
            told.iter().filter(|one| one.is_of(order)).cloned().partition(Told::is_confirm);
        assert_eq!((confirms.len(), cancels.len()), (5, 5));
        let locked = Effects::locked(1);
        let (state, status, effects) = if confirms[0].outcome.is_ok() {
            all_refused(&cancels, ErrorReason::OrderConfirmed);
            let effects = Effects { confirms: 1, ..locked };
            (RedemptionState::Confirmed, CouponStatus::Used, effects)
        } else {
            all_refused(&confirms, ErrorReason::OrderCancelled);
            let effects = Effects { cancels: 1, ..locked };
            (RedemptionState::Cancelled, CouponStatus::Available, effects)
        };
        let winners = if confirms[0].outcome.is_ok() { confirms } else { cancels };
        all_told(&winners, state);
        world.ends(order, state, status, effects).await;
    }
}

// R51, R58: confirmed is the end: for a Cancel and for a new Try; what repeats is told the outcome.
pub(super) async fn a_confirmed_order_stays_confirmed(world: &World) {
    let order = world.order().await;
    all_told(&[world.settle(order.lock("try")).await], RedemptionState::Locked);
    let pay = world.settle(order.confirm("pay")).await;
    let paid = all_told(&[pay], RedemptionState::Confirmed);
    let told = world.race((0..CALLS).map(|n| order.cancel(&format!("off-{}", n % 10)))).await;
    all_refused(&told, ErrorReason::OrderConfirmed);
    let told = world.race((0..CALLS).map(|n| order.lock(&format!("again-{}", n % 10)))).await;
    all_refused(&told, ErrorReason::OrderConfirmed);
    let repeats = (0..CALLS).map(|n| match n % 2 {
        0 => order.lock("try"),
        _ => order.confirm(&format!("pay-{}", n % 10)),
    });
    let told = world.race(repeats).await;
    assert_eq!(all_told(&told, RedemptionState::Confirmed), paid);
    let effects = Effects { confirms: 1, ..Effects::locked(1) };
    world.ends(&order, RedemptionState::Confirmed, CouponStatus::Used, effects).await;
}
