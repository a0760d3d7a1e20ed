//! What templates may rule beyond an amount and a scope: Quote tells it, and Lock does it (R28, R33,
//! R34, R47, R48, R60). The figures are worked out by hand.

use coupon_client::v1;
use v1::{ErrorReason, Stacking, ThresholdBase, template_rules::Benefit};

use super::{audited, locked, refusals::faults};
use crate::harness::{
    self, Harness,
    given::{
        cart, direct_off, line, lock, products, rules, small_cart, template_of, threshold_off,
    },
};

fn with(benefit: Benefit) -> v1::TemplateRules {
    v1::TemplateRules { benefit: Some(benefit), ..rules() }
}

/// A cart of one line.
fn priced(amount_minor: i64) -> Option<v1::Cart> {
    cart([line("1", 1, amount_minor)])
}

fn shipped(cart: Option<v1::Cart>, shipping_minor: i64) -> Option<v1::Cart> {
    cart.map(|cart| v1::Cart { shipping_minor, ..cart })
}

/// All of user 1's coupons, quoted.
async fn quote(harness: &Harness, cart: Option<v1::Cart>) -> v1::QuoteResponse {
    let request = v1::QuoteRequest { user_id: 1, cart, coupon_ids: Vec::new() };
    harness.client.quote(request).await.expect("a quote")
}

/// Why each coupon cannot be used, and what is missing.
fn unusable(quoted: &v1::QuoteResponse) -> Vec<(i64, ErrorReason, i64)> {
    let unusable = quoted.unusable.iter();
    unusable.map(|one| (one.coupon_id, one.reason(), one.missing_minor)).collect()
}

/// Locks the best of what is quoted, which comes to the same, and lets it go again; answers its
/// coupons with what each takes off, and what is left to pay.
async fn best(harness: &Harness, cart: Option<v1::Cart>) -> (Vec<(i64, i64)>, i64) {
    let best = quote(harness, cart.clone()).await.best.expect("usable");
    assert!(best.optimal, "{best:?}");
    let coupons: Vec<i64> = best.coupons.iter().map(|used| used.coupon_id).collect();
    let order = format!("order-of-{}-off-{}", best.payable_minor, best.discount_minor);
    let request = v1::LockRequest {
        cart,
        expected_discount_minor: Some(best.discount_minor),
        ..lock(1, &order, "try", &coupons)
    };
    let held = locked(harness, request).await;
    assert_eq!((&held.coupons, &held.lines), (&best.coupons, &best.lines));
    assert_eq!((held.shipping, held.discount_minor), (best.shipping, best.discount_minor));
    assert_eq!(held.payable_minor, best.payable_minor);
    super::cancelled(harness, 1, &order).await;
    let taken = best.coupons.iter().map(|used| (used.coupon_id, used.discount_minor));
    (taken.collect(), best.payable_minor)
}

/// What a refused Lock names.
async fn refused(
    harness: &Harness,
    cart: Option<v1::Cart>,
    coupons: &[i64],
) -> (ErrorReason, Vec<i64>) {
    let request = v1::LockRequest { cart, ..lock(1, "refused", "", coupons) };
    let error = harness.client.lock(request).await.expect_err("refused");
    let reason = error.reason().expect("a reason");
    let named = faults(&error).into_iter();
    (reason, named.map(|(_, coupon)| coupon).collect())
}

// R26, R47: 每满 100 减 10, at most 25.
#[tokio::test]
async fn every_threshold_counts_up_to_the_cap() {
    let harness = harness::start().await;
    let every = v1::ThresholdOff {
        threshold_minor: 10_000,
        amount_minor: 1_000,
        every_threshold: true,
        max_discount_minor: 2_500,
    };
    let coupon = harness.give(1, with(Benefit::ThresholdOff(every))).await;
    let quoted = quote(&harness, priced(9_999)).await;
    assert_eq!(
        (unusable(&quoted), quoted.best),
        (vec![(coupon, ErrorReason::BelowThreshold, 1)], None)
    );
    for (price, off) in [(10_000, 1_000), (19_999, 1_000), (29_999, 2_000), (30_000, 2_500)] {
        assert_eq!(best(&harness, priced(price)).await, (vec![(coupon, off)], price - off));
    }
    audited(harness).await;
}

// R28, R34, R47: what is excluded neither counts nor is discounted, though the scope covers it.
#[tokio::test]
async fn excluded_lines_are_out() {
    let harness = harness::start().await;
    let exclude = v1::Exclusions {
        merchant_ids: vec![7],
        categories: vec!["food".to_owned()],
        product_ids: vec![3],
    };
    let ruled = v1::TemplateRules { exclude: Some(exclude), ..with(threshold_off(1_000, 700)) };
    let coupon = harness.give(1, ruled.clone()).await;
    let stored =
        v1::GetTemplateRequest { template_id: harness.coupon(1, coupon).await.template_id };
    let stored = harness.client.get_template(stored).await.expect("the template").template;
    assert_eq!(stored.and_then(|template| template.rules), Some(ruled));
    let of = |line, merchant_id, category: &str| {
        let category = category.to_owned();
        v1::CartLine { merchant_id, category, ..line }
    };
    let out = [
        of(line("a", 1, 5_000), 7, "tea"),
        of(line("b", 2, 5_000), 8, "food"),
        of(line("c", 3, 5_000), 8, "tea"),
    ];
    let quoted = quote(&harness, shipped(cart(out.clone()), 5_000)).await;
    assert_eq!(unusable(&quoted), [(coupon, ErrorReason::OutOfScope, 0)]);
    let and = |price| cart(out.iter().cloned().chain([of(line("d", 4, price), 8, "tea")]));
    let quoted = quote(&harness, and(999)).await;
    assert_eq!(unusable(&quoted), [(coupon, ErrorReason::BelowThreshold, 1)]);
    let quoted = quote(&harness, and(1_000)).await.best.expect("usable");
    let off: Vec<i64> = quoted.lines.iter().map(|line| line.discount_minor).collect();
    assert_eq!(off, [0, 0, 0, 700]);
    assert_eq!(best(&harness, and(1_000)).await, (vec![(coupon, 700)], 15_300));
    audited(harness).await;
}

// R28, R34: the shipping charge counts and shares where the rules say so, and a line is reached.
#[tokio::test]
async fn shipping_is_in_where_the_rules_say_so() {
    let harness = harness::start().await;
    let including = v1::TemplateRules {
        includes_shipping: true,
        scope: products([1]),
        ..with(threshold_off(10_000, 1_000))
    };
    let with_shipping = harness.give(1, including).await;
    let without = harness.give(1, with(threshold_off(10_000, 1_000))).await;
    let cart = shipped(priced(9_000), 1_000);
    let quoted = quote(&harness, cart.clone()).await;
    assert_eq!(unusable(&quoted), [(without, ErrorReason::BelowThreshold, 1_000)]);
    let used = &quoted.best.expect("usable");
    assert_eq!(used.coupons[0].shipping_discount_minor, 100);
    assert_eq!(used.lines[0].discount_minor, 900);
    let shipping =
        v1::ShippingDiscount { amount_minor: 1_000, discount_minor: 100, payable_minor: 900 };
    assert_eq!(used.shipping, Some(shipping));
    assert_eq!(best(&harness, cart).await, (vec![(with_shipping, 1_000)], 9_000));
    let elsewhere = harness::given::cart([line("1", 2, 9_000)]);
    let quoted = quote(&harness, shipped(elsewhere, 20_000)).await;
    let expected = [
        (without, ErrorReason::BelowThreshold, 1_000),
        (with_shipping, ErrorReason::OutOfScope, 0),
    ];
    let mut told = unusable(&quoted);
    told.sort_unstable_by_key(|(coupon, ..)| std::cmp::Reverse(*coupon));
    assert_eq!(told, expected);
    audited(harness).await;
}

// R28, R47: an order is not free where the rules say what is at least paid.
#[tokio::test]
async fn something_is_left_to_pay() {
    let harness = harness::start().await;
    let ruled = v1::TemplateRules { min_payable_minor: 1, ..with(direct_off(5_000)) };
    let coupon = harness.give(1, ruled).await;
    assert_eq!(best(&harness, priced(3_000)).await, (vec![(coupon, 2_999)], 1));
    let shipped = shipped(priced(3_000), 200);
    assert_eq!(best(&harness, shipped).await, (vec![(coupon, 3_000)], 200));
    let quoted = quote(&harness, priced(1)).await;
    assert_eq!(unusable(&quoted), [(coupon, ErrorReason::NothingLeft, 0)]);
    // It holds for those that come after it too.
    let other = harness.give(1, rules()).await;
    let both = refused(&harness, priced(3_000), &[other, coupon]).await;
    assert_eq!(both, (ErrorReason::NothingLeft, vec![other]));
    assert_eq!(best(&harness, priced(5_400)).await, (vec![(coupon, 5_000), (other, 399)], 1));
    audited(harness).await;
}

// R28, R33, R60: of a group at most one; the best takes the better of them, and others beside it.
#[tokio::test]
async fn one_of_a_mutex_group() {
    let harness = harness::start().await;
    let summer =
        |off| v1::TemplateRules { mutex_group: "summer".to_owned(), ..with(direct_off(off)) };
    let (small, large) = (harness.give(1, summer(800)).await, harness.give(1, summer(900)).await);
    let free = harness.give(1, with(direct_off(300))).await;
    let winter = v1::TemplateRules { mutex_group: "winter".to_owned(), ..with(direct_off(100)) };
    let winter = harness.give(1, winter).await;
    let all = refused(&harness, small_cart(), &[free, large, winter, small]).await;
    assert_eq!(all, (ErrorReason::CouponMutex, vec![large, small]));
    assert_eq!(quote(&harness, small_cart()).await.usable.len(), 4, "each by itself");
    let chosen = vec![(large, 900), (free, 300), (winter, 100)];
    assert_eq!(best(&harness, small_cart()).await, (chosen, 8_700));
    audited(harness).await;
}

// R28, R47, R60: no more of a template in one order than its rules say.
#[tokio::test]
async fn an_order_uses_so_many_of_a_template() {
    let harness = harness::start().await;
    let ruled = v1::TemplateRules {
        per_user_limit: 3,
        per_order_limit: 2,
        stacking: Stacking::Stackable.into(),
        ..with(direct_off(100))
    };
    let template = harness.publish(template_of(10, ruled)).await;
    let mut coupons = Vec::new();
    for _ in 0..3 {
        coupons.push(harness.win(1, template).await);
    }
    let other = harness.give(1, with(direct_off(30))).await;
    let [a, b, c] = coupons[..] else { panic!("{coupons:?}") };
    let three = refused(&harness, small_cart(), &[c, other, a, b]).await;
    assert_eq!(three, (ErrorReason::TooManyOfTemplate, vec![b]), "the one beyond");
    let (chosen, payable) = best(&harness, small_cart()).await;
    assert_eq!((chosen.len(), payable), (3, 9_770));
    audited(harness).await;
}

// R28, R47, R60: a threshold that looks at what the earlier coupons left.
#[tokio::test]
async fn a_threshold_after_the_earlier_coupons() {
    let harness = harness::start().await;
    let narrow = v1::TemplateRules { scope: products([1]), ..with(direct_off(4_000)) };
    let narrow = harness.give(1, narrow).await;
    let after = v1::TemplateRules {
        threshold_base: ThresholdBase::AfterEarlierCoupons.into(),
        ..with(threshold_off(10_000, 500))
    };
    let after = harness.give(1, after).await;
    let quoted = quote(&harness, small_cart()).await;
    let usable: Vec<_> =
        quoted.usable.iter().map(|one| (one.coupon_id, one.discount_minor)).collect();
    assert_eq!(usable, [(narrow, 4_000), (after, 500)], "each alone");
    assert_eq!(best(&harness, small_cart()).await, (vec![(narrow, 4_000)], 6_000));
    let both = refused(&harness, small_cart(), &[after, narrow]).await;
    assert_eq!(both, (ErrorReason::BelowThreshold, vec![after]));
    let enough = (vec![(narrow, 4_000), (after, 500)], 9_500);
    assert_eq!(best(&harness, priced(14_000)).await, enough);
    audited(harness).await;
}
