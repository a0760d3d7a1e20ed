//! Every way in which a transaction ends that nobody dies in.

use coupon_client::{tonic::Code, v1};
use coupon_tests::dtm::{Mood, OrderState, TransactionState, Verb, transaction};
use tonic_types::StatusExt as _;
use v1::{CouponStatus, RedemptionState};

use super::stage::{Stage, options, order};
use crate::harness::{eventually, given::lock};

// R58: both Tries succeed: both branches are confirmed.
#[tokio::test]
async fn both_branches_are_confirmed() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    let ended = transaction(&stage.dtm, options(), async |tcc| {
        stage.reserve(tcc, 1).await?;
        stage.lock(tcc, 1, coupon).await?;
        assert_eq!(stage.seen(1, coupon).await, (CouponStatus::Locked, Some(OrderState::Reserved)));
        Ok(())
    })
    .await
    .expect("dtm answers");
    ended.outcome.expect("submitted");
    stage.ends(&ended.gid, TransactionState::Succeed).await;
    assert_eq!(stage.seen(1, coupon).await, (CouponStatus::Used, Some(OrderState::Sold)));
    assert_eq!(stage.redemption(1).await.state(), RedemptionState::Confirmed);
    stage.finish().await;
}

// R58: the platform refuses: its answer is definite, and what the other branch holds is let go. The
// refused branch is cancelled too, which finds nothing locked.
#[tokio::test]
async fn a_refused_lock_cancels_the_order() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    let other = lock(1, "another", "try", &[coupon]);
    stage.client.lock(other).await.expect("locked by another order");
    let ended = transaction(&stage.dtm, options(), async |tcc| {
        stage.reserve(tcc, 1).await?;
        stage.lock(tcc, 1, coupon).await
    })
    .await
    .expect("dtm answers");
    let refused = ended.outcome.expect_err("the coupon is locked");
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(refused.get_details_error_info().expect("an ErrorInfo").reason, "COUPON_LOCKED");
    stage.ends(&ended.gid, TransactionState::Failed).await;
    let seen = stage.seen(1, coupon).await;
    assert_eq!(seen, (CouponStatus::Locked, Some(OrderState::Cancelled)), "by the other order");
    assert_eq!(stage.redemption(1).await.state(), RedemptionState::Cancelled);
    stage.finish().await;
}

// R58: the order service refuses: the coupon that is locked already is free again.
#[tokio::test]
async fn a_refused_order_frees_the_coupon() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    stage.orders.set_mood(Mood::Refusing);
    let ended = transaction(&stage.dtm, options(), async |tcc| {
        stage.lock(tcc, 1, coupon).await?;
        stage.reserve(tcc, 1).await
    })
    .await
    .expect("dtm answers");
    assert_eq!(ended.outcome.expect_err("sold out").code(), Code::Aborted);
    stage.ends(&ended.gid, TransactionState::Failed).await;
    assert_eq!(stage.seen(1, coupon).await, (CouponStatus::Available, Some(OrderState::Cancelled)));
    assert_eq!(stage.redemption(1).await.state(), RedemptionState::Cancelled);
    stage.finish().await;
}

// R58: a participant that is down for a while delays the end and changes nothing.
#[tokio::test]
async fn a_cancel_that_fails_is_sent_until_it_succeeds() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    let tcc = stage.tried(1, coupon).await;
    stage.orders.set_mood(Mood::Failing);
    tcc.abort("the customer changed his mind").await.expect("aborted");
    eventually("a Cancel has failed", async || {
        (stage.orders.calls(Verb::Cancel) > 0).then_some(())
    })
    .await;
    let seen = stage.seen(1, coupon).await;
    assert_eq!(seen, (CouponStatus::Available, Some(OrderState::Reserved)));
    stage.orders.set_mood(Mood::Well);
    stage.ends(tcc.gid(), TransactionState::Failed).await;
    assert_eq!(stage.orders.state(&order(1)), Some(OrderState::Cancelled));
    stage.finish().await;
}
