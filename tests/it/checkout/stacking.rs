//! Stacked coupons: narrowest scope first, then by id, each on what the earlier left (R28, R59,
//! R60). The figures are worked out by hand.

use coupon_client::v1;

use super::{confirmed, locked};
use crate::harness::{
    self,
    given::{
        cart, categories, direct_off, line, lock, merchants, percentage, products, rules,
        threshold_off,
    },
};

fn rule(benefit: v1::template_rules::Benefit, scope: Option<v1::Scope>) -> v1::TemplateRules {
    v1::TemplateRules { benefit: Some(benefit), scope, ..rules() }
}

/// Three lines: a digital one and a grocery one of merchant 7, and a grocery one of merchant 8.
fn groceries() -> Option<v1::Cart> {
    let of = |line, merchant_id, category: &str| {
        let category = category.to_owned();
        v1::CartLine { merchant_id, category, ..line }
    };
    cart([
        of(line("a", 1, 10_000), 7, "digital"),
        of(line("b", 2, 5_000), 7, "food"),
        of(line("c", 3, 3_333), 8, "food"),
    ])
}

fn shares(used: &v1::CouponUse) -> Vec<(&str, i64)> {
    used.shares.iter().map(|share| (share.line_id.as_str(), share.discount_minor)).collect()
}

fn discounts(lines: &[v1::LineDiscount]) -> Vec<(i64, i64)> {
    lines.iter().map(|line| (line.discount_minor, line.payable_minor)).collect()
}

// R28, R59: product, category, merchant, all; every remainder goes where it must.
#[tokio::test]
async fn four_coupons_apply_from_the_narrowest_scope_to_the_widest() {
    let harness = harness::start().await;
    // Won in the opposite order, so that the ids say the contrary of the scopes.
    let all = harness.give(1, rule(direct_off(1_000), harness::given::all())).await;
    let merchant = harness.give(1, rule(threshold_off(15_000, 3_000), merchants([7]))).await;
    let category = harness.give(1, rule(percentage(8_500, 0), categories(["food"]))).await;
    let product = harness.give(1, rule(direct_off(1_001), products([1]))).await;
    let named = [all, category, product, merchant];
    let request = v1::LockRequest { cart: groceries(), ..lock(1, "o", "try", &named) };
    let held = locked(&harness, request).await;
    let order: Vec<_> =
        held.coupons.iter().map(|used| (used.coupon_id, used.discount_minor)).collect();
    assert_eq!(order, [(product, 1_001), (category, 1_249), (merchant, 3_000), (all, 1_000)]);
    // 1,001 off a: 8,999 left. 15 % of 8,333 is 1,249.95: 749.43 and 499.57, the unit to c.
    // 3,000 over 8,999 and 4,251: 2,037.51 and 962.49, the unit to a. 1,000 over 6,961, 3,289 and
    // 2,833: 532.06, 251.39 and 216.54, the unit to c.
    assert_eq!(shares(&held.coupons[0]), [("a", 1_001)]);
    assert_eq!(shares(&held.coupons[1]), [("b", 749), ("c", 500)]);
    assert_eq!(shares(&held.coupons[2]), [("a", 2_038), ("b", 962)]);
    assert_eq!(shares(&held.coupons[3]), [("a", 532), ("b", 251), ("c", 217)]);
    assert_eq!(discounts(&held.lines), [(3_571, 6_429), (1_962, 3_038), (717, 2_616)]);
    assert_eq!((held.discount_minor, held.payable_minor), (6_250, 12_083));

    let quote = v1::QuoteRequest { user_id: 2, cart: groceries(), coupon_ids: Vec::new() };
    assert_eq!(harness.client.quote(quote).await.expect("a quote").best, None);
    let paid = confirmed(&harness, 1, "o").await;
    assert_eq!((&paid.coupons, &paid.lines), (&held.coupons, &held.lines), "kept as locked");
}

// R28: within a scope the earlier id comes first, whatever the order of the request.
#[tokio::test]
async fn within_a_scope_the_earlier_coupon_comes_first() {
    let harness = harness::start().await;
    let first = harness.give(1, rule(percentage(5_000, 0), harness::given::all())).await;
    let second = harness.give(1, rule(direct_off(700), harness::given::all())).await;
    let request = v1::LockRequest {
        cart: cart([line("1", 1, 1_001)]),
        ..lock(1, "o", "try", &[second, first])
    };
    let held = locked(&harness, request).await;
    let order: Vec<_> =
        held.coupons.iter().map(|used| (used.coupon_id, used.discount_minor)).collect();
    // Half of 1,001 is paid rounded up: 500 off; of the 501 left the other takes what there is.
    assert_eq!(order, [(first, 500), (second, 501)]);
    assert_eq!(held.payable_minor, 0);
}

// R28: a threshold looks at the lines before any coupon.
#[tokio::test]
async fn a_threshold_is_compared_with_the_price_before_coupons() {
    let harness = harness::start().await;
    let narrow = harness.give(1, rule(direct_off(4_000), products([1]))).await;
    let wide = harness.give(1, rule(threshold_off(10_000, 500), harness::given::all())).await;
    let held = locked(&harness, lock(1, "o", "try", &[narrow, wide])).await;
    assert_eq!((held.discount_minor, held.payable_minor), (4_500, 5_500));
}

// R26: 8折 is pay 80 %; the cap cuts; what is paid is rounded up.
#[tokio::test]
async fn eighty_per_cent_is_what_is_paid() {
    let harness = harness::start().await;
    let plain = harness.give(1, rule(percentage(8_000, 0), harness::given::all())).await;
    let capped = harness.give(2, rule(percentage(8_000, 1_500), harness::given::all())).await;
    for (user, coupon, price, discount) in [
        (1, plain, 10_000, 2_000),
        (1, plain, 9, 1),
        (2, capped, 10_000, 1_500),
        (2, capped, 5_000, 1_000),
    ] {
        let request = v1::QuoteRequest {
            user_id: user,
            cart: cart([line("1", 1, price)]),
            coupon_ids: vec![coupon],
        };
        let best = harness.client.quote(request).await.expect("a quote").best.expect("usable");
        assert_eq!((best.discount_minor, best.payable_minor), (discount, price - discount));
    }
}

// R60: the best legal combination, proven; what is quoted is what is locked.
#[tokio::test]
async fn the_best_combination_is_found_and_can_be_locked() {
    let harness = harness::start().await;
    let exclusive = v1::TemplateRules {
        stacking: v1::Stacking::Mutex.into(),
        ..rule(direct_off(1_500), harness::given::all())
    };
    let alone = harness.give(1, exclusive).await;
    let small = harness.give(1, rule(direct_off(800), harness::given::all())).await;
    let quote = |price| v1::QuoteRequest {
        user_id: 1,
        cart: cart([line("1", 1, price)]),
        coupon_ids: Vec::new(),
    };
    let best = async |price| {
        let best = harness.client.quote(quote(price)).await.expect("a quote").best;
        let best = best.expect("usable");
        assert!(best.optimal);
        let ids: Vec<i64> = best.coupons.iter().map(|used| used.coupon_id).collect();
        (ids, best.discount_minor)
    };
    assert_eq!(best(10_000).await, (vec![alone], 1_500));
    let other = harness.give(1, rule(direct_off(900), products([1]))).await;
    assert_eq!(best(10_000).await, (vec![other, small], 1_700));
    let request = v1::LockRequest {
        expected_discount_minor: Some(1_700),
        ..lock(1, "o", "try", &[small, other])
    };
    locked(&harness, request).await;
    assert_eq!(best(10_000).await, (vec![alone], 1_500), "what is locked is not offered");
}

// R28, R59: a direct-off worth more than its lines is capped, and no line goes below zero.
#[tokio::test]
async fn a_discount_is_capped_at_its_lines() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rule(direct_off(5_000), products([1, 2]))).await;
    let request = v1::LockRequest {
        cart: cart([line("a", 1, 1), line("b", 2, 1_998), line("c", 3, 7_000)]),
        ..lock(1, "o", "try", &[coupon])
    };
    let held = locked(&harness, request).await;
    assert_eq!(discounts(&held.lines), [(1, 0), (1_998, 0), (0, 7_000)]);
    assert_eq!((held.discount_minor, held.payable_minor), (1_999, 7_000));
}
