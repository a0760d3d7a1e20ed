//! A lock's time runs out, by the clock and not by the alarm (R11, R51, R58).

use coupon_client::{prost_types::Duration, v1};
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::{cancelled, confirmed, locked};
use crate::harness::{
    self, Harness, START_MS,
    given::{DAY, MINUTE, SECOND, confirm, fixed, instant, lock, reason, rules},
};

/// Its alarm rings at the full minute after.
const LAPSE: i64 = START_MS + 90 * SECOND;
const ALARM: i64 = START_MS + 2 * MINUTE;

fn for_90_s(order: &str, request_id: &str, coupons: &[i64]) -> v1::LockRequest {
    let lock_ttl = Some(Duration { seconds: 90, nanos: 0 });
    v1::LockRequest { lock_ttl, ..lock(1, order, request_id, coupons) }
}

/// A server whose user 1 has locked two coupons for 90 seconds.
async fn two_locked() -> (Harness, i64, i64) {
    let harness = harness::start().await;
    let (a, b) = (harness.give(1, rules()).await, harness.give(1, rules()).await);
    locked(&harness, for_90_s("o", "try", &[a, b])).await;
    (harness, a, b)
}

// R11, R58: before and after the alarm has rung the answers are the same.
#[tokio::test]
async fn a_lapsed_lock_reads_the_same_before_and_after_its_alarm() {
    let (harness, a, b) = two_locked().await;
    harness.advance(LAPSE - 1).await;
    assert_eq!(harness.status(1, a).await, CouponStatus::Locked);
    assert_eq!(harness.redemption(1, "o").await.state(), RedemptionState::Locked);
    for now in [LAPSE, ALARM, ALARM + DAY] {
        harness.advance(now).await;
        for coupon in [a, b] {
            let coupon = harness.coupon(1, coupon).await;
            assert_eq!(coupon.status(), CouponStatus::Available, "at {now}");
            assert_eq!((coupon.order_id.as_str(), coupon.locked_until), ("", None), "at {now}");
        }
        assert_eq!(harness.redemption(1, "o").await.state(), RedemptionState::Lapsed, "at {now}");
        let late = harness.client.confirm(confirm(1, "o", "c")).await;
        assert_eq!(reason(late), ErrorReason::LockLapsed, "at {now}");
        let replay = harness.client.lock(for_90_s("o", "try", &[a, b])).await;
        assert_eq!(reason(replay), ErrorReason::LockLapsed, "at {now}");
        let quote = v1::QuoteRequest {
            user_id: 1,
            cart: harness::given::small_cart(),
            coupon_ids: Vec::new(),
        };
        let usable = harness.client.quote(quote).await.expect("a quote").usable;
        assert_eq!(usable.len(), 2, "at {now}");
    }
}

// R58: the last instant of a lock is still inside.
#[tokio::test]
async fn a_lock_is_confirmed_in_its_last_millisecond() {
    let (harness, a, _) = two_locked().await;
    harness.advance(LAPSE - 1).await;
    assert_eq!(confirmed(&harness, 1, "o").await.closed_at, Some(instant(LAPSE - 1)));
    assert_eq!(harness.status(1, a).await, CouponStatus::Used);
    harness.advance(ALARM).await;
    assert_eq!(harness.status(1, a).await, CouponStatus::Used, "the alarm finds nothing to do");
}

// R58: Cancel succeeds on a lapsed lock, whether the alarm has rung or not.
#[tokio::test]
async fn a_lapsed_lock_can_be_cancelled() {
    for now in [LAPSE, ALARM] {
        let (harness, a, b) = two_locked().await;
        harness.advance(now).await;
        let ended = cancelled(&harness, 1, "o").await;
        assert_eq!(ended.state(), RedemptionState::Cancelled);
        assert_eq!(ended.closed_at, Some(instant(now)));
        let late = harness.client.lock(for_90_s("o", "again", &[a, b])).await;
        assert_eq!(reason(late), ErrorReason::OrderCancelled);
        locked(&harness, for_90_s("p", "try", &[a, b])).await;
        harness.advance(now + MINUTE).await;
        assert_eq!(harness.status(1, a).await, CouponStatus::Locked, "the new lock stands");
    }
}

// R58: a lapsed order may lock again under a new id, if the coupons are still free.
#[tokio::test]
async fn a_lapsed_order_may_lock_again() {
    for now in [LAPSE, ALARM] {
        let (harness, a, b) = two_locked().await;
        harness.advance(now).await;
        let again = locked(&harness, for_90_s("o", "again", &[a])).await;
        assert_eq!(again.state(), RedemptionState::Locked);
        assert_eq!(again.first_locked_at, Some(instant(START_MS)), "the first lock's time stands");
        assert_eq!(again.locked_until, Some(instant(now + 90 * SECOND)));
        assert_eq!(again.closed_at, None);
        assert_eq!(harness.status(1, a).await, CouponStatus::Locked);
        assert_eq!(harness.status(1, b).await, CouponStatus::Available);
        harness.advance(now + 89 * SECOND).await;
        assert_eq!(harness.status(1, a).await, CouponStatus::Locked, "the old alarm is stale");
        confirmed(&harness, 1, "o").await;
    }
}

// R58: a Lock that meets a lapsed lock of another order lapses that order whole.
#[tokio::test]
async fn another_order_takes_what_has_lapsed() {
    let (harness, a, b) = two_locked().await;
    harness.advance(LAPSE - 1).await;
    let early = harness.client.lock(for_90_s("p", "try", &[a])).await;
    assert_eq!(reason(early), ErrorReason::CouponLocked);
    harness.advance(LAPSE).await;
    locked(&harness, for_90_s("p", "try", &[a])).await;
    assert_eq!(harness.coupon(1, a).await.order_id, "p");
    let first = harness.redemption(1, "o").await;
    assert_eq!(first.state(), RedemptionState::Lapsed);
    assert_eq!(first.closed_at, Some(instant(LAPSE)), "stored, not only shown");
    locked(&harness, for_90_s("q", "try", &[b])).await;
    let late = harness.client.lock(for_90_s("o", "again", &[a, b])).await;
    assert_eq!(reason(late), ErrorReason::CouponLocked);
    harness.advance(ALARM).await;
    assert_eq!(harness.coupon(1, a).await.status(), CouponStatus::Locked);
    confirmed(&harness, 1, "p").await;
    assert_eq!(cancelled(&harness, 1, "o").await.state(), RedemptionState::Cancelled);
    assert_eq!(harness.status(1, a).await, CouponStatus::Used);
}

// R51, R58: a live lock outlives the coupon's expiry; released after it, the coupon is expired.
#[tokio::test]
async fn a_live_lock_outlives_the_expiry() {
    let harness = harness::start().await;
    let expiry = START_MS + 10 * DAY;
    let rules = || v1::TemplateRules { use_window: fixed(START_MS, expiry), ..rules() };
    let mut coupons = Vec::new();
    for _ in 0..4 {
        coupons.push(harness.give(1, rules()).await);
    }
    harness.advance(expiry - MINUTE).await;
    for (coupon, order) in coupons.iter().zip(["paid", "unpaid", "lapsing"]) {
        locked(&harness, lock(1, order, "try", &[*coupon])).await;
    }
    harness.advance(expiry + MINUTE).await;
    let status = async |index: usize| harness.status(1, coupons[index]).await;
    assert_eq!(status(0).await, CouponStatus::Locked);
    assert_eq!(status(3).await, CouponStatus::Expired);
    assert_eq!(confirmed(&harness, 1, "paid").await.discount_minor, 500);
    assert_eq!(status(0).await, CouponStatus::Used);
    cancelled(&harness, 1, "unpaid").await;
    assert_eq!(status(1).await, CouponStatus::Expired);
    let renewal = harness.client.lock(lock(1, "lapsing", "again", &[coupons[2]])).await;
    assert_eq!(reason(renewal), ErrorReason::CouponExpired, "a new lock does not begin after it");
    assert_eq!(status(2).await, CouponStatus::Locked, "the refused renewal changes nothing");
    harness.advance(expiry + 29 * MINUTE).await;
    assert_eq!(status(2).await, CouponStatus::Expired);
    let template = harness.coupon(1, coupons[2]).await.template_id;
    harness.advance(expiry + DAY).await;
    let stats = harness.stats_when(template, |stats| stats.expired_count == 1).await;
    assert_eq!(stats.locked_count, 0);
}

// R11: a restart between lock and lapse loses no alarm.
#[tokio::test]
async fn a_lock_lapses_over_a_restart() {
    let (harness, a, _) = two_locked().await;
    let harness = harness.restart().await;
    assert_eq!(harness.status(1, a).await, CouponStatus::Locked);
    assert!(harness.advance(ALARM).await >= 1);
    let lapsed = harness.redemption(1, "o").await;
    assert_eq!(lapsed.state(), RedemptionState::Lapsed);
    assert_eq!(lapsed.closed_at, Some(instant(ALARM)), "swept by the alarm");
}
