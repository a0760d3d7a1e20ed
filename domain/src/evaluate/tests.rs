//! Worked examples; the properties are in `domain/tests/evaluate.rs`.

use super::*;
use crate::{
    cart::CartLine,
    rules::{Benefit, Scope},
    time::TimeZone,
};

const BOOK: i64 = 10;
const PHONE: i64 = 20;

fn rules(benefit: Benefit, scope: Scope, stacking: Stacking) -> Rules {
    let currency = Currency::parse("CNY").unwrap();
    let time_zone = TimeZone::parse("Asia/Shanghai").unwrap();
    Rules { scope, stacking, ..Rules::plain(benefit, currency, time_zone) }
}

fn direct(amount: i64, scope: Scope) -> Rules {
    rules(Benefit::DirectOff { amount: Minor::new(amount) }, scope, Stacking::Stackable)
}

fn threshold(threshold: i64, amount: i64, scope: Scope) -> Rules {
    let (threshold, amount) = (Minor::new(threshold), Minor::new(amount));
    let benefit = Benefit::ThresholdOff { threshold, amount, every: false, max_discount: None };
    rules(benefit, scope, Stacking::Stackable)
}

fn percent(pay_bps: i32, max_discount: Option<i64>, scope: Scope) -> Rules {
    let max_discount = max_discount.map(Minor::new);
    let benefit = Benefit::Percentage { pay_bps, max_discount, threshold: Minor::ZERO };
    rules(benefit, scope, Stacking::Stackable)
}

fn mutex(rules: Rules) -> Rules {
    Rules { stacking: Stacking::Exclusive, ..rules }
}

fn candidate(coupon: i64, rules: &Rules) -> Candidate<'_> {
    let (coupon, template) = (CouponId::new(coupon).unwrap(), TemplateId::new(coupon).unwrap());
    Candidate { coupon, template, valid_until: Timestamp::default(), rules }
}

fn judge(candidate: &Candidate<'_>, cart: &Cart) -> Result<Minor, CouponFault> {
    Evaluator::new(cart).judge(candidate).map(|usable| usable.alone())
}

fn combine(candidates: &[Candidate<'_>], cart: &Cart) -> Result<Evaluation, Refusal> {
    Evaluator::new(cart).combine(candidates)
}

fn best(candidates: &[Candidate<'_>], cart: &Cart) -> Option<Best> {
    Evaluator::new(cart).best(candidates, SearchLimits { effort: 100_000, coupons_max: 100 })
}

/// Lines named `a`, `b`, ...: (product, merchant, category, amount).
fn cart(lines: &[(i64, i64, &str, i64)]) -> Cart {
    let lines =
        lines.iter().zip('a'..).map(|((product, merchant, category, amount), name)| CartLine {
            line_id: name.to_string(),
            product: *product,
            merchant: *merchant,
            category: (*category).to_owned(),
            quantity: 1,
            amount: Minor::new(*amount),
        });
    let currency = Currency::parse("CNY").unwrap();
    Cart { currency, lines: lines.collect(), shipping: Minor::ZERO }
}

fn products(ids: &[i64]) -> Scope {
    Scope::Products(ids.iter().copied().collect())
}

fn categories(codes: &[&str]) -> Scope {
    Scope::categories(codes.iter().map(|code| (*code).to_owned()))
}

/// What the coupon takes off, or the reason and what is missing.
fn verdict(rules: &Rules, cart: &Cart) -> Result<i64, (Rejection, i64)> {
    let verdict = judge(&candidate(1, rules), cart);
    verdict.map(Minor::get).map_err(|fault| (fault.reason, fault.missing.get()))
}

fn shares(used: &CouponUse) -> Vec<(&str, i64)> {
    used.shares.iter().map(|share| (share.line_id.as_str(), share.discount.get())).collect()
}

// R31: 满100减50 on digital goods: only their lines count for the threshold and pay less.
#[test]
fn threshold_off_counts_eligible_lines_before_coupons() {
    let coupon = threshold(10_000, 5_000, categories(&["digital"]));
    let short = cart(&[(PHONE, 7, "digital", 9_999), (BOOK, 7, "books", 50_000)]);
    assert_eq!(verdict(&coupon, &short), Err((Rejection::BelowThreshold, 1)));
    let enough = cart(&[(PHONE, 7, "digital", 8_000), (BOOK, 7, "", 1), (30, 0, "digital", 2_000)]);
    assert_eq!(verdict(&coupon, &enough), Ok(5_000));
    let all = combine(&[candidate(1, &coupon)], &enough).unwrap();
    assert_eq!(shares(&all.uses[0]), [("a", 4_000), ("c", 1_000)]);
    let payable: Vec<i64> = all.lines.iter().map(|line| line.payable().get()).collect();
    assert_eq!(payable, [4_000, 1, 1_000]);
    assert_eq!((all.discount().get(), all.payable().get()), (5_000, 5_001));
}

// R34: threshold 5.01, amount 5, product 10, mutex.
#[test]
fn the_voucher_of_five_needs_five_and_a_cent() {
    let voucher = mutex(threshold(501, 500, products(&[BOOK])));
    let missing = Err((Rejection::BelowThreshold, 1));
    assert_eq!(verdict(&voucher, &cart(&[(BOOK, 7, "", 500)])), missing);
    assert_eq!(verdict(&voucher, &cart(&[(BOOK, 7, "", 501)])), Ok(500));
    let elsewhere = cart(&[(PHONE, 7, "", 9_900)]);
    assert_eq!(verdict(&voucher, &elsewhere), Err((Rejection::OutOfScope, 0)));
}

// R26, trap 36: 8折 pays 80 %; the discount is rounded down and capped.
#[test]
fn eight_zhe_pays_eighty_percent() {
    let eighty = percent(8_000, Some(5_000), Scope::Merchants([7].into_iter().collect()));
    assert_eq!(verdict(&eighty, &cart(&[(BOOK, 7, "", 10_000)])), Ok(2_000));
    assert_eq!(verdict(&eighty, &cart(&[(BOOK, 7, "", 30_000)])), Ok(5_000));
    let odd = combine(&[candidate(1, &eighty)], &cart(&[(BOOK, 7, "", 999)])).unwrap();
    assert_eq!((odd.discount().get(), odd.payable().get()), (199, 800));
    assert_eq!(verdict(&eighty, &cart(&[(BOOK, 7, "", 4)])), Err((Rejection::NothingLeft, 0)));
}

// R26: a red packet is capped at what there is, never refused while that is above zero.
#[test]
fn direct_off_is_capped_at_the_cart() {
    let packet = direct(888, Scope::All);
    assert_eq!(verdict(&packet, &cart(&[(BOOK, 7, "", 2_000)])), Ok(888));
    assert_eq!(verdict(&packet, &cart(&[(BOOK, 7, "", 1)])), Ok(1));
    assert_eq!(verdict(&packet, &cart(&[(BOOK, 7, "", 0)])), Err((Rejection::NothingLeft, 0)));
}

#[test]
fn the_first_fault_in_order_is_named() {
    let usd = Cart { currency: Currency::parse("USD").unwrap(), ..cart(&[(PHONE, 7, "", 1)]) };
    let voucher = threshold(501, 500, products(&[BOOK]));
    assert_eq!(verdict(&voucher, &usd), Err((Rejection::CurrencyMismatch, 0)));
    let none = cart(&[]);
    assert_eq!(verdict(&direct(1, Scope::All), &none), Err((Rejection::OutOfScope, 0)));
    let free = cart(&[(BOOK, 7, "", 0)]);
    assert_eq!(verdict(&voucher, &free), Err((Rejection::BelowThreshold, 501)));
}

// R28, trap 35: narrowest scope first, then by id, each on what the earlier left; the threshold
// looks at the amounts before coupons.
#[test]
fn coupons_apply_from_the_narrowest_scope() {
    let all = percent(5_000, None, Scope::All);
    let merchant = direct(1_000, Scope::Merchants([7].into_iter().collect()));
    let category = threshold(10_000, 3_000, categories(&["digital"]));
    let product = direct(2_000, products(&[PHONE]));
    let given = [(1, &all), (2, &merchant), (3, &category), (5, &product), (4, &product)];
    let given = given.map(|(id, rules)| candidate(id, rules));
    let cart = cart(&[(PHONE, 7, "digital", 10_000), (BOOK, 8, "books", 4_000)]);
    let together = combine(&given, &cart).unwrap();
    let steps: Vec<_> =
        together.uses.iter().map(|used| (used.coupon.get(), used.discount.get())).collect();
    assert_eq!(steps, [(4, 2_000), (5, 2_000), (3, 3_000), (2, 1_000), (1, 3_000)]);
    assert_eq!(shares(&together.uses[4]), [("a", 1_000), ("b", 2_000)]);
    assert_eq!(together.payable().get(), 3_000);
}

// R47: every failing coupon is named, in the order given; the first reason in order decides.
#[test]
fn a_refusal_names_every_failing_coupon() {
    let usable = direct(100, Scope::All);
    let lonely = mutex(direct(100, Scope::All));
    let far = threshold(5_000, 100, products(&[BOOK]));
    let given = [(1, &lonely), (2, &usable), (3, &far), (4, &lonely)];
    let given = given.map(|(id, rules)| candidate(id, rules));
    let refusal = combine(&given, &cart(&[(BOOK, 7, "", 1_000)])).unwrap_err();
    let named: Vec<_> = refusal.faults.iter().map(|f| (f.coupon.get(), f.reason)).collect();
    let expected =
        [(1, Rejection::CouponMutex), (3, Rejection::BelowThreshold), (4, Rejection::CouponMutex)];
    assert_eq!(named, expected);
    assert_eq!(refusal.faults[1].missing.get(), 4_000);
    assert_eq!(refusal.reason, Rejection::BelowThreshold);
    assert!(combine(&given[..1], &cart(&[(BOOK, 7, "", 1_000)])).is_ok());
}

#[test]
fn a_coupon_that_finds_nothing_left_fails_the_combination() {
    let big = direct(1_000, Scope::All);
    let small = direct(300, products(&[BOOK]));
    let given = [candidate(9, &big), candidate(2, &big), candidate(3, &small)];
    let refusal = combine(&given, &cart(&[(BOOK, 7, "", 1_000)])).unwrap_err();
    assert_eq!(refusal.reason, Rejection::NothingLeft);
    let named: Vec<_> = refusal.faults.iter().map(|fault| fault.coupon.get()).collect();
    assert_eq!(named, [9]);
    let capped = combine(&given[1..], &cart(&[(BOOK, 7, "", 1_000)])).unwrap();
    assert_eq!(capped.uses[1].discount.get(), 700);
}

#[test]
fn nothing_given_is_the_cart_as_it_is() {
    let cart = cart(&[(BOOK, 7, "", 1_000)]);
    let plain = combine(&[], &cart).unwrap();
    assert_eq!((plain.uses.len(), plain.discount().get(), plain.payable().get()), (0, 0, 1_000));
    assert_eq!(best(&[], &cart), None);
}

fn best_of(given: &[(i64, &Rules)], cart: &Cart) -> (Vec<i64>, i64, bool) {
    let given: Vec<_> = given.iter().map(|(id, rules)| candidate(*id, rules)).collect();
    let Best { evaluation: found, optimal } = best(&given, cart).unwrap();
    let ids = found.uses.iter().map(|used| used.coupon.get()).collect();
    (ids, found.discount().get(), optimal)
}

// R60: the best of one exclusive coupon and all the others together.
#[test]
fn the_best_is_the_larger_of_stack_and_exclusive() {
    let cart = cart(&[(BOOK, 7, "", 2_000), (PHONE, 7, "digital", 8_000)]);
    let (small, other) = (direct(500, products(&[BOOK])), direct(700, categories(&["digital"])));
    let (weak, strong) = (mutex(direct(1_000, Scope::All)), mutex(direct(1_300, Scope::All)));
    let useless = threshold(99_999, 9_999, Scope::All);
    let with = |exclusive| [(1, &small), (2, &other), (3, exclusive), (4, &useless)];
    assert_eq!(best_of(&with(&weak), &cart), (vec![1, 2], 1_200, true));
    assert_eq!(best_of(&with(&strong), &cart), (vec![3], 1_300, true));
}

// R60: nothing is spent that saves nothing.
#[test]
fn the_best_spends_no_coupon_in_vain() {
    let cart = cart(&[(BOOK, 7, "", 1_000)]);
    let (some, enough) = (direct(300, products(&[BOOK])), direct(1_000, Scope::All));
    assert_eq!(best_of(&[(1, &some), (2, &enough), (3, &enough)], &cart), (vec![2], 1_000, true));
}

// R60: taking every coupon is not always best: here the first leaves so little that rounding robs
// the second of its unit, and the third of its line.
#[test]
fn the_best_leaves_a_coupon_out_where_rounding_makes_that_better() {
    let cart = cart(&[(BOOK, 7, "", 1), (PHONE, 7, "", 2)]);
    let (phone, both) =
        (direct(2, products(&[PHONE])), percent(1_000, None, products(&[BOOK, PHONE])));
    let given = [(1, &phone), (2, &both), (3, &phone)];
    assert_eq!(best_of(&given, &cart), (vec![2, 3], 3, true));
}
