//! Refusals of Lock name every failing coupon, and the first reason decides; Quote says the same
//! (R28, R47, R48).

use coupon_client::{ClientError, tonic::Code, v1};
use tonic_types::StatusExt as _;
use v1::ErrorReason;

use super::locked;
use crate::harness::{
    self, START_MS,
    given::{
        DAY, cart, confirm, direct_off, fixed, line, lock, products, rules, small_cart,
        threshold_off,
    },
};

/// Each failing coupon with its reason, as the details tell them.
pub(super) fn faults(error: &ClientError) -> Vec<(String, i64)> {
    let details = error.status().get_details_precondition_failure().expect("details");
    let faults = details.violations.into_iter();
    faults.map(|fault| (fault.r#type, fault.subject.parse().expect("a coupon id"))).collect()
}

// R47: one coupon for each reason, in one Lock; then without the first, and so on.
#[tokio::test]
async fn every_failing_coupon_is_named_and_the_first_reason_decides() {
    let harness = harness::start().await;
    let user = 1;
    let window = |from: i64, days: i64| fixed(from, START_MS + days * DAY);
    let with = |benefit| v1::TemplateRules { benefit: Some(benefit), ..rules() };
    let mut coupons = Vec::new();
    for rules in [
        rules(),
        rules(),
        rules(),
        v1::TemplateRules { use_window: window(START_MS + 20 * DAY, 30), ..rules() },
        v1::TemplateRules { use_window: window(START_MS, 10), ..rules() },
        v1::TemplateRules { currency_code: "USD".to_owned(), ..rules() },
        v1::TemplateRules { scope: products([99]), ..rules() },
        with(threshold_off(10_001, 100)),
        v1::TemplateRules { stacking: v1::Stacking::Mutex.into(), ..rules() },
    ] {
        coupons.push(harness.give(user, rules).await);
    }
    let strange = harness.give(2, rules()).await;
    let void = v1::VoidCouponRequest { user_id: user, coupon_id: coupons[0], ..Default::default() };
    harness.client.void_coupon(void).await.expect("voided");
    locked(&harness, lock(user, "paid", "try", &[coupons[1]])).await;
    harness.client.confirm(confirm(user, "paid", "")).await.expect("confirmed");
    harness.advance(START_MS + 10 * DAY).await;
    locked(&harness, lock(user, "other", "try", &[coupons[2]])).await;

    let wanted: Vec<i64> = std::iter::once(strange).chain(coupons.iter().copied()).collect();
    let reasons = [
        ErrorReason::CouponNotFound,
        ErrorReason::CouponVoided,
        ErrorReason::CouponUsed,
        ErrorReason::CouponLocked,
        ErrorReason::CouponNotYetValid,
        ErrorReason::CouponExpired,
        ErrorReason::CurrencyMismatch,
        ErrorReason::OutOfScope,
        ErrorReason::BelowThreshold,
    ];
    let good = harness.give_late(user).await;
    for first in 0..reasons.len() {
        let mut named = wanted[first..].to_vec();
        named.push(good);
        let error = harness.client.lock(lock(user, "o", "", &named)).await;
        let error = error.expect_err("refused");
        assert_eq!(error.reason(), Some(reasons[first]));
        let code = if first == 0 { Code::NotFound } else { Code::FailedPrecondition };
        assert_eq!(error.code(), code, "{error}");
        // The exclusive coupon fails only once no other does by itself.
        let expected: Vec<(String, i64)> = (first..reasons.len())
            .map(|index| (reasons[index].as_reason().to_owned(), wanted[index]))
            .collect();
        assert_eq!(faults(&error), expected);
    }
    let exclusive = wanted[9];
    let error = harness.client.lock(lock(user, "o", "", &[exclusive, good])).await;
    let error = error.expect_err("exclusive");
    assert_eq!(error.reason(), Some(ErrorReason::CouponMutex));
    assert_eq!(faults(&error), [("COUPON_MUTEX".to_owned(), exclusive)]);

    let coupon_ids = wanted.clone();
    let quote = v1::QuoteRequest { user_id: user, cart: small_cart(), coupon_ids };
    let quoted = harness.client.quote(quote).await.expect("a quote");
    let told: Vec<_> =
        quoted.unusable.iter().map(|unusable| (unusable.reason(), unusable.coupon_id)).collect();
    let expected: Vec<_> = reasons.iter().copied().zip(wanted.iter().copied()).collect();
    assert_eq!(told, expected, "in the order of the request");
    assert_eq!(quoted.unusable[8].missing_minor, 1);
    assert_eq!(quoted.usable.len(), 1, "the exclusive one, alone");
    locked(&harness, lock(user, "o", "", &[exclusive])).await;
}

impl harness::Harness {
    /// A coupon that is good after the usual claim window.
    async fn give_late(&self, user: i64) -> i64 {
        let template = v1::Template {
            claim_until: Some(harness::given::instant(START_MS + 29 * DAY)),
            ..harness::given::template(1)
        };
        let template = self.publish(template).await;
        self.win(user, template).await
    }
}

// R28, R47: a coupon to which the earlier ones leave nothing is refused, and named.
#[tokio::test]
async fn a_coupon_with_nothing_left_is_refused() {
    let harness = harness::start().await;
    let narrow =
        v1::TemplateRules { benefit: Some(direct_off(20_000)), scope: products([1]), ..rules() };
    let (all, one) = (harness.give(1, rules()).await, harness.give(1, narrow).await);
    let error = harness.client.lock(lock(1, "o", "", &[all, one])).await.expect_err("nothing left");
    assert_eq!(error.reason(), Some(ErrorReason::NothingLeft));
    assert_eq!(faults(&error), [("NOTHING_LEFT".to_owned(), all)]);
    // Alone it is capped at what there is, and with another line both have their part.
    let request = v1::LockRequest {
        cart: cart([line("1", 1, 10_000), line("2", 2, 400)]),
        ..lock(1, "o", "", &[all, one])
    };
    assert_eq!(locked(&harness, request).await.discount_minor, 10_400);
}

// R47: a threshold tells what is missing, in Quote and in Lock.
#[tokio::test]
async fn what_is_missing_to_the_threshold_is_told() {
    let harness = harness::start().await;
    let rules = v1::TemplateRules { benefit: Some(threshold_off(12_000, 1_000)), ..rules() };
    let coupon = harness.give(1, rules).await;
    let error = harness.client.lock(lock(1, "o", "", &[coupon])).await.expect_err("too little");
    assert_eq!(error.reason(), Some(ErrorReason::BelowThreshold));
    let details = error.status().get_details_precondition_failure().expect("details");
    assert!(details.violations[0].description.contains("2000"), "{details:?}");
}

// R47: a hundred failing coupons are all named.
#[tokio::test]
async fn a_hundred_failing_coupons_are_all_named() {
    let harness = harness::start().await;
    let rules = v1::TemplateRules {
        benefit: Some(threshold_off(20_000, 100)),
        per_user_limit: 100,
        ..rules()
    };
    let id = harness.publish(harness::given::template_of(100, rules)).await;
    let users = vec![v1::IssueUser { user_id: 1, count: 100 }];
    let request = v1::IssueRequest { template_id: id, users, ..Default::default() };
    let coupons = harness.client.issue(request).await.expect("issued").outcomes.remove(0);
    let error = harness.client.lock(lock(1, "o", "", &coupons.coupon_ids)).await;
    let named = faults(&error.expect_err("too little"));
    assert_eq!(named.len(), 100);
    let subjects: Vec<i64> = named.into_iter().map(|(_, coupon)| coupon).collect();
    assert_eq!(subjects, coupons.coupon_ids);
}
