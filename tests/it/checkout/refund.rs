//! Refunds in parts: to the cent, in any order, and every coupon comes back once (R59).

use coupon_client::v1;
use v1::{CouponStatus, ErrorReason, KeptDiscount, RedemptionState, RestorePolicy, RestoreResult};

use super::{audited, confirmed, locked};
use crate::harness::{
    self, Harness,
    given::{cart, line, lock, reason, rules, threshold_off},
};

fn pieces(line_id: &str, quantity: i64) -> v1::LineQuantity {
    v1::LineQuantity { line_id: line_id.to_owned(), quantity }
}

/// A refund of some pieces of user 1's order `o`.
fn part(request_id: &str, lines: &[(&str, i64)]) -> v1::RestoreRequest {
    v1::RestoreRequest {
        user_id: 1,
        order_id: "o".to_owned(),
        request_id: request_id.to_owned(),
        lines: lines.iter().map(|(line, quantity)| pieces(line, *quantity)).collect(),
        shipping: false,
    }
}

/// A refund of the shipping charge.
fn shipping(request_id: &str) -> v1::RestoreRequest {
    v1::RestoreRequest { shipping: true, ..part(request_id, &[]) }
}

/// A refund of all that is left.
fn rest(request_id: &str) -> v1::RestoreRequest {
    part(request_id, &[])
}

/// Pays an order `o` of user 1 for `lines` of (amount, pieces), named a, b, ..; answers its coupon.
async fn paid(
    harness: &Harness,
    rules: v1::TemplateRules,
    lines: &[(i64, i64)],
    shipping_minor: i64,
) -> i64 {
    let coupon = harness.give(1, rules).await;
    let lines = lines.iter().zip(["a", "b", "c"]).zip(1..);
    let lines = lines.map(|(((amount, quantity), id), product)| v1::CartLine {
        quantity: *quantity,
        ..line(id, product, *amount)
    });
    let cart = cart(lines).map(|cart| v1::Cart { shipping_minor, ..cart });
    locked(harness, v1::LockRequest { cart, ..lock(1, "o", "try", &[coupon]) }).await;
    confirmed(harness, 1, "o").await;
    coupon
}

async fn refund(harness: &Harness, request: v1::RestoreRequest) -> v1::RestoreResponse {
    harness.client.restore(request).await.expect("refunded")
}

async fn refused(harness: &Harness, request: v1::RestoreRequest) -> ErrorReason {
    reason(harness.client.restore(request).await)
}

fn state(refund: &v1::RestoreResponse) -> RedemptionState {
    refund.redemption.as_ref().expect("the redemption").state()
}

/// What was paid for each refunded line.
fn lines(refund: &v1::RestoreResponse) -> Vec<(&str, i64, i64)> {
    let lines = refund.lines.iter();
    lines.map(|line| (line.line_id.as_str(), line.quantity, line.amount_minor)).collect()
}

fn results(refund: &v1::RestoreResponse) -> Vec<RestoreResult> {
    refund.coupons.iter().map(|coupon| coupon.result()).collect()
}

// R59, R61: 5 off a for 10 (3 pieces) and b for 5: 3.33 and 1.67. What was paid for a does not divide
// by three, and its pieces add up all the same. Over restarts, and with every repeat.
#[tokio::test]
async fn the_parts_of_an_order_add_up_to_what_was_paid() {
    let harness = harness::start().await;
    let coupon = paid(&harness, rules(), &[(1_000, 3), (500, 1)], 100).await;
    let order = harness.redemption(1, "o").await;
    assert_eq!((order.payable_minor, order.refunded), (1_100, None));

    let one = refund(&harness, part("1", &[("a", 1)])).await;
    assert_eq!((one.refund_minor, lines(&one)), (222, vec![("a", 1, 222)]));
    assert_eq!((state(&one), results(&one)), (RedemptionState::Confirmed, vec![]));
    assert_eq!((one.shipping_refund_minor, one.clawed_back_minor), (0, 0));
    let harness = harness.restart().await;
    assert_eq!(refund(&harness, part("1", &[("a", 1)])).await, one, "a repeat gives nothing more");
    assert_eq!(Some(harness.redemption(1, "o").await), one.redemption);
    for reused in [part("1", &[("a", 2)]), part("1", &[("b", 1)]), rest("1"), shipping("1")] {
        assert_eq!(refused(&harness, reused).await, ErrorReason::IdempotencyKeyReused);
    }
    let too_much = part("x", &[("b", 1), ("a", 3)]);
    assert_eq!(refused(&harness, too_much).await, ErrorReason::RefundedAlready);
    let nowhere = part("x", &[("b", 1), ("z", 1)]);
    assert_eq!(refused(&harness, nowhere).await, ErrorReason::LineNotFound);
    assert_eq!(Some(harness.redemption(1, "o").await), one.redemption, "all of it or nothing");

    let two = refund(&harness, shipping("2")).await;
    assert_eq!((two.refund_minor, two.shipping_refund_minor, lines(&two)), (100, 100, vec![]));
    assert_eq!(refused(&harness, shipping("x")).await, ErrorReason::RefundedAlready);
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Used, "some discount is still kept");
    let three = refund(&harness, part("3", &[("b", 1), ("a", 1)])).await;
    assert_eq!((three.refund_minor, lines(&three)), (555, vec![("a", 1, 222), ("b", 1, 333)]));
    let progress = harness.redemption(1, "o").await.refunded.expect("refunded in part");
    let expected = v1::RefundProgress {
        amount_minor: 877,
        lines: vec![pieces("a", 2), pieces("b", 1)],
        shipping: true,
    };
    assert_eq!(progress, expected);
    let late = harness.client.cancel(harness::given::cancel(1, "o", "late")).await;
    assert_eq!(reason(late), ErrorReason::OrderConfirmed, "it is paid until all is refunded");

    let last = refund(&harness, rest("4")).await;
    assert_eq!((last.refund_minor, lines(&last)), (223, vec![("a", 1, 223)]));
    assert_eq!(state(&last), RedemptionState::Restored);
    assert_eq!(results(&last), [RestoreResult::GivenBack]);
    let sums = [&one, &two, &three, &last].map(|refund| refund.refund_minor);
    assert_eq!(sums.iter().sum::<i64>(), order.payable_minor);
    let harness = harness.restart().await;
    let restored = harness.redemption(1, "o").await;
    assert_eq!(restored.refunded.as_ref().map(|refunded| refunded.amount_minor), Some(1_100));
    assert_eq!(refund(&harness, rest("4")).await, last);
    let early = v1::RestoreResponse { redemption: Some(restored), ..one };
    assert_eq!(refund(&harness, part("1", &[("a", 1)])).await, early, "the order is as it is now");
    assert_eq!(refused(&harness, part("x", &[("a", 1)])).await, ErrorReason::OrderRestored);
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Available);
    audited(harness).await;
}

// R59: buy for 100 with 50 off, send back all but 10: what stays of the discount is the template's
// choice.
#[tokio::test]
async fn a_discount_that_is_not_earned_any_more_is_kept_or_clawed_back() {
    for (kept, refunded, clawed, last) in [
        (KeptDiscount::Keep, 4_500, 0, (500, 0)),
        (KeptDiscount::ClawBack, 4_000, 500, (1_000, -500)),
    ] {
        let harness = harness::start().await;
        let rules = v1::TemplateRules {
            benefit: Some(threshold_off(10_000, 5_000)),
            kept_discount: kept.into(),
            ..rules()
        };
        let coupon = paid(&harness, rules, &[(9_000, 1), (1_000, 1)], 0).await;
        let most = refund(&harness, part("most", &[("a", 1)])).await;
        assert_eq!((most.refund_minor, most.clawed_back_minor), (refunded, clawed), "{kept:?}");
        assert_eq!(lines(&most), [("a", 1, 4_500)], "what was paid for it");
        let gone = kept == KeptDiscount::ClawBack;
        let status = if gone { CouponStatus::Available } else { CouponStatus::Used };
        assert_eq!((most.coupons.len(), harness.status(1, coupon).await), (gone.into(), status));
        if gone {
            locked(&harness, lock(1, "next", "try", &[coupon])).await;
        }
        let harness = harness.restart().await;
        let end = refund(&harness, rest("end")).await;
        assert_eq!((end.refund_minor, end.clawed_back_minor), last, "{kept:?}");
        assert_eq!(most.refund_minor + end.refund_minor, 5_000, "what was paid");
        assert_eq!(state(&end), RedemptionState::Restored);
        assert_eq!(end.coupons.len(), usize::from(!gone), "it comes back once");
        let status = if gone { CouponStatus::Locked } else { CouponStatus::Available };
        assert_eq!(harness.status(1, coupon).await, status, "the next order keeps what it holds");
        audited(harness).await;
    }
}

// R59: a coupon that also reached the shipping charge is kept as long as that is; it is reissued once.
#[tokio::test]
async fn a_coupon_on_shipping_is_reissued_with_the_shipping() {
    let harness = harness::start().await;
    let rules = v1::TemplateRules {
        includes_shipping: true,
        restore_policy: RestorePolicy::Reissue.into(),
        restore_days: 3,
        ..rules()
    };
    let coupon = paid(&harness, rules, &[(1_500, 2)], 500).await;
    let goods = refund(&harness, part("goods", &[("a", 2)])).await;
    assert_eq!((goods.refund_minor, results(&goods)), (1_125, vec![]));
    assert_eq!(harness.wallet(1).await.len(), 1);
    let end = refund(&harness, shipping("end")).await;
    assert_eq!((end.refund_minor, end.shipping_refund_minor), (375, 375));
    assert_eq!(
        (state(&end), results(&end)),
        (RedemptionState::Restored, vec![RestoreResult::Reissued])
    );
    let harness = harness.restart().await;
    assert_eq!(refund(&harness, shipping("end")).await, end);
    let wallet = harness.wallet(1).await;
    let ids: Vec<i64> = wallet.iter().map(|coupon| coupon.coupon_id).collect();
    assert_eq!(ids, [end.coupons[0].reissued_coupon_id, coupon]);
    audited(harness).await;
}

// R59: whoever refunds what, the pieces are there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_refunds_share_out_the_pieces() {
    let harness = harness::start().await;
    let coupon = paid(&harness, rules(), &[(1_000, 7)], 0).await;
    let calls = (0..20).map(|n| {
        let client = harness.client.clone();
        async move { client.restore(part(&format!("refund-{n}"), &[("a", 1)])).await }
    });
    let (mut sum, mut done, mut back) = (0, 0, 0);
    for outcome in harness::at_once(calls).await {
        match outcome {
            Ok(refund) => {
                (sum, done) = (sum + refund.refund_minor, done + 1);
                back += refund.coupons.len();
            }
            // The last piece restores the order.
            Err(error) => assert_eq!(error.reason(), Some(ErrorReason::OrderRestored), "{error}"),
        }
    }
    assert_eq!((done, sum, back), (7, 500, 1));
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Available);
    audited(harness).await;
}
