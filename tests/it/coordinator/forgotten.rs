//! What comes too late or never.

use coupon_client::{dev, tonic::Code, v1};
use coupon_tests::dtm::{OrderState, Tcc, TransOptions, TransactionState};
use tonic_types::StatusExt as _;
use v1::{CouponStatus, RedemptionState};

use super::stage::{Stage, options, order};
use crate::harness::{
    START_MS, eventually,
    given::{MINUTE, instant, lock},
};

/// More than one transaction writes.
const LOG_LINES: usize = 1_000;

// R58: the initiator dies after its Tries: dtm gives the transaction up, and nothing stays held.
#[tokio::test]
async fn an_initiator_that_dies_leaves_nothing_locked() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    let hasty = TransOptions { timeout_to_fail_s: 2, retry_interval_s: 0, ..options() };
    let mut tcc = Tcc::begin(&stage.dtm, hasty).await.expect("a transaction");
    stage.reserve(&mut tcc, 1).await.expect("reserved");
    stage.lock(&mut tcc, 1, coupon).await.expect("locked");
    let gid = tcc.gid().to_owned();
    drop(tcc);
    stage.ends(&gid, TransactionState::Failed).await;
    let seen = stage.seen(1, coupon).await;
    assert_eq!(seen, (CouponStatus::Available, Some(OrderState::Cancelled)));
    assert_eq!(stage.redemption(1).await.state(), RedemptionState::Cancelled);
    stage.finish().await;
}

// R58: the time-out is final: who wakes after it can neither submit nor add a branch.
#[tokio::test]
async fn an_initiator_that_wakes_too_late_is_told_so() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    let hasty = TransOptions { timeout_to_fail_s: 2, retry_interval_s: 0, ..options() };
    let mut tcc = Tcc::begin(&stage.dtm, hasty).await.expect("a transaction");
    stage.lock(&mut tcc, 1, coupon).await.expect("locked");
    stage.ends(tcc.gid(), TransactionState::Failed).await;
    let late = tcc.submit().await.expect_err("given up");
    assert_eq!(late.code(), Code::Aborted, "{late:?}");
    let late = stage.reserve(&mut tcc, 1).await.expect_err("given up");
    assert_eq!(late.code(), Code::Aborted, "{late:?}");
    assert_eq!(stage.seen(1, coupon).await, (CouponStatus::Available, None));
    stage.finish().await;
}

// R58: empty rollback and hanging: the Try is on its way when the transaction is aborted; the Cancel
// overtakes it, succeeds, and keeps it out.
#[tokio::test]
async fn a_try_that_its_cancel_has_overtaken_is_refused() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    let mut tcc = Tcc::begin(&stage.dtm, options()).await.expect("a transaction");
    let request = lock(1, &order(1), "try", &[coupon]);
    let branch = tcc.register(&stage.coupons(), &request).await.expect("registered");
    tcc.abort("the Try does not answer").await.expect("aborted");
    stage.ends(tcc.gid(), TransactionState::Failed).await;
    assert_eq!(stage.redemption(1).await.state(), RedemptionState::Cancelled);

    let late = tcc.call_try::<_, v1::LockResponse>(&stage.coupons(), &branch, request).await;
    let late = late.expect_err("a late Try");
    assert_eq!(late.code(), Code::Aborted);
    assert_eq!(late.get_details_error_info().expect("an ErrorInfo").reason, "ORDER_CANCELLED");
    assert_eq!(stage.seen(1, coupon).await.0, CouponStatus::Available);
    stage.finish().await;
}

// R58: a lock that lapses before its Confirm: dtm goes on asking, the coupon is free meanwhile, and
// who locks it again for the same order lets the transaction end.
#[tokio::test]
async fn a_confirm_after_the_lease_waits_until_the_lock_is_renewed() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    let tcc = stage.tried(1, coupon).await;
    let to = Some(instant(START_MS + 31 * MINUTE));
    stage.client.advance_clock(dev::AdvanceClockRequest { to }).await.expect("the clock moves");
    tcc.submit().await.expect("dtm knows nothing of leases");
    // LOCK_LAPSED is no ABORTED here, so that dtm takes it for "still at work".
    eventually("a Confirm has been refused", async || {
        let log = stage.coordinator.service().log(LOG_LINES);
        log.contains("code = FailedPrecondition").then_some(())
    })
    .await;
    let seen = stage.seen(1, coupon).await;
    assert_eq!(seen, (CouponStatus::Available, Some(OrderState::Reserved)));
    let state = stage.coordinator.state(tcc.gid()).await.expect("dtm answers");
    assert_eq!(state, TransactionState::Submitted);

    stage.client.lock(lock(1, &order(1), "again", &[coupon])).await.expect("it is still there");
    stage.ends(tcc.gid(), TransactionState::Succeed).await;
    assert_eq!(stage.seen(1, coupon).await, (CouponStatus::Used, Some(OrderState::Sold)));
    stage.finish().await;
}
