//! What coupons take off, alone and together.

use coupon_domain::{
    CouponFault, Refusal,
    cart::Cart,
    evaluate::{Candidate, Evaluation},
    money::Minor,
    rules::Rules,
};

use super::{Seen, Violation, equal, holds};
use crate::{
    Case, Subject,
    oracle::{self, Oracle, Shares},
};

pub(super) fn check(case: &Case, subject: &dyn Subject, seen: &mut Seen) -> Result<(), Violation> {
    let candidates = case.candidates();
    let wanted: Vec<_> = case.wanted.iter().map(|place| candidates[*place]).collect();
    let singles = candidates.iter().map(std::slice::from_ref);
    for asked in singles.chain([candidates.as_slice(), wanted.as_slice(), &[]]) {
        let answer = subject.combine(asked, &case.cart);
        equal("combining repeats", &answer, &subject.combine(asked, &case.cart))?;
        if let (true, Ok(evaluation)) = (case.cart_is_checked, &answer) {
            books(evaluation, &case.cart)?;
            floor(evaluation, asked)?;
            seen.stacked = seen.stacked.max(evaluation.uses.len());
        }
        if case.is_checked() {
            as_expected(&answer, asked, &case.cart)?;
            seen.floored |= answer.as_ref().is_ok_and(|found| is_floored(found, asked));
        }
    }
    for candidate in &candidates {
        alone(case, subject, candidate)?;
    }
    if case.cart_is_checked {
        candidates.iter().try_for_each(|one| benefit(one.rules, &case.cart))?;
    }
    Ok(())
}

/// Judging a coupon and combining it with nothing come to the same.
fn alone(case: &Case, subject: &dyn Subject, candidate: &Candidate<'_>) -> Result<(), Violation> {
    let judged = subject.judge(candidate, &case.cart);
    equal("judging repeats", &judged, &subject.judge(candidate, &case.cart))?;
    if case.is_checked() {
        let expected = Oracle::new(&case.cart).judge(candidate);
        let expected = expected.map(|one| one.alone).map_err(|fault| fault_of(candidate, fault));
        equal("judged as documented", &expected, &judged.map(wide))?;
    }
    Ok(())
}

/// Whatever was combined: splits add up, no line goes below zero, nothing is lost.
pub(super) fn books(evaluation: &Evaluation, cart: &Cart) -> Result<(), Violation> {
    let amounts = || cart.lines.iter().map(|line| line.amount).chain([cart.shipping]);
    let before: i128 = amounts().map(wide).sum();
    let taken: i128 = evaluation.uses.iter().map(|used| wide(used.discount)).sum();
    equal("the discount is the coupons' sum", &taken, &wide(evaluation.discount()))?;
    equal("payable is what is left", &(before - taken), &wide(evaluation.payable()))?;
    holds(taken <= before, "payable is never negative", || format!("{taken} of {before}"))?;
    let lines = evaluation.lines.iter();
    let same = evaluation.lines.len() == cart.lines.len()
        && lines.zip(&cart.lines).all(|(line, original)| {
            (&line.line_id, line.quantity, line.amount)
                == (&original.line_id, original.quantity, original.amount)
        });
    holds(same, "the lines are the cart's", || format!("{:?}", evaluation.lines))?;
    equal("the shipping charge is the cart's", &cart.shipping, &evaluation.shipping.amount)?;
    for line in &evaluation.lines {
        let on_line = |used: &coupon_domain::evaluate::CouponUse| {
            let shares = used.shares.iter().filter(|share| share.line_id == line.line_id);
            shares.map(|share| wide(share.discount)).sum::<i128>()
        };
        let sum: i128 = evaluation.uses.iter().map(on_line).sum();
        equal("a line's discount is the sum of its shares", &sum, &wide(line.discount))?;
        within(line.discount, line.amount)?;
    }
    let on_shipping: i128 = evaluation.uses.iter().map(|used| wide(used.shipping)).sum();
    let shipping = evaluation.shipping;
    equal("shipping's discount is the sum of its shares", &on_shipping, &wide(shipping.discount))?;
    within(shipping.discount, shipping.amount)?;
    for used in &evaluation.uses {
        let shares: i128 = used.shares.iter().map(|share| wide(share.discount)).sum();
        let split = shares + wide(used.shipping);
        equal("a coupon's shares add up to its discount", &split, &wide(used.discount))?;
        let positive = used.shares.iter().all(|share| share.discount > Minor::ZERO);
        let positive = positive && used.discount > Minor::ZERO && used.shipping >= Minor::ZERO;
        holds(positive, "what a coupon takes off is above zero", || format!("{used:?}"))?;
    }
    Ok(())
}

fn within(discount: Minor, amount: Minor) -> Result<(), Violation> {
    let within = Minor::ZERO <= discount && discount <= amount;
    holds(within, "a discount is between zero and what is left", || {
        format!("{discount} of {amount}")
    })
}

/// The order pays no less than the highest least payable amount of the coupons used.
fn floor(evaluation: &Evaluation, asked: &[Candidate<'_>]) -> Result<(), Violation> {
    let used = evaluation.uses.iter();
    let rules = used.filter_map(|used| asked.iter().find(|one| one.coupon == used.coupon));
    let floor = rules.map(|one| one.rules.min_payable).max().unwrap_or_default();
    let payable = evaluation.payable();
    holds(payable >= floor, "the least payable amount is left", || format!("{payable} of {floor}"))
}

fn is_floored(evaluation: &Evaluation, asked: &[Candidate<'_>]) -> bool {
    asked.iter().any(|one| {
        one.rules.min_payable > Minor::ZERO && one.rules.min_payable == evaluation.payable()
    })
}

/// Exactly what the documentation says, discount by discount and fault by fault.
fn as_expected(
    answer: &Result<Evaluation, Refusal>,
    asked: &[Candidate<'_>],
    cart: &Cart,
) -> Result<(), Violation> {
    let by_place = |evaluation: &Evaluation| -> Vec<_> {
        evaluation
            .uses
            .iter()
            .map(|used| (used.coupon, used.template, places(used, cart)))
            .collect()
    };
    let got = answer.as_ref().map(by_place).map_err(|refusal| {
        let wrong = Refusal::of(refusal.faults.clone()).map(|of| of.reason) != Some(refusal.reason);
        (wrong, refusal.faults.clone())
    });
    let expected = oracle::combine(asked, &Oracle::new(cart));
    let expected = expected
        .map(|uses| uses.into_iter().map(|(c, s)| (c.coupon, c.template, s)).collect())
        .map_err(|faults| {
            (false, faults.iter().map(|(one, fault)| fault_of(one, *fault)).collect())
        });
    equal("combined as documented", &expected, &got)
}

fn places(used: &coupon_domain::evaluate::CouponUse, cart: &Cart) -> Shares {
    let of_line = |line: &coupon_domain::cart::CartLine| {
        let share = used.shares.iter().find(|share| share.line_id == line.line_id);
        share.map_or(0, |share| wide(share.discount))
    };
    cart.lines.iter().map(of_line).chain([wide(used.shipping)]).collect()
}

fn fault_of(candidate: &Candidate<'_>, (reason, missing): oracle::Fault) -> CouponFault {
    let missing = Minor::new(i64::try_from(missing).unwrap_or(i64::MAX));
    CouponFault { coupon: candidate.coupon, reason, missing }
}

/// A benefit takes off 0 to what is left, and never less when the base or what is left grows.
fn benefit(rules: &Rules, cart: &Cart) -> Result<(), Violation> {
    const STEPS: usize = 6;
    let amounts = cart.lines.iter().map(|line| line.amount);
    let sums = amounts.scan(Minor::ZERO, |sum, amount| {
        *sum = sum.plus(amount);
        Some(*sum)
    });
    let sums: Vec<Minor> = std::iter::once(Minor::ZERO).chain(sums.take(STEPS)).collect();
    let mut lower = vec![Minor::ZERO; sums.len()];
    for base in &sums {
        let mut before = Minor::ZERO;
        for (left, lower) in sums.iter().zip(&mut lower) {
            let off = rules.benefit.off(*base, *left);
            within(off, *left)?;
            holds(off >= before.max(*lower), "a benefit grows with what it looks at", || {
                format!("{off} after {before} and {lower} at {base}, {left}")
            })?;
            (before, *lower) = (off, off);
        }
    }
    Ok(())
}

pub(super) fn wide(amount: Minor) -> i128 {
    i128::from(amount.get())
}
