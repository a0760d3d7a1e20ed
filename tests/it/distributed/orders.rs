//! Orders whose calls arrive at different nodes (R49, R58, R61).

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::{Stage, at_once, give, usable};
use crate::harness::given::{cancel, confirm, lock, reason};

const ORDERS: i64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_keep_the_same_orders() {
    let stage = Stage::start().await;
    locked_here_and_confirmed_there(&stage).await;
    cancelled_here_and_never_locked_there(&stage).await;
    one_order_of_fifty_holds_the_coupon(&stage).await;
    stage.finish().await;
}

async fn status(stage: &Stage, user_id: i64, coupon_id: i64) -> CouponStatus {
    let request = v1::GetCouponRequest { user_id, coupon_id };
    let found = stage.b.get_coupon(request).await.expect("the coupon");
    found.coupon.expect("the coupon").status()
}

async fn locked_here_and_confirmed_there(stage: &Stage) {
    let coupon = give(&stage.a, 1, usable()).await;
    let locked = stage.a.lock(lock(1, "paid", "try", &[coupon])).await.expect("locked");
    let again = stage.b.lock(lock(1, "paid", "try", &[coupon])).await.expect("a replay");
    assert_eq!(locked.redemption, again.redemption);
    let paid = stage.b.confirm(confirm(1, "paid", "pay")).await.expect("confirmed");
    let paid = paid.redemption.expect("the redemption");
    assert_eq!(paid.state(), RedemptionState::Confirmed);
    let again = stage.a.confirm(confirm(1, "paid", "pay")).await.expect("a replay");
    assert_eq!(again.redemption, Some(paid));
    assert_eq!(reason(stage.a.cancel(cancel(1, "paid", "off")).await), ErrorReason::OrderConfirmed);
    assert_eq!(status(stage, 1, coupon).await, CouponStatus::Used);
}

/// R58: a Try that arrives after its Cancel locks nothing, wherever it arrives.
async fn cancelled_here_and_never_locked_there(stage: &Stage) {
    let coupon = give(&stage.b, 2, usable()).await;
    stage.a.cancel(cancel(2, "empty", "off")).await.expect("an empty rollback");
    let late = stage.b.lock(lock(2, "empty", "try", &[coupon])).await;
    assert_eq!(reason(late), ErrorReason::OrderCancelled);
    stage.b.lock(lock(2, "full", "try", &[coupon])).await.expect("locked");
    stage.a.cancel(cancel(2, "full", "off")).await.expect("cancelled");
    let late = stage.b.lock(lock(2, "full", "try", &[coupon])).await;
    assert_eq!(reason(late), ErrorReason::OrderCancelled);
    let paid = stage.b.confirm(confirm(2, "full", "pay")).await;
    assert_eq!(reason(paid), ErrorReason::OrderCancelled);
    assert_eq!(status(stage, 2, coupon).await, CouponStatus::Available);
}

/// R49.
async fn one_order_of_fifty_holds_the_coupon(stage: &Stage) {
    let coupon = give(&stage.a, 3, usable()).await;
    let locks = at_once((0..ORDERS).map(|order| {
        let client = stage.client(order);
        async move { client.lock(lock(3, &format!("race-{order}"), "try", &[coupon])).await }
    }))
    .await;
    let mut holders = Vec::new();
    for (order, outcome) in (0..ORDERS).zip(locks) {
        match outcome {
            Ok(_) => holders.push(order),
            Err(error) => assert_eq!(error.reason(), Some(ErrorReason::CouponLocked), "{error}"),
        }
    }
    assert_eq!(holders.len(), 1, "{holders:?}");
    let confirms = at_once((0..ORDERS).map(|order| {
        let client = stage.client(order + 1);
        async move { client.confirm(confirm(3, &format!("race-{order}"), "pay")).await }
    }))
    .await;
    for (order, outcome) in (0..ORDERS).zip(confirms) {
        match outcome {
            Ok(_) => assert_eq!(order, holders[0]),
            Err(error) => {
                assert_ne!(order, holders[0], "{error}");
                assert_eq!(error.reason(), Some(ErrorReason::RedemptionNotFound), "{error}");
            }
        }
    }
    assert_eq!(status(stage, 3, coupon).await, CouponStatus::Used);
}
