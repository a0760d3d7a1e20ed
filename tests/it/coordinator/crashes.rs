//! Somebody is killed (SIGKILL) in the middle, comes back with what it had stored, and the
//! transactions end as they were decided.

use coupon_client::v1;
use coupon_tests::dtm::{Mood, OrderState, TransactionState, Verb};
use v1::{CouponStatus, RedemptionState};

use super::stage::{Stage, order};
use crate::harness::{eventually, given::confirm};

/// Users whose transactions are under way when the platform dies.
const BUYERS: i64 = 24;

// R58: dtm dies between the Tries and the decision.
#[tokio::test]
async fn dtm_killed_before_the_decision_carries_it_out_afterwards() {
    let Some(stage) = Stage::start().await else { return };
    let (paid, unpaid) = (stage.give(1).await, stage.give(2).await);
    let (submitted, aborted) = (stage.tried(1, paid).await, stage.tried(2, unpaid).await);
    stage.coordinator.service().kill().await.expect("killed");
    submitted.submit().await.expect_err("nobody is there");
    stage.coordinator.service().restart().await.expect("it is back");
    submitted.submit().await.expect("submitted");
    aborted.abort("no money").await.expect("aborted");
    stage.ends(submitted.gid(), TransactionState::Succeed).await;
    stage.ends(aborted.gid(), TransactionState::Failed).await;
    assert_eq!(stage.seen(1, paid).await, (CouponStatus::Used, Some(OrderState::Sold)));
    let seen = stage.seen(2, unpaid).await;
    assert_eq!(seen, (CouponStatus::Available, Some(OrderState::Cancelled)));
    stage.finish().await;
}

// R58: dtm dies after the decision, when one branch is confirmed and the other fails. Nobody tells it
// again: it finds the transaction in its store.
#[tokio::test]
async fn dtm_killed_while_it_confirms_goes_on_by_itself() {
    let Some(stage) = Stage::start().await else { return };
    let coupon = stage.give(1).await;
    let tcc = stage.tried(1, coupon).await;
    stage.orders.set_mood(Mood::Failing);
    tcc.submit().await.expect("submitted");
    eventually("a Confirm has failed", async || {
        (stage.orders.calls(Verb::Confirm) > 0).then_some(())
    })
    .await;
    let seen = stage.seen(1, coupon).await;
    assert_eq!(seen, (CouponStatus::Used, Some(OrderState::Reserved)), "half way");
    let half_way = stage.redemption(1).await;
    stage.coordinator.service().kill().await.expect("killed");
    stage.orders.set_mood(Mood::Well);
    stage.coordinator.service().restart().await.expect("it is back");
    stage.ends(tcc.gid(), TransactionState::Succeed).await;
    assert_eq!(stage.seen(1, coupon).await, (CouponStatus::Used, Some(OrderState::Sold)));
    assert_eq!(stage.redemption(1).await, half_way, "confirmed once");
    stage.finish().await;
}

// R58: the platform dies while Confirms come in. Half of the buyers' orders are sold only after its
// death, so that their Confirms find nobody; those of the others are under way. Each coupon ends used,
// once, and what had been confirmed before stays as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_platform_killed_while_it_is_asked_to_confirm_has_confirmed_once() {
    let Some(mut stage) = Stage::start().await else { return };
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for user in 1..=BUYERS {
        let coupon = stage.give(user).await;
        if user % 2 == 0 {
            early.push((user, coupon, stage.tried(user, coupon).await));
        } else {
            late.push((user, coupon, stage.tried_order_last(user, coupon).await));
        }
    }
    stage.orders.set_mood(Mood::Hanging);
    for (_, _, tcc) in late.iter().chain(&early) {
        tcc.submit().await.expect("submitted");
    }
    let first = early[0].0;
    eventually("a Confirm has been carried out", async || {
        (stage.redemption(first).await.state() == RedemptionState::Confirmed).then_some(())
    })
    .await;
    let before = stage.redemption(first).await;
    stage.process.kill().await;
    stage.orders.set_mood(Mood::Well);
    for (user, _, tcc) in &late {
        eventually("the order is sold", async || {
            (stage.orders.state(&order(*user)) == Some(OrderState::Sold)).then_some(())
        })
        .await;
        let state = stage.coordinator.state(tcc.gid()).await.expect("dtm answers");
        assert_eq!(state, TransactionState::Submitted, "its Confirm found nobody");
    }
    stage.revive().await;
    for (user, coupon, tcc) in early.iter().chain(&late) {
        stage.ends(tcc.gid(), TransactionState::Succeed).await;
        let seen = stage.seen(*user, *coupon).await;
        assert_eq!(seen, (CouponStatus::Used, Some(OrderState::Sold)), "user {user}");
        let stored = stage.redemption(*user).await;
        assert_eq!(stored.state(), RedemptionState::Confirmed, "user {user}");
        let again = confirm(*user, &order(*user), "again");
        let again = stage.client.confirm(again).await.expect("a repeat");
        assert_eq!(again.redemption, Some(stored), "user {user}");
    }
    assert_eq!(stage.redemption(first).await, before);
    stage.finish().await;
}
