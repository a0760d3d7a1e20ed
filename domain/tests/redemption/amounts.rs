//! The money of refunds: it adds up to the paid cent, in whatever order the parts come (R59, trap 18).

use coupon_domain::{
    Rejection,
    cart::{Cart, CartLine},
    coupon::CouponStatus::{Available, Used},
    money::{AMOUNT_MAX, Currency, Minor},
    redemption::{LineQuantity, LockCommand, RedemptionState, RefundOf, Restored},
    rules::{Benefit, KeptDiscount, RestorePolicy, Rules, ThresholdBase},
};
use proptest::{prelude::*, sample::select};

use crate::store::{Store, coupon_id, lock_command};

const fn minor(units: i64) -> Minor {
    Minor::new(units)
}

/// Lines `0`, `1`, .. of (amount, pieces).
fn cart(lines: &[(i64, i64)], shipping: i64) -> Cart {
    let lines = lines.iter().zip(0_i64..).map(|((amount, quantity), number)| CartLine {
        line_id: number.to_string(),
        product: number + 1,
        merchant: 0,
        category: String::new(),
        quantity: *quantity,
        amount: minor(*amount),
    });
    let currency = Currency::parse("CNY").unwrap();
    Cart { currency, lines: lines.collect(), shipping: minor(shipping) }
}

fn parts(lines: &[(usize, i64)], shipping: bool) -> RefundOf {
    let line = |(number, quantity): &(usize, i64)| LineQuantity {
        line_id: number.to_string(),
        quantity: *quantity,
    };
    RefundOf::Parts { lines: lines.iter().map(line).collect(), shipping }
}

/// A paid order of the cart with coupon 1 under these rules.
fn paid(cart: Cart, change: impl FnOnce(&mut Rules)) -> Store {
    let mut store = Store::with_coupons(1).with_rules(1, change);
    let command = LockCommand { cart, ..lock_command("o", "r1", &[1]) };
    store.lock_with(&command).unwrap();
    store.confirm("o", &[]).unwrap();
    store
}

fn threshold_off(threshold: i64, amount: i64, every: bool) -> Benefit {
    let (threshold, amount) = (minor(threshold), minor(amount));
    Benefit::ThresholdOff { threshold, amount, every, max_discount: None }
}

/// What was given back, and what of it was clawed back.
fn money(restored: &Restored) -> (i64, i64) {
    (restored.amounts.amount.get(), restored.amounts.clawed_back)
}

// 100 minus 50 on two lines of 60 and 40: each pays half.
#[test]
fn a_line_gives_back_what_was_paid_for_it() {
    let rules = |rules: &mut Rules| rules.benefit = threshold_off(10_000, 5_000, false);
    let mut store = paid(cart(&[(6_000, 3), (4_000, 1)], 800), rules);
    let one = store.refund("o", "a", parts(&[(0, 1)], false)).unwrap();
    assert_eq!((money(&one), one.coupons.len()), ((1_000, 0), 0));
    assert_eq!(one.redemption.state, RedemptionState::Confirmed);
    assert_eq!(store.statuses(), [Used]);
    assert_eq!(
        store.refund("o", "a", parts(&[(0, 1)], false)),
        Ok(one),
        "a repeat answers the same"
    );
    let other = store.refund("o", "a", parts(&[(0, 2)], false));
    assert_eq!(other, Err(Rejection::IdempotencyKeyReused));
    assert_eq!(store.refund("o", "b", parts(&[(0, 3)], false)), Err(Rejection::RefundedAlready));
    assert_eq!(store.refund("o", "b", parts(&[(7, 1)], false)), Err(Rejection::LineNotFound));
    let two = store.refund("o", "b", parts(&[(0, 2), (1, 1)], false)).unwrap();
    assert_eq!((money(&two), two.coupons.len()), ((4_000, 0), 1));
    assert_eq!(two.redemption.state, RedemptionState::Confirmed, "the shipping charge is left");
    assert_eq!(store.statuses(), [Available], "the buyer keeps nothing of its discount");
    let rest = store.refund("o", "c", parts(&[], true)).unwrap();
    assert_eq!((money(&rest), rest.coupons.len()), ((800, 0), 0));
    assert_eq!(rest.redemption.state, RedemptionState::Restored);
    assert_eq!(rest.redemption.refunded.amount, minor(5_800));
    assert_eq!(store.restore("o", "d"), Err(Rejection::OrderRestored));
}

#[test]
fn everything_is_what_is_left() {
    let mut store = paid(cart(&[(1_000, 3), (500, 1)], 100), |_| {});
    let one = store.refund("o", "a", parts(&[(0, 1)], false)).unwrap();
    let rest = store.restore("o", "b").unwrap();
    assert_eq!(money(&one).0 + money(&rest).0, 1_500);
    assert_eq!(rest.redemption.state, RedemptionState::Restored);
    let lines: Vec<i64> = rest.amounts.lines.iter().map(|line| line.quantity).collect();
    assert_eq!((lines, rest.amounts.shipping), (vec![2, 1], minor(100)));
    assert_eq!(store.statuses(), [Available]);
}

// Threshold gaming: buy for 100, get 50 off, send back all but 10.
#[test]
fn a_discount_that_is_not_earned_any_more_is_clawed_back() {
    let rules = |kept| {
        move |rules: &mut Rules| {
            rules.benefit = threshold_off(10_000, 5_000, false);
            rules.kept_discount = kept;
        }
    };
    let lines = [(9_000, 1), (1_000, 1)];
    let mut keep = paid(cart(&lines, 0), rules(KeptDiscount::Keep));
    let kept = keep.refund("o", "a", parts(&[(0, 1)], false)).unwrap();
    assert_eq!((money(&kept), keep.statuses()), ((4_500, 0), vec![Used]));

    let mut claw = paid(cart(&lines, 0), rules(KeptDiscount::ClawBack));
    let clawed = claw.refund("o", "a", parts(&[(0, 1)], false)).unwrap();
    // The line of 10 cost 5 and costs 10 now.
    assert_eq!((money(&clawed), claw.statuses()), ((4_000, 500), vec![Available]));
    let rest = claw.refund("o", "b", parts(&[(1, 1)], false)).unwrap();
    assert_eq!((money(&rest), rest.coupons.len()), ((1_000, -500), 0));
    assert_eq!(rest.redemption.state, RedemptionState::Restored);
}

// What could not be kept back is not given back twice: the coupon stays used.
#[test]
fn a_refund_too_small_to_claw_back_keeps_the_coupon_used() {
    let mut store = paid(cart(&[(9_900, 1), (100, 1)], 0), |rules| {
        rules.benefit = threshold_off(10_000, 5_000, false);
        rules.kept_discount = KeptDiscount::ClawBack;
    });
    let small = store.refund("o", "a", parts(&[(1, 1)], false)).unwrap();
    assert_eq!((money(&small), small.coupons.len()), ((0, 50), 0));
    assert_eq!(store.statuses(), [Used]);
    let rest = store.restore("o", "b").unwrap();
    assert_eq!((money(&rest), rest.coupons.len()), ((5_000, -50), 1));
    assert_eq!(store.statuses(), [Available]);
}

// 每满减: 10 off every 100. Of 300, 110 are kept, which earn one time.
#[test]
fn a_repeated_discount_is_cut_to_the_times_that_are_earned() {
    let mut store = paid(cart(&[(11_000, 1), (19_000, 1)], 0), |rules| {
        rules.benefit = threshold_off(10_000, 1_000, true);
        rules.kept_discount = KeptDiscount::ClawBack;
    });
    let refund = store.refund("o", "a", parts(&[(1, 1)], false)).unwrap();
    // 30 off in all; the kept line had 11 of it and is allowed 10.
    assert_eq!((money(&refund), refund.coupons.len()), ((17_000, 100), 0));
    assert_eq!(store.statuses(), [Used]);
}

// A coupon of the shipping charge comes back with the shipping charge.
#[test]
fn a_discount_on_shipping_is_kept_until_shipping_is_refunded() {
    let mut store = paid(cart(&[(1_000, 1)], 1_000), |rules| rules.with_shipping = true);
    let goods = store.refund("o", "a", parts(&[(0, 1)], false)).unwrap();
    assert_eq!((money(&goods), goods.coupons.len()), ((950, 0), 0));
    let shipping = store.refund("o", "b", parts(&[], true)).unwrap();
    assert_eq!((money(&shipping), shipping.coupons.len()), ((950, 0), 1));
    assert_eq!(shipping.redemption.state, RedemptionState::Restored);
}

#[test]
fn a_coupon_is_decided_once() {
    let policy = RestorePolicy::Reissue { days: 3 };
    let mut store = paid(cart(&[(1_000, 2), (1_000, 1)], 500), |rules| rules.restore = policy);
    store.refund("o", "a", parts(&[(0, 2), (1, 1)], false)).unwrap();
    assert_eq!(store.statuses(), [Used, Available]);
    let last = store.refund("o", "b", parts(&[], true)).unwrap();
    assert_eq!((last.coupons.len(), store.statuses()), (0, vec![Used, Available]));
    assert_eq!(last.redemption.refunded.coupons, [coupon_id(1)]);
}

fn benefits() -> impl Strategy<Value = Benefit> {
    prop_oneof![
        (1_i64..2_000).prop_map(|amount| Benefit::DirectOff { amount: minor(amount) }),
        (1_i64..1_500, 1_i64..900, any::<bool>()).prop_map(|(threshold, amount, every)| {
            threshold_off(threshold, amount.min(threshold), every)
        }),
        (1..10_000, 0_i64..1_500).prop_map(|(pay_bps, threshold)| {
            Benefit::Percentage { pay_bps, max_discount: None, threshold: minor(threshold) }
        }),
    ]
}

fn rules() -> impl Strategy<Value = (Benefit, KeptDiscount, ThresholdBase, bool, RestorePolicy)> {
    let kept = select(vec![KeptDiscount::Keep, KeptDiscount::ClawBack]);
    let base = select(vec![ThresholdBase::BeforeCoupons, ThresholdBase::AfterEarlierCoupons]);
    let policy = select(vec![RestorePolicy::Never, RestorePolicy::Reissue { days: 2 }]);
    (benefits(), kept, base, any::<bool>(), policy)
}

/// Locks as many of the coupons as the cart allows; the order as paid.
fn pay(
    cart: &Cart,
    rules: &[(Benefit, KeptDiscount, ThresholdBase, bool, RestorePolicy)],
) -> Store {
    let mut coupons: Vec<i64> = (1..).take(rules.len()).collect();
    let mut store = Store::with_coupons(i64::try_from(rules.len()).unwrap());
    for (number, (benefit, kept, base, shipping, policy)) in (1..).zip(rules) {
        store = store.with_rules(number, |rules| {
            (rules.benefit, rules.kept_discount) = (*benefit, *kept);
            (rules.threshold_base, rules.with_shipping) = (*base, *shipping);
            rules.restore = *policy;
        });
    }
    while !coupons.is_empty() {
        let command = LockCommand { cart: cart.clone(), ..lock_command("o", "r1", &coupons) };
        match store.lock_with(&command) {
            Ok(_) => break,
            Err(refusal) => {
                let failing = refusal.faults[0].coupon.get();
                coupons.retain(|coupon| *coupon != failing);
            }
        }
    }
    if !coupons.is_empty() {
        store.confirm("o", &[]).unwrap();
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    // R59: refunded pieces in any order, any coupons: never more than was paid, exactly that at the
    // end, every coupon decided once, nothing left to refund twice.
    #[test]
    fn refunds_add_up_to_what_was_paid(
        lines in prop::collection::vec((0_i64..1_000, 1_i64..5), 1..6),
        shipping in 0_i64..300,
        rules in prop::collection::vec(rules(), 1..4),
        steps in prop::collection::vec((0_usize..6, 1_i64..5, any::<bool>()), 0..12),
    ) {
        let cart = cart(&lines, shipping);
        let mut store = pay(&cart, &rules);
        let Some(order) = store.redemption("o").cloned() else { return Ok(()) };
        let evaluation = order.evaluation.unwrap();
        let (paid, coupons) = (evaluation.payable().get(), evaluation.uses.len());
        let all_kept = rules.iter().all(|rules| rules.1 == KeptDiscount::Keep);
        let (mut given, mut decided) = (0, Vec::new());
        for (number, (line, quantity, shipping)) in steps.iter().enumerate() {
            let of = parts(&[(*line, *quantity)], *shipping);
            let Ok(refund) = store.refund("o", &number.to_string(), of) else { continue };
            let (amount, clawed) = money(&refund);
            prop_assert!(amount >= 0);
            let gross: i64 = refund.amounts.lines.iter().map(|line| line.amount.get()).sum();
            prop_assert_eq!(gross + refund.amounts.shipping.get() - clawed, amount);
            prop_assert!(!all_kept || clawed == 0, "clawed back {clawed} with none to claw");
            given += amount;
            prop_assert!(given <= paid, "{given} of {paid} given back");
            prop_assert_eq!(refund.redemption.refunded.amount.get(), given);
            decided.extend(refund.coupons.iter().map(|one| one.coupon));
        }
        if store.redemption("o").unwrap().state != RedemptionState::Restored {
            let rest = store.restore("o", "rest").unwrap();
            given += money(&rest).0;
            decided.extend(rest.coupons.iter().map(|one| one.coupon));
        }
        prop_assert_eq!(given, paid);
        prop_assert_eq!(store.redemption("o").unwrap().state, RedemptionState::Restored);
        prop_assert_eq!(decided.len(), coupons);
        decided.sort_unstable();
        decided.dedup();
        prop_assert_eq!(decided.len(), coupons, "a coupon was decided twice");
    }

    // With discounts that stay, what has been given back depends on what was refunded, not on the order.
    #[test]
    fn the_order_of_refunds_does_not_matter(
        lines in prop::collection::vec((0_i64..1_000, 1_i64..4), 1..5),
        shipping in 0_i64..300,
        benefit in benefits(),
        swaps in any::<u64>(),
    ) {
        let cart = cart(&lines, shipping);
        let one = (benefit, KeptDiscount::Keep, ThresholdBase::BeforeCoupons, true, RestorePolicy::Never);
        let store = || pay(&cart, &[one]);
        let mut pieces: Vec<usize> = lines.iter().enumerate()
            .flat_map(|(line, (_, quantity))| (0..*quantity).map(move |_| line)).collect();
        if store().redemption("o").is_none() { return Ok(()) }
        let given = |pieces: &[usize]| {
            let mut store = store();
            for (number, line) in pieces.iter().enumerate() {
                store.refund("o", &number.to_string(), parts(&[(*line, 1)], false)).unwrap();
            }
            store.redemption("o").unwrap().refunded.amount
        };
        let half = pieces.len() / 2;
        let forward = given(&pieces[..half]);
        let by = usize::try_from(swaps % 7).unwrap() % half.max(1);
        pieces[..half].rotate_left(by);
        prop_assert_eq!(given(&pieces[..half]), forward);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    // The largest amounts do not overflow.
    #[test]
    fn the_largest_orders_are_refunded_exactly(pieces in 1_i64..7, first in 0_i64..7) {
        let lines: Vec<(i64, i64)> = vec![(AMOUNT_MAX, pieces); 500];
        let percent = Benefit::Percentage { pay_bps: 3_333, max_discount: None, threshold: minor(0) };
        let mut store = paid(cart(&lines, AMOUNT_MAX), |rules| {
            rules.benefit = percent;
            rules.with_shipping = true;
            rules.kept_discount = KeptDiscount::ClawBack;
        });
        let paid = store.redemption("o").unwrap().evaluation.as_ref().unwrap().payable().get();
        let first = parts(&[(0, first.clamp(1, pieces))], false);
        let one = money(&store.refund("o", "a", first).unwrap()).0;
        let rest = money(&store.restore("o", "b").unwrap()).0;
        prop_assert_eq!(one + rest, paid);
    }
}
