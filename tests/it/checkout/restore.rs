//! Restore after a refund, by each template's policy (R59).

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason, RedemptionState, RestorePolicy, RestoreResult};

use super::{confirmed, locked};
use crate::harness::{
    self, Harness, START_MS,
    given::{DAY, HOUR, instant, lock, reason, rules},
};

fn with(policy: RestorePolicy, restore_days: i32) -> v1::TemplateRules {
    v1::TemplateRules { restore_policy: policy.into(), restore_days, ..rules() }
}

fn restore(user_id: i64, order: &str, request_id: &str) -> v1::RestoreRequest {
    let (order_id, request_id) = (order.to_owned(), request_id.to_owned());
    v1::RestoreRequest { user_id, order_id, request_id, ..v1::RestoreRequest::default() }
}

/// A paid order of user 1 with one coupon of each policy; the coupons in the order of the policies.
async fn paid() -> (Harness, Vec<i64>) {
    let harness = harness::start().await;
    let mut coupons = Vec::new();
    for rules in [
        with(RestorePolicy::Never, 0),
        with(RestorePolicy::IfUnexpired, 0),
        with(RestorePolicy::Extend, 3),
        with(RestorePolicy::Reissue, 3),
    ] {
        coupons.push(harness.give(1, rules).await);
    }
    locked(&harness, lock(1, "o", "try", &coupons)).await;
    confirmed(&harness, 1, "o").await;
    (harness, coupons)
}

fn results(response: &v1::RestoreResponse) -> Vec<RestoreResult> {
    response.coupons.iter().map(|restored| restored.result()).collect()
}

// R59: every policy, before the coupons have expired.
#[tokio::test]
async fn each_coupon_is_restored_by_its_policy() {
    let (harness, coupons) = paid().await;
    harness.advance(START_MS + DAY).await;
    let restored = harness.client.restore(restore(1, "o", "refund")).await.expect("restored");
    let redemption = restored.redemption.clone().expect("the redemption");
    assert_eq!(redemption.state(), RedemptionState::Restored);
    assert_eq!(redemption.discount_minor, 2_000, "the split is kept for the refund");
    let named: Vec<i64> = restored.coupons.iter().map(|restored| restored.coupon_id).collect();
    assert_eq!(named, coupons);
    let expected = [
        RestoreResult::KeptUsed,
        RestoreResult::GivenBack,
        RestoreResult::GivenBack,
        RestoreResult::Reissued,
    ];
    assert_eq!(results(&restored), expected);
    let until = |index: usize| restored.coupons[index].valid_until;
    // The refund is on 2 January in Shanghai; three days more end with the fifth.
    let soon = instant(START_MS + 4 * DAY + 16 * HOUR);
    let expected = [None, Some(instant(START_MS + 30 * DAY)), Some(instant(START_MS + 30 * DAY))];
    assert_eq!([until(0), until(1), until(2)], expected, "extending never shortens");
    assert_eq!(until(3), Some(soon));

    assert_eq!(harness.status(1, coupons[0]).await, CouponStatus::Used);
    for index in [1, 2] {
        let free = harness.coupon(1, coupons[index]).await;
        assert_eq!(free.status(), CouponStatus::Available);
        assert_eq!((free.order_id.as_str(), free.used_at), ("", None));
    }
    let old = harness.coupon(1, coupons[3]).await;
    assert_eq!(old.status(), CouponStatus::Used);
    let fresh = harness.coupon(1, restored.coupons[3].reissued_coupon_id).await;
    assert_eq!(fresh.status(), CouponStatus::Available);
    assert_eq!(fresh.reissue_of, old.coupon_id);
    assert_eq!(fresh.template_id, old.template_id);
    assert!(fresh.claim_no < 0, "outside the limit");
    assert_eq!(fresh.valid_until, Some(soon));
    assert_eq!(harness.issued(old.template_id).await, 1, "outside the stock");

    // What was given back can be used again, and so can the reissued one.
    let again = [coupons[1], coupons[2], fresh.coupon_id];
    locked(&harness, lock(1, "p", "try", &again)).await;
    assert_eq!(confirmed(&harness, 1, "p").await.discount_minor, 1_500);
    let used = harness.client.lock(lock(1, "q", "try", &[coupons[0]])).await;
    assert_eq!(reason(used), ErrorReason::CouponUsed);
}

// R59: after the expiry "if unexpired" gives nothing back; extend and reissue do, and what they give
// expires by an alarm of its own.
#[tokio::test]
async fn after_the_expiry_only_extend_and_reissue_give_back() {
    let (harness, coupons) = paid().await;
    harness.advance(START_MS + 40 * DAY).await;
    let restored = harness.client.restore(restore(1, "o", "refund")).await.expect("restored");
    let expected = [
        RestoreResult::KeptUsed,
        RestoreResult::KeptUsed,
        RestoreResult::GivenBack,
        RestoreResult::Reissued,
    ];
    assert_eq!(results(&restored), expected);
    let until = START_MS + 43 * DAY + 16 * HOUR;
    assert_eq!(restored.coupons[2].valid_until, Some(instant(until)));
    assert_eq!(restored.coupons[3].valid_until, Some(instant(until)));
    assert_eq!(harness.status(1, coupons[1]).await, CouponStatus::Used);
    let back = [coupons[2], restored.coupons[3].reissued_coupon_id];
    harness.advance(until - 1).await;
    for coupon in back {
        assert_eq!(harness.status(1, coupon).await, CouponStatus::Available);
    }
    harness.advance(until).await;
    for coupon in back {
        let expired = harness.coupon(1, coupon).await;
        assert_eq!(expired.status(), CouponStatus::Expired);
        let stats = harness.stats_when(expired.template_id, |stats| stats.expired_count == 1);
        stats.await;
    }
}

// R59, R61: once per order; the same id answers the same again, another is refused.
#[tokio::test]
async fn an_order_is_restored_once() {
    let (harness, coupons) = paid().await;
    let first = harness.client.restore(restore(1, "o", "refund")).await.expect("restored");
    let wallet = harness.wallet(1).await.len();
    assert_eq!(wallet, 5);
    locked(&harness, lock(1, "p", "try", &[coupons[1]])).await;
    let harness = harness.restart().await;
    let again = harness.client.restore(restore(1, "o", "refund")).await.expect("again");
    assert_eq!(again, first);
    assert_eq!(harness.wallet(1).await.len(), wallet);
    assert_eq!(harness.status(1, coupons[1]).await, CouponStatus::Locked, "not taken back");
    let other = harness.client.restore(restore(1, "o", "second")).await;
    assert_eq!(reason(other), ErrorReason::OrderRestored);
    let relock = harness.client.lock(lock(1, "o", "again", &[coupons[2]])).await;
    assert_eq!(reason(relock), ErrorReason::OrderRestored);
    let replay = harness.client.lock(lock(1, "o", "try", &coupons)).await;
    assert_eq!(reason(replay), ErrorReason::OrderRestored);
    let cancel = harness.client.cancel(harness::given::cancel(1, "o", "x")).await;
    assert_eq!(reason(cancel), ErrorReason::OrderRestored);
}

// R59: only what was paid can be refunded.
#[tokio::test]
async fn only_a_confirmed_order_can_be_restored() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    let refused = async || reason(harness.client.restore(restore(1, "o", "refund")).await);
    assert_eq!(refused().await, ErrorReason::RedemptionNotFound);
    locked(&harness, lock(1, "o", "try", &[coupon])).await;
    assert_eq!(refused().await, ErrorReason::OrderNotConfirmed);
    super::cancelled(&harness, 1, "o").await;
    assert_eq!(refused().await, ErrorReason::OrderNotConfirmed);
}

// R59: concurrent refunds of one order under different ids: one is carried out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_refunds_restore_once() {
    let (harness, _) = paid().await;
    let calls = (0..20).map(|n| {
        let client = harness.client.clone();
        let request = restore(1, "o", &format!("refund-{n}"));
        tokio::spawn(async move { client.restore(request).await })
    });
    let mut done = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.reason(), Some(ErrorReason::OrderRestored), "{error}"),
        }
    }
    assert_eq!(done, 1);
    assert_eq!(harness.wallet(1).await.len(), 5, "one reissued coupon");
}
