//! Locks that are overdue and not yet released (R51, R58).

use coupon_client::{prost_types::Duration, v1};
use v1::RedemptionState;

use super::{confirmed, locked};
use crate::harness::{
    self, Harness, START_MS,
    given::{MINUTE, SECOND, lock, rules},
};

async fn stuck(harness: &Harness, request: v1::ListStuckRedemptionsRequest) -> Vec<String> {
    let page = harness.client.list_stuck_redemptions(request).await.expect("a page");
    page.redemptions.into_iter().map(|stuck| stuck.order_id).collect()
}

fn overdue(seconds: i64) -> v1::ListStuckRedemptionsRequest {
    let min_overdue = Some(Duration { seconds, nanos: 0 });
    v1::ListStuckRedemptionsRequest { min_overdue, ..Default::default() }
}

// R51: longest overdue first, in pages, until the alarm releases them.
#[tokio::test]
async fn overdue_locks_are_listed_until_they_are_released() {
    let harness = harness::start().await;
    // They lapse at 61, 65, 70, 80 and 90 seconds; the alarm of all of them rings at two minutes.
    for (user, seconds) in (1..).zip([80, 61, 70, 90, 65]) {
        let coupon = harness.give(user, rules()).await;
        let lock_ttl = Some(Duration { seconds, nanos: 0 });
        let order = format!("order-{seconds}");
        locked(&harness, v1::LockRequest { lock_ttl, ..lock(user, &order, "", &[coupon]) }).await;
    }
    let paid = harness.give(9, rules()).await;
    let lock_ttl = Some(Duration { seconds: 62, nanos: 0 });
    locked(&harness, v1::LockRequest { lock_ttl, ..lock(9, "paid", "", &[paid]) }).await;
    confirmed(&harness, 9, "paid").await;
    assert_eq!(stuck(&harness, overdue(0)).await, [""; 0]);
    harness.advance(START_MS + 85 * SECOND).await;
    let all = ["order-61", "order-65", "order-70", "order-80"];
    assert_eq!(stuck(&harness, overdue(0)).await, all);
    assert_eq!(stuck(&harness, overdue(15)).await, all[..3]);
    assert_eq!(stuck(&harness, overdue(20)).await, all[..2]);
    assert_eq!(stuck(&harness, overdue(25)).await, [""; 0]);

    let mut request = v1::ListStuckRedemptionsRequest { page_size: 3, ..Default::default() };
    let page = harness.client.list_stuck_redemptions(request.clone()).await.expect("a page");
    assert_eq!(page.redemptions.len(), 3);
    assert!(page.redemptions.iter().all(|stuck| stuck.state() == RedemptionState::Locked));
    request.page_token = page.next_page_token;
    assert_eq!(stuck(&harness, request).await, all[3..]);

    harness.advance(START_MS + 2 * MINUTE).await;
    assert_eq!(stuck(&harness, overdue(0)).await, [""; 0]);
    assert_eq!(harness.redemption(2, "order-61").await.state(), RedemptionState::Lapsed);
}
