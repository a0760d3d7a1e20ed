//! Properties of the evaluator, over carts and coupons at random.

#![allow(clippy::unwrap_used)] // Also in the functions that the tests share.

use coupon_domain::{
    CouponFault, Refusal, Rejection,
    cart::{Cart, CartLine},
    evaluate::{Best, Candidate, CouponUse, Evaluation, Evaluator, SearchLimits},
    ids::{CouponId, TemplateId},
    money::{AMOUNT_MAX, Currency, Minor},
    rules::{Benefit, Exclusions, Rules, Scope, Stacking, ThresholdBase},
    time::{TimeZone, Timestamp},
};
use proptest::prelude::*;

fn plain(benefit: Benefit) -> Rules {
    let currency = Currency::parse("CNY").unwrap();
    Rules::plain(benefit, currency, TimeZone::parse("UTC").unwrap())
}

fn judge(candidate: &Candidate<'_>, cart: &Cart) -> Result<Minor, CouponFault> {
    Evaluator::new(cart).judge(candidate).map(|usable| usable.alone())
}

fn combine(candidates: &[Candidate<'_>], cart: &Cart) -> Result<Evaluation, Refusal> {
    Evaluator::new(cart).combine(candidates)
}

fn best(candidates: &[Candidate<'_>], cart: &Cart) -> Option<Best> {
    Evaluator::new(cart).best(candidates, LIMITS)
}

const LIMITS: SearchLimits = SearchLimits { effort: 1_000_000, coupons_max: 100 };

/// Few products, merchants and categories, so that scopes meet lines and each other often.
fn lines(count: std::ops::Range<usize>, most: i64) -> impl Strategy<Value = Vec<CartLine>> {
    let line = (1_i64..6, 0_i64..4, prop::sample::select(vec!["", "a", "b", "c"]), 0..=most);
    let line = line.prop_map(|(product, merchant, category, amount)| CartLine {
        line_id: String::new(),
        product,
        merchant,
        category: category.to_owned(),
        quantity: 1,
        amount: Minor::new(amount),
    });
    prop::collection::vec(line, count).prop_map(|mut lines| {
        for (index, line) in lines.iter_mut().enumerate() {
            line.line_id = format!("line-{index}");
        }
        lines
    })
}

fn carts(count: std::ops::Range<usize>, most: i64) -> impl Strategy<Value = Cart> {
    let currency = Currency::parse("CNY").unwrap();
    let shipping = prop_oneof![Just(0), 0..=most].prop_map(Minor::new);
    (lines(count, most), shipping).prop_map(move |(lines, shipping)| Cart {
        currency,
        lines,
        shipping,
    })
}

fn benefits(most: i64) -> impl Strategy<Value = Benefit> {
    let cap = || prop::option::of((1..=most).prop_map(Minor::new));
    let threshold_off = (0..=most, 1..=most, any::<bool>(), cap());
    prop_oneof![
        (1..=most).prop_map(|amount| Benefit::DirectOff { amount: Minor::new(amount) }),
        threshold_off.prop_map(|(threshold, amount, every, max_discount)| {
            let (threshold, amount) = (Minor::new(threshold.max(1)), Minor::new(amount));
            Benefit::ThresholdOff { threshold, amount, every, max_discount }
        }),
        (1..10_000, cap(), 0..=most).prop_map(|(pay_bps, max_discount, threshold)| {
            Benefit::Percentage { pay_bps, max_discount, threshold: Minor::new(threshold) }
        }),
    ]
}

fn codes(most: usize) -> impl Strategy<Value = Vec<String>> {
    let code = prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned);
    prop::collection::vec(code, 1..most)
}

fn ids(most: i64) -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(1_i64..most, 1..4)
}

fn scopes() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::All),
        ids(4).prop_map(|ids| Scope::Merchants(ids.into_iter().collect())),
        ids(6).prop_map(|ids| Scope::Products(ids.into_iter().collect())),
        codes(3).prop_map(Scope::categories),
    ]
}

fn exclusions() -> impl Strategy<Value = Exclusions> {
    let product =
        |id: i64| Exclusions { products: [id].into_iter().collect(), ..Default::default() };
    let merchant =
        |id: i64| Exclusions { merchants: [id].into_iter().collect(), ..Default::default() };
    prop_oneof![
        6 => Just(Exclusions::default()),
        1 => (1_i64..6).prop_map(product),
        1 => (1_i64..4).prop_map(merchant),
        1 => codes(2).prop_map(|codes| Exclusions {
            categories: codes.into_iter().collect(),
            ..Default::default()
        }),
    ]
}

fn stackings() -> impl Strategy<Value = Stacking> {
    prop_oneof![
        4 => Just(Stacking::Stackable),
        1 => Just(Stacking::Exclusive),
        3 => prop::sample::select(vec!["x", "y", "z"]).prop_map(|g| Stacking::OneOf(g.into())),
    ]
}

/// Every rule that bears on an order, the rarer ones rarer.
fn any_rules(most: i64) -> impl Strategy<Value = Rules> {
    let base = prop_oneof![
        4 => Just(ThresholdBase::BeforeCoupons),
        1 => Just(ThresholdBase::AfterEarlierCoupons),
    ];
    let min_payable = prop_oneof![6 => Just(0), 1 => 1..=most].prop_map(Minor::new);
    let limit = prop_oneof![3 => Just(None), 1 => (1_u32..3).prop_map(Some)];
    let whole = (stackings(), base, any::<bool>(), min_payable, limit);
    (benefits(most), scopes(), exclusions(), whole).prop_map(
        |(benefit, scope, excluded, (stacking, threshold_base, ship, min_payable, limit))| Rules {
            scope,
            excluded,
            stacking,
            threshold_base,
            with_shipping: ship,
            min_payable,
            per_order_limit: limit,
            ..plain(benefit)
        },
    )
}

fn candidates(rules: &[Rules]) -> Vec<Candidate<'_>> {
    let numbered = rules.iter().zip(1..);
    numbered.map(|(rules, id)| candidate(id, id, rules)).collect()
}

fn candidate(coupon: i64, template: i64, rules: &Rules) -> Candidate<'_> {
    Candidate {
        coupon: CouponId::new(coupon).unwrap(),
        template: TemplateId::new(template).unwrap(),
        // Whoever is younger expires earlier.
        valid_until: Timestamp::from_millis(1_000_000 - coupon),
        rules,
    }
}

/// Coupons of these templates, with a second one of some, whose ids lie among those of others.
fn wallet<'r>(rules: &'r [Rules], twice: &[bool]) -> Vec<Candidate<'r>> {
    let mut wallet = candidates(rules);
    let count = i64::try_from(rules.len()).unwrap();
    for (id, (rules, _)) in (1..).zip(rules.iter().zip(twice)).filter(|(_, (_, twice))| **twice) {
        wallet.push(candidate(count + id, id, rules));
    }
    wallet
}

/// Whatever was combined: splits add up, no line goes below zero, nothing is lost (R59).
fn check_sums(evaluation: &Evaluation, cart: &Cart) -> Result<(), TestCaseError> {
    prop_assert_eq!(evaluation.lines.len(), cart.lines.len());
    let amounts: Minor = cart.lines.iter().map(|line| line.amount).sum();
    let amounts = amounts.plus(cart.shipping);
    let paid = evaluation.payable().get();
    prop_assert_eq!(paid, amounts.get() - evaluation.discount().get());
    let on_shipping: Minor = evaluation.uses.iter().map(|used| used.shipping).sum();
    prop_assert_eq!(evaluation.shipping.amount, cart.shipping);
    prop_assert_eq!(evaluation.shipping.discount, on_shipping);
    prop_assert!(on_shipping <= cart.shipping);
    for (line, original) in evaluation.lines.iter().zip(&cart.lines) {
        prop_assert_eq!(&line.line_id, &original.line_id);
        prop_assert_eq!((line.amount, line.quantity), (original.amount, original.quantity));
        prop_assert!(Minor::ZERO <= line.discount && line.discount <= line.amount);
        let shares = evaluation.uses.iter().flat_map(|used| &used.shares);
        let on_line: Minor =
            shares.filter(|s| s.line_id == line.line_id).map(|share| share.discount).sum();
        prop_assert_eq!(line.discount, on_line);
    }
    for used in &evaluation.uses {
        prop_assert!(used.discount > Minor::ZERO);
        prop_assert!(used.shares.iter().all(|share| share.discount > Minor::ZERO));
        let sum: Minor = used.shares.iter().map(|share| share.discount).sum();
        prop_assert_eq!(sum.plus(used.shipping), used.discount);
    }
    Ok(())
}

/// The highest discount of all legal combinations, by trying every subset.
fn brute_force(candidates: &[Candidate<'_>], cart: &Cart) -> Option<Minor> {
    let subsets = (1_u32..1 << candidates.len()).filter_map(|set| {
        let members = candidates.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0);
        let subset: Vec<_> = members.map(|(_, candidate)| *candidate).collect();
        combine(&subset, cart).ok().map(|evaluation| evaluation.discount())
    });
    subsets.max()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    // R28, R59: a single coupon stays in its scope and its bounds.
    #[test]
    fn one_coupon_keeps_the_books(cart in carts(1..12, 5_000), rules in any_rules(5_000)) {
        let candidate = candidates(std::slice::from_ref(&rules))[0];
        let eligible =
            |line: &&CartLine| rules.scope.covers(line) && !rules.excluded.cover(line);
        let lines: Vec<_> = cart.lines.iter().filter(eligible).collect();
        let shipping = if rules.with_shipping { cart.shipping } else { Minor::ZERO };
        let total = lines.iter().map(|line| line.amount).sum::<Minor>().plus(shipping);
        match (judge(&candidate, &cart), combine(&[candidate], &cart)) {
            (Ok(discount), Ok(evaluation)) => {
                check_sums(&evaluation, &cart)?;
                prop_assert_eq!(evaluation.discount(), discount);
                prop_assert!(total >= rules.benefit.threshold());
                prop_assert!(evaluation.payable() >= rules.min_payable);
                let used = &evaluation.uses[0];
                prop_assert!(used.shipping == Minor::ZERO || rules.with_shipping);
                for share in &used.shares {
                    prop_assert!(lines.iter().any(|line| line.line_id == share.line_id));
                }
            }
            (Err(fault), Err(refusal)) => {
                prop_assert_eq!(refusal.reason, fault.reason);
                prop_assert_eq!(refusal.faults, vec![fault]);
                let missing = rules.benefit.threshold().less(total);
                prop_assert_eq!(fault.missing > Minor::ZERO, fault.reason == Rejection::BelowThreshold);
                prop_assert!(fault.missing == Minor::ZERO || fault.missing == missing);
            }
            (alone, together) => prop_assert!(false, "{alone:?} but {together:?}"),
        }
    }

    // Raising an amount never makes one coupon worth less, nor the cart cheaper than before.
    #[test]
    fn one_coupon_is_monotone(
        cart in carts(1..12, 5_000),
        rules in any_rules(5_000),
        at in any::<prop::sample::Index>(),
        more in 1_i64..5_000,
    ) {
        let candidate = candidates(std::slice::from_ref(&rules))[0];
        let mut raised = cart.clone();
        let line = &mut raised.lines[at.index(cart.lines.len())];
        line.amount = line.amount.plus(Minor::new(more));
        if let Ok(discount) = judge(&candidate, &cart) {
            let with_more = judge(&candidate, &raised).map_err(|f| f.reason);
            let Ok(with_more) = with_more else { panic!("{with_more:?}") };
            prop_assert!(with_more >= discount);
            // 每满减 may reach several thresholds at once; nothing else grows faster than the cart.
            let every = matches!(rules.benefit, Benefit::ThresholdOff { every: true, .. });
            prop_assert!(every || with_more.get() - discount.get() <= more);
        }
    }

    // R28: the order given decides nothing but the order of the faults.
    #[test]
    fn the_order_given_does_not_matter(
        cart in carts(1..10, 5_000),
        rules in prop::collection::vec(any_rules(2_000), 1..7),
        twice in prop::collection::vec(any::<bool>(), 3),
        seed in any::<u64>(),
    ) {
        let given = wallet(&rules, &twice);
        let mut shuffled = given.clone();
        shuffled.sort_by_key(|one| one.coupon.get().wrapping_mul(31) ^ i64::try_from(seed >> 1).unwrap());
        prop_assert_eq!(best(&given, &cart), best(&shuffled, &cart));
        match (combine(&given, &cart), combine(&shuffled, &cart)) {
            (Ok(one), Ok(other)) => {
                check_sums(&one, &cart)?;
                prop_assert_eq!(one, other);
            }
            (Err(one), Err(other)) => {
                prop_assert_eq!(one.reason, other.reason);
                let sorted = |mut faults: Vec<CouponFault>| {
                    // Which coupons of a template are too many depends on the order given.
                    faults.retain(|fault| fault.reason != Rejection::TooManyOfTemplate);
                    faults.sort_by_key(|fault| fault.coupon);
                    faults
                };
                prop_assert_eq!(sorted(one.faults), sorted(other.faults));
            }
            (one, other) => prop_assert!(false, "{one:?} but {other:?}"),
        }
    }

    // R59: equal lines differ by one unit at most, and the earlier has it.
    #[test]
    fn ties_go_to_the_earlier_line(count in 1_usize..40, amount in 1_i64..1_000, off in 1_i64..40_000) {
        let line = |index| CartLine {
            line_id: format!("line-{index}"),
            product: 1,
            merchant: 0,
            category: String::new(),
            quantity: 1,
            amount: Minor::new(amount),
        };
        let currency = Currency::parse("CNY").unwrap();
        let cart = Cart { currency, lines: (0..count).map(line).collect(), shipping: Minor::ZERO };
        let rules = plain(Benefit::DirectOff { amount: Minor::new(off) });
        let evaluation = combine(&candidates(&[rules]), &cart).unwrap();
        let shares: Vec<_> = evaluation.lines.iter().map(|line| line.discount.get()).collect();
        prop_assert!(shares.is_sorted_by(|earlier, later| earlier >= later), "{shares:?}");
        prop_assert!(shares[0] - shares[count - 1] <= 1, "{shares:?}");
    }

    // R60: a large wallet gets a legal combination that beats every single coupon.
    #[test]
    fn a_large_wallet_is_no_worse_than_its_best_coupon(
        cart in carts(1..60, 50_000),
        rules in prop::collection::vec(any_rules(20_000), 20..80),
        coupons_max in 1_usize..30,
    ) {
        let given = candidates(&rules);
        let singles = given.iter().filter_map(|one| judge(one, &cart).ok());
        let limits = SearchLimits { effort: 20_000, coupons_max };
        if let Some(found) = Evaluator::new(&cart).best(&given, limits) {
            check_sums(&found.evaluation, &cart)?;
            prop_assert!(Some(found.evaluation.discount()) >= singles.max());
            prop_assert!(found.evaluation.uses.len() <= coupons_max);
        }
    }
}

/// Few lines and small amounts, where rounding bites, and larger ones, where rules do.
fn small_cases() -> impl Strategy<Value = (Cart, Vec<Rules>, Vec<bool>)> {
    let twice = || prop::collection::vec(prop::bool::weighted(0.3), 3);
    prop_oneof![
        (carts(1..5, 12), prop::collection::vec(any_rules(8), 0..7), twice()),
        (carts(1..8, 300), prop::collection::vec(any_rules(200), 0..8), twice()),
        (carts(1..4, 5_000), prop::collection::vec(any_rules(5_000), 0..6), twice()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

    // R60: what is claimed to be optimal is, what is found is legal, and small cases are proven.
    #[test]
    fn the_best_is_the_best_of_all_subsets((cart, rules, twice) in small_cases()) {
        let given = wallet(&rules, &twice);
        match best(&given, &cart) {
            None => prop_assert!(given.iter().all(|one| judge(one, &cart).is_err())),
            Some(Best { evaluation: found, optimal }) => {
                check_sums(&found, &cart)?;
                prop_assert!(optimal);
                prop_assert_eq!(Some(found.discount()), brute_force(&given, &cart));
                let used = |used: &CouponUse| given.iter().find(|c| c.coupon == used.coupon);
                let chosen: Vec<_> = found.uses.iter().filter_map(used).copied().collect();
                prop_assert_eq!(combine(&chosen, &cart).unwrap(), found);
            }
        }
    }
}

// 500 lines of 10^12 stay exact.
#[test]
fn the_largest_cart_does_not_overflow() {
    let line = |index| CartLine {
        line_id: format!("line-{index}"),
        product: 1,
        merchant: 0,
        category: String::new(),
        quantity: 1,
        amount: Minor::new(AMOUNT_MAX),
    };
    let currency = Currency::parse("CNY").unwrap();
    let lines = (0..500).map(line).collect();
    let cart = Cart { currency, lines, shipping: Minor::new(AMOUNT_MAX) };
    let percentage = Benefit::Percentage { pay_bps: 1, max_discount: None, threshold: Minor::ZERO };
    let (one, most) = (Minor::new(1), Minor::new(AMOUNT_MAX));
    let every =
        Benefit::ThresholdOff { threshold: one, amount: most, every: true, max_discount: None };
    let rules = [percentage, every].map(|benefit| Rules {
        with_shipping: true,
        min_payable: one,
        ..plain(benefit)
    });
    let evaluation = combine(&candidates(&rules), &cart).unwrap();
    check_sums(&evaluation, &cart).unwrap();
    let whole = 501 * AMOUNT_MAX;
    // The first leaves one ten-thousandth; the second would take more than there is.
    assert_eq!(evaluation.uses[0].discount.get(), whole / 10_000 * 9_999);
    assert_eq!(evaluation.uses[1].discount.get(), whole / 10_000 - 1);
    assert_eq!(evaluation.payable(), one);
}
