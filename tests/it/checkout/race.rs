//! Many at once on the same coupons (R49, R58).

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::locked;
use crate::harness::{
    self,
    given::{cancel, confirm, lock, reason, rules},
};

// R49: 100 orders race for one coupon: one gets it, and only that one can be confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_orders_race_for_one_coupon() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    let calls = (0..100).map(|n| {
        let client = harness.client.clone();
        let request = lock(1, &format!("order-{n}"), "try", &[coupon]);
        tokio::spawn(async move { client.lock(request).await })
    });
    let mut winners = Vec::new();
    for (n, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        match call.await.expect("no panic") {
            Ok(_) => winners.push(n),
            Err(error) => assert_eq!(error.reason(), Some(ErrorReason::CouponLocked), "{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(harness.coupon(1, coupon).await.order_id, format!("order-{}", winners[0]));
    for n in 0..100 {
        let outcome = harness.client.confirm(confirm(1, &format!("order-{n}"), "c")).await;
        match outcome {
            Ok(_) => assert_eq!(n, winners[0]),
            Err(error) => assert_eq!(error.reason(), Some(ErrorReason::RedemptionNotFound)),
        }
    }
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Used);
}

// R58, R61: 100 copies of one Lock are one lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_copies_of_a_lock_are_one() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    let calls = (0..100).map(|_| {
        let client = harness.client.clone();
        let request = lock(1, "order", "try", &[coupon]);
        tokio::spawn(async move { client.lock(request).await })
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await.expect("no panic").expect("locked"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

// R58: Confirm races Cancel, 50 orders at once: each order has one end, and its coupon the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirm_and_cancel_race_to_one_end() {
    let harness = harness::start().await;
    let mut coupons = Vec::new();
    for n in 0..50 {
        let coupon = harness.give(n + 1, rules()).await;
        locked(&harness, lock(n + 1, "order", "try", &[coupon])).await;
        coupons.push(coupon);
    }
    let calls = (1..=50).map(|user| {
        let (payer, closer) = (harness.client.clone(), harness.client.clone());
        let paid = tokio::spawn(async move { payer.confirm(confirm(user, "order", "c")).await });
        let off = tokio::spawn(async move { closer.cancel(cancel(user, "order", "x")).await });
        (paid, off)
    });
    for ((user, coupon), (paid, off)) in (1..).zip(coupons).zip(calls.collect::<Vec<_>>()) {
        let (paid, off) = (paid.await.expect("no panic"), off.await.expect("no panic"));
        let state = harness.redemption(user, "order").await.state();
        let status = harness.status(user, coupon).await;
        if paid.is_ok() {
            assert_eq!(reason(off), ErrorReason::OrderConfirmed);
            assert_eq!((state, status), (RedemptionState::Confirmed, CouponStatus::Used));
        } else {
            assert_eq!(reason(paid), ErrorReason::OrderCancelled);
            assert!(off.is_ok());
            assert_eq!((state, status), (RedemptionState::Cancelled, CouponStatus::Available));
        }
    }
}

// R58: Cancel races the Try it belongs to: whatever the order of arrival, nothing stays locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_races_its_try_leaves_nothing_locked() {
    let harness = harness::start().await;
    let mut coupons = Vec::new();
    for user in 1..=50 {
        coupons.push(harness.give(user, rules()).await);
    }
    let calls = (1..).zip(&coupons).map(|(user, coupon)| {
        let (trier, closer) = (harness.client.clone(), harness.client.clone());
        let request = lock(user, "order", "try", &[*coupon]);
        let tried = tokio::spawn(async move { trier.lock(request).await });
        let off = tokio::spawn(async move { closer.cancel(cancel(user, "order", "x")).await });
        (user, *coupon, tried, off)
    });
    for (user, coupon, tried, off) in calls.collect::<Vec<_>>() {
        off.await.expect("no panic").expect("a Cancel succeeds");
        if let Err(error) = tried.await.expect("no panic") {
            assert_eq!(error.reason(), Some(ErrorReason::OrderCancelled), "{error}");
        }
        assert_eq!(harness.redemption(user, "order").await.state(), RedemptionState::Cancelled);
        assert_eq!(harness.status(user, coupon).await, CouponStatus::Available);
    }
}

// R49: orders that want overlapping sets: each set is taken whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_sets_are_taken_whole() {
    let harness = harness::start().await;
    let mut coupons = Vec::new();
    for _ in 0..10 {
        coupons.push(harness.give(1, rules()).await);
    }
    let calls = (0..40).map(|n| {
        let client = harness.client.clone();
        // Three neighbours on the ring of ten.
        let wanted: Vec<i64> = (0..3).map(|k| coupons[(n + k) % 10]).collect();
        let request = lock(1, &format!("order-{n}"), "try", &wanted);
        (wanted, tokio::spawn(async move { client.lock(request).await }))
    });
    let mut taken = Vec::new();
    for (wanted, call) in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(_) => taken.extend(wanted),
            Err(error) => assert_eq!(error.reason(), Some(ErrorReason::CouponLocked), "{error}"),
        }
    }
    let count = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), count, "no coupon twice");
    assert!(count >= 6, "at least two sets of three fit into ten: {count}");
    for coupon in coupons {
        let expected =
            if taken.contains(&coupon) { CouponStatus::Locked } else { CouponStatus::Available };
        assert_eq!(harness.status(1, coupon).await, expected);
    }
}
