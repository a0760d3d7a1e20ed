//! An operator ends orders that their coordinator gave up on (R58).

use coupon_client::{prost_types::Duration, tonic::Code, v1};
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::{audited, cancelled, confirmed, locked, refusals::faults};
use crate::harness::{
    self, Harness, START_MS,
    given::{DAY, MINUTE, SECOND, cancel, confirm, fixed, instant, lock, reason, rules},
};

/// Locks are overdue from here on.
const LAPSE: i64 = START_MS + 90 * SECOND;
/// Their alarm rings.
const ALARM: i64 = START_MS + 2 * MINUTE;

fn for_90_s(order: &str, coupons: &[i64]) -> v1::LockRequest {
    let lock_ttl = Some(Duration { seconds: 90, nanos: 0 });
    v1::LockRequest { lock_ttl, ..lock(1, order, "try", coupons) }
}

fn paid_says(operator: &str, order: &str, request_id: &str) -> v1::ForceConfirmRequest {
    v1::ForceConfirmRequest {
        user_id: 1,
        order_id: order.to_owned(),
        request_id: request_id.to_owned(),
        operator: operator.to_owned(),
        reason: "支付方确认已付款".to_owned(),
    }
}

fn unpaid_says(operator: &str, order: &str, request_id: &str) -> v1::ForceCancelRequest {
    v1::ForceCancelRequest {
        user_id: 1,
        order_id: order.to_owned(),
        request_id: request_id.to_owned(),
        operator: operator.to_owned(),
        reason: "the order was never paid".to_owned(),
    }
}

async fn force_confirmed(harness: &Harness, operator: &str, order: &str) -> v1::Redemption {
    let forced = harness.client.force_confirm(paid_says(operator, order, "")).await;
    forced.expect("confirmed").redemption.expect("the redemption")
}

async fn force_cancelled(harness: &Harness, operator: &str, order: &str) -> v1::Redemption {
    let forced = harness.client.force_cancel(unpaid_says(operator, order, "")).await;
    forced.expect("cancelled").redemption.expect("the redemption")
}

fn record(operator: &str, reason: &str, from: RedemptionState, at: i64) -> Option<v1::ForcedClose> {
    let (operator, reason) = (operator.to_owned(), reason.to_owned());
    Some(v1::ForcedClose { operator, reason, from_state: from.into(), at: Some(instant(at)) })
}

/// Before and after the alarm: where the order stands as stored.
const MOMENTS: [(i64, RedemptionState); 3] = [
    (LAPSE - 1, RedemptionState::Locked),
    (LAPSE, RedemptionState::Locked),
    (ALARM, RedemptionState::Lapsed),
];

// R58, R61: paid after all, whatever the time; recorded, told again, and not to be turned by a
// coordinator that wakes up late.
#[tokio::test]
async fn an_order_is_confirmed_whatever_the_time() {
    for (now, from) in MOMENTS {
        let harness = harness::start().await;
        let coupon = harness.give(1, rules()).await;
        let template = harness.coupon(1, coupon).await.template_id;
        let held = locked(&harness, for_90_s("o", &[coupon])).await;
        harness.advance(now).await;
        let forced = force_confirmed(&harness, "ann", "o").await;
        let expected = v1::Redemption {
            state: RedemptionState::Confirmed.into(),
            locked_until: None,
            closed_at: Some(instant(now)),
            forced: record("ann", "支付方确认已付款", from, now),
            ..held
        };
        assert_eq!(forced, expected, "at {now}");
        assert_eq!(
            force_confirmed(&harness, "bob", "o").await,
            expected,
            "it stands there already"
        );
        let harness = harness.restart().await;
        assert_eq!(harness.redemption(1, "o").await, expected);
        let used = harness.coupon(1, coupon).await;
        assert_eq!((used.status(), used.used_at), (CouponStatus::Used, Some(instant(now))));

        assert_eq!(confirmed(&harness, 1, "o").await, expected, "a late Confirm finds it done");
        let late = harness.client.cancel(cancel(1, "o", "late")).await;
        assert_eq!(reason(late), ErrorReason::OrderConfirmed);
        let unpaid = harness.client.force_cancel(unpaid_says("bob", "o", "")).await;
        assert_eq!(reason(unpaid), ErrorReason::OrderConfirmed);
        harness.advance(ALARM + MINUTE).await;
        assert_eq!(harness.redemption(1, "o").await, expected, "the alarm finds nothing to do");
        let settled = |stats: &v1::GetTemplateStatsResponse| stats.used_count == 1;
        let stats = harness.stats_when(template, settled).await;
        assert_eq!((stats.locked_count, stats.expired_count), (0, 0));
        audited(harness).await;
    }
}

// R58, R61: not paid; the coupon is free, and the coordinator's late Confirm and Lock are refused.
#[tokio::test]
async fn an_order_is_cancelled_whatever_the_time() {
    for (now, from) in MOMENTS {
        let harness = harness::start().await;
        let coupon = harness.give(1, rules()).await;
        let template = harness.coupon(1, coupon).await.template_id;
        locked(&harness, for_90_s("o", &[coupon])).await;
        harness.advance(now).await;
        let forced = force_cancelled(&harness, "ann", "o").await;
        assert_eq!(
            (forced.state(), forced.closed_at),
            (RedemptionState::Cancelled, Some(instant(now)))
        );
        assert_eq!(forced.forced, record("ann", "the order was never paid", from, now));
        assert_eq!(force_cancelled(&harness, "bob", "o").await, forced, "it stands there already");
        let harness = harness.restart().await;
        assert_eq!(harness.redemption(1, "o").await, forced);
        assert_eq!(harness.status(1, coupon).await, CouponStatus::Available);

        let late = harness.client.confirm(confirm(1, "o", "late")).await;
        assert_eq!(reason(late), ErrorReason::OrderCancelled);
        let late = harness.client.lock(for_90_s("o", &[coupon])).await;
        assert_eq!(reason(late), ErrorReason::OrderCancelled);
        let paid = harness.client.force_confirm(paid_says("bob", "o", "")).await;
        assert_eq!(reason(paid), ErrorReason::OrderCancelled);
        assert_eq!(cancelled(&harness, 1, "o").await, forced, "a late Cancel finds it done");
        locked(&harness, lock(1, "next", "try", &[coupon])).await;
        let settled = |stats: &v1::GetTemplateStatsResponse| stats.locked_count == 1;
        let stats = harness.stats_when(template, settled).await;
        assert_eq!((stats.used_count, stats.expired_count), (0, 0));
        audited(harness).await;
    }
}

// R58: an order that was never locked, and one that ended otherwise, are not forced.
#[tokio::test]
async fn what_is_closed_is_not_forced() {
    let harness = harness::start().await;
    let client = &harness.client;
    let unknown = client.force_cancel(unpaid_says("ann", "o", "")).await;
    assert_eq!(reason(unknown), ErrorReason::RedemptionNotFound, "no empty rollback is stored");
    let unknown = client.force_confirm(paid_says("ann", "o", "")).await;
    assert_eq!(reason(unknown), ErrorReason::RedemptionNotFound);
    let coupon = harness.give(1, rules()).await;
    locked(&harness, for_90_s("o", &[coupon])).await;
    let paid = confirmed(&harness, 1, "o").await;
    assert_eq!(force_confirmed(&harness, "ann", "o").await, paid, "nothing was forced");
    assert_eq!(paid.forced, None);
    let refund = v1::RestoreRequest {
        user_id: 1,
        order_id: "o".to_owned(),
        ..v1::RestoreRequest::default()
    };
    client.restore(refund).await.expect("refunded");
    let late = client.force_confirm(paid_says("ann", "o", "")).await;
    assert_eq!(reason(late), ErrorReason::OrderRestored);
    let late = client.force_cancel(unpaid_says("ann", "o", "")).await;
    assert_eq!(reason(late), ErrorReason::OrderRestored);
    audited(harness).await;
}

// R47, R58: a lapsed order does not take coupons from where they went; the refusal names them.
#[tokio::test]
async fn coupons_that_went_elsewhere_stay_there() {
    let harness = harness::start().await;
    let mut coupons = Vec::new();
    for _ in 0..4 {
        coupons.push(harness.give(1, rules()).await);
    }
    locked(&harness, for_90_s("late", &coupons)).await;
    harness.advance(ALARM).await;
    locked(&harness, for_90_s("next", &coupons[..1])).await;
    locked(&harness, lock(1, "paid", "try", &coupons[1..2])).await;
    confirmed(&harness, 1, "paid").await;
    let void = v1::VoidCouponRequest { user_id: 1, coupon_id: coupons[2], ..Default::default() };
    harness.client.void_coupon(void).await.expect("voided");
    let refused = async || {
        let refused = harness.client.force_confirm(paid_says("ann", "late", "")).await;
        let error = refused.expect_err("refused");
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        assert_eq!(error.reason(), Some(ErrorReason::CouponVoided), "the first reason decides");
        faults(&error)
    };
    let taken = |names: &[(&str, usize)]| {
        let taken = names.iter().map(|(reason, index)| ((*reason).to_owned(), coupons[*index]));
        taken.collect::<Vec<_>>()
    };
    let all = taken(&[("COUPON_LOCKED", 0), ("COUPON_USED", 1), ("COUPON_VOIDED", 2)]);
    assert_eq!(refused().await, all);
    assert_eq!(harness.redemption(1, "late").await.state(), RedemptionState::Lapsed);
    assert_eq!(harness.status(1, coupons[3]).await, CouponStatus::Available);
    // From its last instant on the other lock holds nothing, alarm or not.
    harness.advance(ALARM + 90 * SECOND).await;
    assert_eq!(refused().await, all[1..]);
    let late = force_cancelled(&harness, "ann", "late").await;
    assert_eq!(late.state(), RedemptionState::Cancelled, "nothing of others is touched");
    assert_eq!(harness.status(1, coupons[1]).await, CouponStatus::Used);
    force_confirmed(&harness, "ann", "next").await;
    assert_eq!(harness.status(1, coupons[0]).await, CouponStatus::Used);
    audited(harness).await;
}

// R50, R58: a lock outlives its coupon's expiry; what an operator confirms is used, and not expired,
// whether the coupon expired when the lock lapsed or by its own alarm afterwards.
#[tokio::test]
async fn an_expired_coupon_of_a_lapsed_order_is_used() {
    let expiry = START_MS + 10 * DAY;
    for (lock_at, paid_at) in
        [(expiry - MINUTE, expiry + MINUTE), (START_MS, expiry + DAY), (START_MS, expiry)]
    {
        let harness = harness::start().await;
        let rules = v1::TemplateRules { use_window: fixed(START_MS, expiry), ..rules() };
        let coupon = harness.give(1, rules).await;
        let template = harness.coupon(1, coupon).await.template_id;
        harness.advance(lock_at).await;
        locked(&harness, for_90_s("o", &[coupon])).await;
        harness.advance(paid_at).await;
        let paid = force_confirmed(&harness, "ann", "o").await;
        assert_eq!(paid.state(), RedemptionState::Confirmed);
        assert_eq!(harness.status(1, coupon).await, CouponStatus::Used);
        harness.advance(expiry + 2 * DAY).await;
        let settled = |stats: &v1::GetTemplateStatsResponse| stats.used_count == 1;
        let stats = harness.stats_when(template, settled).await;
        assert_eq!((stats.locked_count, stats.expired_count), (0, 0));
        audited(harness).await;
    }
}
