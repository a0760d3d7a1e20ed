//! Histories made by hand: a good one, and for every promise ones that break it.

use coupon_client::v1::ErrorReason;

use super::*;
use crate::chaos::log::Verb;

const USER: i64 = 7;
const TEMPLATE: i64 = 3;
const COUPON: i64 = 70_007;
const REDEMPTION: i64 = 90_007;

/// An attempt that takes one second.
fn op(verb: Verb, user: i64, request_id: &str, start: u64, outcome: Outcome) -> Op {
    let order = if verb.gives() { String::new() } else { "o".to_owned() };
    Op {
        verb,
        node: 0,
        user,
        template: TEMPLATE,
        order,
        request_id: request_id.to_owned(),
        body: 1,
        start: Duration::from_secs(start),
        end: Duration::from_secs(start + 1),
        outcome,
    }
}

fn won(coupon: i64) -> Outcome {
    Outcome::Given { coupons: vec![coupon], replayed: false }
}

fn lost(reason: ErrorReason) -> Outcome {
    Outcome::Lost(reason)
}

fn order(state: OrderState) -> Outcome {
    Outcome::Order { redemption: REDEMPTION, state, coupons: vec![COUPON] }
}

fn claim(request_id: &str, start: u64, outcome: Outcome) -> Op {
    op(Verb::Claim, USER, request_id, start, outcome)
}

fn coupon(coupon: i64, status: CouponStatus) -> FinalCoupon {
    FinalCoupon { coupon, template: TEMPLATE, status, reissued: false }
}

/// The user holds this, of a template of `total` pieces that counts `issued`.
fn ending(held: &[FinalCoupon], total: i64, issued: i64) -> Ending {
    let template = FinalTemplate { total, issued, limit: 1 };
    Ending {
        wallets: HashMap::from([(USER, held.to_vec())]),
        orders: HashMap::new(),
        templates: HashMap::from([(TEMPLATE, template)]),
    }
}

fn one() -> Ending {
    ending(&[coupon(COUPON, CouponStatus::Available)], 10, 1)
}

fn none() -> Ending {
    ending(&[], 10, 0)
}

fn with_order(mut ending: Ending, state: OrderState, status: CouponStatus) -> Ending {
    let end = FinalOrder { redemption: REDEMPTION, state, coupons: vec![COUPON] };
    ending.orders.insert((USER, "o".to_owned()), end);
    ending.wallets.insert(USER, vec![coupon(COUPON, status)]);
    ending
}

/// The promises that this history breaks.
fn broken(ops: &[Op], ending: &Ending) -> Vec<Rule> {
    let verdict = check(ops, ending);
    assert_eq!(verdict.attempts, u64::try_from(ops.len()).unwrap());
    verdict.counts().into_keys().collect()
}

#[test]
fn a_good_history_breaks_nothing() {
    let ops = [
        claim("c", 0, Outcome::Unknown),
        claim("c", 2, Outcome::NotAdmitted),
        claim("c", 4, Outcome::Given { coupons: vec![COUPON], replayed: true }),
        claim("d", 6, lost(ErrorReason::LimitReached)),
        op(Verb::Lock, USER, "l", 8, order(OrderState::Locked)),
        op(Verb::Confirm, USER, "k", 10, Outcome::Unknown),
        op(Verb::Confirm, USER, "k", 12, order(OrderState::Confirmed)),
        op(Verb::Cancel, USER, "x", 14, lost(ErrorReason::OrderConfirmed)),
        op(Verb::Restore, USER, "r", 16, order(OrderState::Restored)),
        op(Verb::Confirm, USER, "k", 18, order(OrderState::Restored)),
        op(Verb::Lock, USER, "l", 20, lost(ErrorReason::OrderRestored)),
    ];
    let ending = with_order(one(), OrderState::Restored, CouponStatus::Available);
    let verdict = check(&ops, &ending);
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.requests, verdict.unknown, verdict.not_admitted), (6, 2, 1));
    // From the end of the first U to the end of the definite answer.
    assert_eq!(verdict.settled_within, Duration::from_secs(4));
}

#[test]
fn a_win_that_is_not_in_the_wallet_is_lost() {
    assert_eq!(broken(&[claim("c", 0, won(COUPON))], &none()), [Rule::Durable]);
}

#[test]
fn a_coupon_in_two_wallets_is_found() {
    let mut ending = one();
    ending.wallets.insert(8, vec![coupon(COUPON, CouponStatus::Available)]);
    ending.templates.insert(TEMPLATE, FinalTemplate { total: 10, issued: 2, limit: 1 });
    let ops = [claim("c", 0, won(COUPON)), op(Verb::Claim, 8, "c", 0, won(COUPON))];
    assert_eq!(broken(&ops, &ending), [Rule::Durable]);
}

#[test]
fn a_coupon_that_its_user_was_refused_is_found() {
    let ops = [claim("c", 0, lost(ErrorReason::SoldOut))];
    let held = [coupon(COUPON, CouponStatus::Available)];
    assert_eq!(broken(&ops, &ending(&held, 1, 1)), [Rule::OneOutcome]);
}

#[test]
fn one_id_with_two_coupons_is_found() {
    let held = [COUPON, COUPON + 1].map(|id| coupon(id, CouponStatus::Available));
    let mut ending = ending(&held, 10, 2);
    ending.templates.insert(TEMPLATE, FinalTemplate { total: 10, issued: 2, limit: 3 });
    let ops = [claim("c", 0, won(COUPON)), claim("c", 2, won(COUPON + 1))];
    assert_eq!(broken(&ops, &ending), [Rule::OneOutcome]);
    // Two ids with one coupon are no better.
    let ops = [claim("c", 0, won(COUPON)), claim("d", 2, won(COUPON))];
    assert_eq!(broken(&ops, &one()), [Rule::OneOutcome]);
}

#[test]
fn another_body_is_told_so_and_never_succeeds() {
    let other = |start, outcome| Op { body: 2, ..claim("c", start, outcome) };
    let first = claim("c", 0, won(COUPON));
    let told = other(2, lost(ErrorReason::IdempotencyKeyReused));
    assert_eq!(broken(&[first.clone(), told.clone()], &one()), []);
    assert_eq!(broken(&[first.clone(), other(2, won(COUPON))], &one()), [Rule::OneOutcome]);
    let refused = other(2, lost(ErrorReason::LimitReached));
    assert_eq!(broken(&[first, refused], &one()), [Rule::OneOutcome]);
    // Told so without any other body.
    assert_eq!(broken(&[Op { body: 1, ..told }], &none()), [Rule::OneOutcome]);
}

#[test]
fn too_many_coupons_and_a_limit_that_is_none_are_found() {
    let held = [COUPON, COUPON + 1].map(|id| coupon(id, CouponStatus::Available));
    let ops = [claim("c", 0, won(COUPON)), claim("d", 2, won(COUPON + 1))];
    assert_eq!(broken(&ops, &ending(&held, 10, 2)), [Rule::Limit]);
    assert_eq!(broken(&[claim("c", 0, lost(ErrorReason::LimitReached))], &none()), [Rule::Limit]);
}

#[test]
fn oversold_and_miscounted_templates_are_found() {
    let held = [coupon(COUPON, CouponStatus::Available)];
    let ops = [claim("c", 0, won(COUPON))];
    assert_eq!(broken(&ops, &ending(&held, 0, 1)), [Rule::Stock]);
    assert_eq!(broken(&ops, &ending(&held, 10, 2)), [Rule::Stock]);
}

#[test]
fn a_reissued_coupon_is_outside_stock_and_limit() {
    let reissued = FinalCoupon { reissued: true, ..coupon(COUPON + 1, CouponStatus::Available) };
    let held = [coupon(COUPON, CouponStatus::Available), reissued];
    assert_eq!(broken(&[claim("c", 0, won(COUPON))], &ending(&held, 10, 1)), []);
}

#[test]
fn sold_out_with_pieces_left_is_found() {
    let ops = [claim("c", 0, lost(ErrorReason::SoldOut))];
    assert_eq!(broken(&ops, &none()), [Rule::SoldOut]);
}

#[test]
fn a_win_that_begins_after_sold_out_is_found() {
    let sold_out = op(Verb::Claim, 8, "c", 0, lost(ErrorReason::SoldOut));
    let held = [coupon(COUPON, CouponStatus::Available)];
    let after = [sold_out.clone(), claim("c", 2, won(COUPON))];
    assert_eq!(broken(&after, &ending(&held, 1, 1)), [Rule::SoldOut]);
    // What was sent before may have been won before.
    let before = [claim("c", 0, Outcome::Unknown), sold_out, claim("c", 2, won(COUPON))];
    assert_eq!(broken(&before, &ending(&held, 1, 1)), []);
}

#[test]
fn a_winner_who_is_refused_afterwards_is_found() {
    for reason in [ErrorReason::SoldOut, ErrorReason::LimitReached] {
        let ops = [claim("c", 0, won(COUPON)), claim("c", 2, lost(reason))];
        let held = [coupon(COUPON, CouponStatus::Available)];
        assert_eq!(broken(&ops, &ending(&held, 1, 1)), [Rule::ReplayFirst], "{reason:?}");
    }
    // Answers that may have crossed prove nothing.
    let crossed = [claim("c", 0, lost(ErrorReason::LimitReached)), claim("c", 0, won(COUPON))];
    assert_eq!(broken(&crossed, &one()), []);
}

#[test]
fn who_has_all_it_may_have_is_not_told_sold_out() {
    let held = [coupon(COUPON, CouponStatus::Available)];
    let ops = [claim("c", 0, won(COUPON)), claim("d", 2, lost(ErrorReason::SoldOut))];
    assert_eq!(broken(&ops, &ending(&held, 1, 1)), [Rule::ReplayFirst]);
}

#[test]
fn an_outcome_that_stays_unknown_is_found() {
    for open in [Outcome::Unknown, Outcome::NotAdmitted] {
        assert_eq!(broken(&[claim("c", 0, open)], &none()), [Rule::Settled]);
    }
    // What it has given may be there or not.
    assert_eq!(broken(&[claim("c", 0, Outcome::Unknown)], &one()), [Rule::Settled]);
}

#[test]
fn refusals_without_a_reason_in_the_load_are_found() {
    for reason in [ErrorReason::Internal, ErrorReason::TemplatePaused, ErrorReason::LockLapsed] {
        assert_eq!(broken(&[claim("c", 0, lost(reason))], &none()), [Rule::Defect]);
    }
}

#[test]
fn an_order_that_ends_twice_is_found() {
    let ops = [
        claim("c", 0, won(COUPON)),
        op(Verb::Confirm, USER, "k", 2, order(OrderState::Confirmed)),
        op(Verb::Cancel, USER, "x", 2, order(OrderState::Cancelled)),
    ];
    let ending = with_order(one(), OrderState::Confirmed, CouponStatus::Used);
    assert_eq!(broken(&ops, &ending), [Rule::Path]);
}

#[test]
fn an_order_that_goes_back_is_found() {
    let ops = [
        claim("c", 0, won(COUPON)),
        op(Verb::Confirm, USER, "k", 2, order(OrderState::Confirmed)),
        op(Verb::Lock, USER, "l", 4, order(OrderState::Locked)),
    ];
    let ending = with_order(one(), OrderState::Confirmed, CouponStatus::Used);
    assert_eq!(broken(&ops, &ending), [Rule::Path]);
}

#[test]
fn an_order_that_ends_otherwise_than_told_is_found() {
    let claimed = claim("c", 0, won(COUPON));
    let ops = [claimed.clone(), op(Verb::Confirm, USER, "k", 2, order(OrderState::Confirmed))];
    let cancelled = with_order(one(), OrderState::Cancelled, CouponStatus::Available);
    assert_eq!(broken(&ops, &cancelled), [Rule::Path]);
    assert_eq!(broken(&ops, &one()), [Rule::Durable]);
    let refused = op(Verb::Confirm, USER, "k", 2, lost(ErrorReason::OrderCancelled));
    let confirmed = with_order(one(), OrderState::Confirmed, CouponStatus::Used);
    assert_eq!(broken(&[claimed, refused], &confirmed), [Rule::Path]);
}

#[test]
fn a_coupon_that_is_not_where_its_order_left_it_is_found() {
    let ops = [claim("c", 0, won(COUPON)), op(Verb::Lock, USER, "l", 2, order(OrderState::Locked))];
    let free = with_order(one(), OrderState::Locked, CouponStatus::Available);
    assert_eq!(broken(&ops, &free), [Rule::Path]);
    let mut twice = with_order(one(), OrderState::Locked, CouponStatus::Locked);
    assert_eq!(broken(&ops, &twice), []);
    let second = FinalOrder {
        redemption: REDEMPTION + 1,
        state: OrderState::Confirmed,
        coupons: vec![COUPON],
    };
    twice.orders.insert((USER, "p".to_owned()), second);
    assert_eq!(broken(&ops, &twice), [Rule::Path]);
}

#[test]
fn one_order_with_two_redemptions_is_found() {
    let other = Outcome::Order {
        redemption: REDEMPTION + 1,
        state: OrderState::Locked,
        coupons: vec![COUPON],
    };
    let ops = [
        claim("c", 0, won(COUPON)),
        op(Verb::Lock, USER, "l", 2, order(OrderState::Locked)),
        op(Verb::Lock, USER, "m", 4, other),
    ];
    let ending = with_order(one(), OrderState::Locked, CouponStatus::Locked);
    assert_eq!(broken(&ops, &ending), [Rule::Path]);
}
