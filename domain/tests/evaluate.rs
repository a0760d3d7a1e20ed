//! Properties of the evaluator, over carts and coupons at random.

#![allow(clippy::unwrap_used)] // Also in the functions that the tests share.

use coupon_domain::{
    CouponFault, Rejection,
    cart::{Cart, CartLine},
    evaluate::{Candidate, CouponUse, Evaluation, best, combine, judge},
    ids::{CouponId, TemplateId},
    money::{AMOUNT_MAX, Currency, Minor},
    template::{Audience, Benefit, RestorePolicy, Rules, Scope, Stacking, UseWindow},
    time::TimeZone,
};
use proptest::prelude::*;

fn rules(benefit: Benefit, scope: Scope, stacking: Stacking) -> Rules {
    Rules {
        benefit,
        currency: Currency::parse("CNY").unwrap(),
        scope,
        stacking,
        use_window: UseWindow::AfterClaim { days: 30 },
        time_zone: TimeZone::parse("UTC").unwrap(),
        per_user_limit: 1,
        audience: Audience::Everyone,
        restore: RestorePolicy::Never,
    }
}

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
    lines(count, most).prop_map(move |lines| Cart { currency, lines })
}

fn benefits(most: i64) -> impl Strategy<Value = Benefit> {
    let cap = prop::option::of((1..=most).prop_map(Minor::new));
    prop_oneof![
        (1..=most).prop_map(|amount| Benefit::DirectOff { amount: Minor::new(amount) }),
        (0..=most, 1..=most).prop_map(|(threshold, amount)| Benefit::ThresholdOff {
            threshold: Minor::new(threshold),
            amount: Minor::new(amount)
        }),
        (1..10_000, cap, 0..=most).prop_map(|(pay_bps, max_discount, threshold)| {
            Benefit::Percentage { pay_bps, max_discount, threshold: Minor::new(threshold) }
        }),
    ]
}

fn scopes() -> impl Strategy<Value = Scope> {
    let ids = |most| prop::collection::vec(1_i64..most, 1..4);
    let codes = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 1..3);
    prop_oneof![
        Just(Scope::All),
        ids(4).prop_map(|ids| Scope::Merchants(ids.into_iter().collect())),
        ids(6).prop_map(|ids| Scope::Products(ids.into_iter().collect())),
        codes.prop_map(|codes| Scope::categories(codes.into_iter().map(str::to_owned))),
    ]
}

fn any_rules(most: i64) -> impl Strategy<Value = Rules> {
    let stacking = prop_oneof![4 => Just(Stacking::Stackable), 1 => Just(Stacking::Mutex)];
    (benefits(most), scopes(), stacking).prop_map(|(benefit, scope, s)| rules(benefit, scope, s))
}

fn candidates(rules: &[Rules]) -> Vec<Candidate<'_>> {
    let numbered = rules.iter().zip(1..);
    let candidate = |(rules, id)| {
        let template = TemplateId::new(id).unwrap();
        Candidate { coupon: CouponId::new(id).unwrap(), template, rules }
    };
    numbered.map(candidate).collect()
}

/// Whatever was combined: splits add up, no line goes below zero, nothing is lost (R59).
fn check_sums(evaluation: &Evaluation, cart: &Cart) -> Result<(), TestCaseError> {
    prop_assert_eq!(evaluation.lines.len(), cart.lines.len());
    let amounts: Minor = cart.lines.iter().map(|line| line.amount).sum();
    let paid = evaluation.payable().get();
    prop_assert_eq!(paid, amounts.get() - evaluation.discount().get());
    for (line, original) in evaluation.lines.iter().zip(&cart.lines) {
        prop_assert_eq!(&line.line_id, &original.line_id);
        prop_assert_eq!(line.amount, original.amount);
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
        prop_assert_eq!(sum, used.discount);
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
        let eligible: Vec<_> = cart.lines.iter().filter(|line| rules.scope.covers(line)).collect();
        let total: Minor = eligible.iter().map(|line| line.amount).sum();
        match (judge(&candidate, &cart), combine(&[candidate], &cart)) {
            (Ok(discount), Ok(evaluation)) => {
                check_sums(&evaluation, &cart)?;
                prop_assert_eq!(evaluation.discount(), discount);
                prop_assert!(total >= rules.benefit.threshold());
                for share in &evaluation.uses[0].shares {
                    prop_assert!(eligible.iter().any(|line| line.line_id == share.line_id));
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
            prop_assert!(with_more.get() - discount.get() <= more);
        }
    }

    // R28: the order given decides nothing but the order of the faults.
    #[test]
    fn the_order_given_does_not_matter(
        cart in carts(1..10, 5_000),
        (rules, order) in prop::collection::vec(any_rules(2_000), 1..7)
            .prop_flat_map(|rules| (Just(rules.clone()), Just((0..rules.len()).collect::<Vec<_>>()).prop_shuffle())),
    ) {
        let given = candidates(&rules);
        let shuffled: Vec<_> = order.iter().map(|index| given[*index]).collect();
        prop_assert_eq!(best(&given, &cart), best(&shuffled, &cart));
        match (combine(&given, &cart), combine(&shuffled, &cart)) {
            (Ok(one), Ok(other)) => {
                check_sums(&one, &cart)?;
                prop_assert_eq!(one, other);
            }
            (Err(one), Err(other)) => {
                prop_assert_eq!(one.reason, other.reason);
                let sorted = |mut faults: Vec<CouponFault>| {
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
        let cart = Cart { currency, lines: (0..count).map(line).collect() };
        let rules = rules(Benefit::DirectOff { amount: Minor::new(off) }, Scope::All, Stacking::Mutex);
        let evaluation = combine(&candidates(&[rules]), &cart).unwrap();
        let shares: Vec<_> = evaluation.lines.iter().map(|line| line.discount.get()).collect();
        prop_assert!(shares.is_sorted_by(|earlier, later| earlier >= later), "{shares:?}");
        prop_assert!(shares[0] - shares[count - 1] <= 1, "{shares:?}");
    }

    // R60: what is claimed to be optimal is, what is found is legal, and small cases are proven.
    #[test]
    fn the_best_is_the_best_of_all_subsets(
        cart in prop_oneof![carts(1..5, 12), carts(1..8, 300)],
        rules in prop_oneof![
            prop::collection::vec(any_rules(8), 0..7),
            prop::collection::vec(any_rules(200), 0..9),
        ],
    ) {
        let given = candidates(&rules);
        match best(&given, &cart) {
            None => prop_assert!(given.iter().all(|one| judge(one, &cart).is_err())),
            Some((found, optimal)) => {
                check_sums(&found, &cart)?;
                prop_assert!(optimal);
                prop_assert_eq!(Some(found.discount()), brute_force(&given, &cart));
                let used = |used: &CouponUse| given[usize::try_from(used.coupon.get()).unwrap() - 1];
                let chosen: Vec<_> = found.uses.iter().map(used).collect();
                prop_assert_eq!(combine(&chosen, &cart).unwrap(), found);
            }
        }
    }

    // R60: a large wallet gets a legal combination that beats every single coupon.
    #[test]
    fn a_large_wallet_is_no_worse_than_its_best_coupon(
        cart in carts(1..60, 50_000),
        rules in prop::collection::vec(any_rules(20_000), 20..80),
    ) {
        let given = candidates(&rules);
        let singles = given.iter().filter_map(|one| judge(one, &cart).ok());
        if let Some((found, _)) = best(&given, &cart) {
            check_sums(&found, &cart)?;
            prop_assert!(Some(found.discount()) >= singles.max());
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
    let cart = Cart { currency, lines: (0..500).map(line).collect() };
    let percentage = Benefit::Percentage { pay_bps: 1, max_discount: None, threshold: Minor::ZERO };
    let direct = Benefit::DirectOff { amount: Minor::new(AMOUNT_MAX - 1) };
    let all = [percentage, direct].map(|benefit| rules(benefit, Scope::All, Stacking::Stackable));
    let evaluation = combine(&candidates(&all), &cart).unwrap();
    check_sums(&evaluation, &cart).unwrap();
    let whole = 500 * AMOUNT_MAX;
    // The first leaves one ten-thousandth; the second is capped at that.
    assert_eq!(evaluation.uses[0].discount.get(), whole / 10_000 * 9_999);
    assert_eq!(evaluation.uses[1].discount.get(), whole / 10_000);
    assert_eq!(evaluation.payable(), Minor::ZERO);
}
