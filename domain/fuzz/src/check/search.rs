//! The best combination.

use coupon_domain::{
    cart::Cart,
    evaluate::{Best, Candidate},
    ids::mix64,
    money::Minor,
};

use super::{
    Seen, Violation,
    combination::{books, wide},
    equal, holds,
};
use crate::{
    Case, EFFORT_FULL, Subject,
    oracle::{Oracle, Placed, best_of_all, greedy},
};

/// Wallets up to this size are compared with all of their subsets.
const ALL_TRIED_MAX: usize = 8;

pub(super) fn check(case: &Case, subject: &dyn Subject, seen: &mut Seen) -> Result<(), Violation> {
    let candidates = case.candidates();
    let cart = &case.cart;
    let best = subject.best(&candidates, cart, case.limits);
    equal("the best repeats", &best, &subject.best(&candidates, cart, case.limits))?;
    let mut shuffled = candidates.clone();
    shuffled.sort_by_key(|one| mix64(one.coupon.get().unsigned_abs()));
    let again = subject.best(&shuffled, cart, case.limits);
    equal("the order given does not change the best", &best, &again)?;
    if case.cart_is_checked
        && let Some(best) = &best
    {
        books(&best.evaluation, cart)?;
    }
    if !case.is_checked() {
        return Ok(());
    }
    let oracle = Oracle::new(cart);
    let placed = candidates.iter().filter_map(|one| oracle.judge(one).ok());
    let placed: Vec<Placed<'_>> = placed.collect();
    let Some(best) = best else {
        return holds(placed.is_empty(), "no usable coupon is overlooked", || {
            format!("{} could be used", placed.len())
        });
    };
    seen.stacked = seen.stacked.max(best.evaluation.uses.len());
    seen.unproven |= !best.optimal;
    legal(case, subject, &candidates, &best)?;
    preferred(&candidates, &best)?;
    spared(case, subject, &candidates, &best)?;
    beats(case, &placed, &oracle, &best)?;
    if placed.len() <= ALL_TRIED_MAX {
        seen.all_tried = true;
        let most = best_of_all(&placed, &oracle, case.limits.coupons_max);
        return against_all(case, most, &best);
    }
    neighbours(case, subject, &candidates, &best)
}

/// The coupons it uses, of those given.
fn chosen<'r>(candidates: &[Candidate<'r>], best: &Best) -> Vec<Candidate<'r>> {
    let used = |one: &&Candidate<'_>| best.evaluation.uses.iter().any(|u| u.coupon == one.coupon);
    candidates.iter().filter(used).copied().collect()
}

/// Combining exactly these coupons comes to the very same.
fn legal(
    case: &Case,
    subject: &dyn Subject,
    candidates: &[Candidate<'_>],
    best: &Best,
) -> Result<(), Violation> {
    let combined = subject.combine(&chosen(candidates, best), &case.cart);
    equal("the best is legal", &Ok(best.evaluation.clone()), &combined)?;
    let used = best.evaluation.uses.len();
    holds((1..=case.limits.coupons_max).contains(&used), "no more coupons than allowed", || {
        format!("{used} of {}", case.limits.coupons_max)
    })
}

/// Of one template, those that expire first are taken.
fn preferred(candidates: &[Candidate<'_>], best: &Best) -> Result<(), Violation> {
    let used = chosen(candidates, best);
    let is_used = |one: &Candidate<'_>| used.iter().any(|used| used.coupon == one.coupon);
    for spared in candidates.iter().filter(|one| !is_used(one)) {
        let late = used
            .iter()
            .find(|used| used.template == spared.template && used.valid_until > spared.valid_until);
        holds(late.is_none(), "the first to expire is taken", || {
            format!("{late:?} instead of {spared:?}")
        })?;
    }
    Ok(())
}

/// No coupon alone and no plain choice is better, whatever the effort; one coupon is preferred.
fn beats(
    case: &Case,
    placed: &[Placed<'_>],
    oracle: &Oracle<'_>,
    best: &Best,
) -> Result<(), Violation> {
    let saved = wide(best.evaluation.discount());
    let single = placed.iter().map(|one| one.alone).max().unwrap_or(0);
    holds(saved >= single, "the best beats every coupon", || format!("{saved} of {single}"))?;
    let fewest = saved > single || best.evaluation.uses.len() == 1;
    holds(fewest, "one coupon is preferred", || format!("{:?}", best.evaluation.uses))?;
    let greedy = greedy(placed, oracle, case.limits.coupons_max);
    holds(saved >= greedy, "the best beats the plain choice", || format!("{saved} of {greedy}"))
}

/// No coupon is used that adds nothing.
fn spared(
    case: &Case,
    subject: &dyn Subject,
    candidates: &[Candidate<'_>],
    best: &Best,
) -> Result<(), Violation> {
    let used = chosen(candidates, best);
    for one in &used {
        let others: Vec<_> = used.iter().filter(|o| o.coupon != one.coupon).copied().collect();
        let without = saved(subject, &others, &case.cart);
        let needed = others.is_empty() || without < best.evaluation.discount();
        holds(needed, "a coupon that adds nothing is left out", || format!("{one:?}"))?;
    }
    Ok(())
}

fn against_all(case: &Case, most: i128, best: &Best) -> Result<(), Violation> {
    let saved = wide(best.evaluation.discount());
    holds(saved <= most, "nothing beats the best of all", || format!("{saved} of {most}"))?;
    let proven = best.optimal || case.limits.effort < EFFORT_FULL;
    holds(proven, "a small wallet is proven", || format!("{:?}", case.limits))?;
    holds(saved == most || !best.optimal, "what is proven is the best of all", || {
        format!("{saved} of {most}")
    })
}

/// Too many coupons to try all: no legal combination that differs by one coupon more, one less, or
/// one for another saves more than what is proven.
fn neighbours(
    case: &Case,
    subject: &dyn Subject,
    candidates: &[Candidate<'_>],
    best: &Best,
) -> Result<(), Violation> {
    if !best.optimal {
        return Ok(());
    }
    let used = chosen(candidates, best);
    let mut bases = vec![used.clone()];
    for left_out in &used {
        bases.push(used.iter().filter(|one| one.coupon != left_out.coupon).copied().collect());
    }
    for base in &bases {
        better(case, subject, base, best)?;
        let is_new = |one: &&Candidate<'_>| base.iter().all(|other| other.coupon != one.coupon);
        for one in candidates.iter().filter(is_new) {
            let more: Vec<_> = base.iter().chain([one]).copied().collect();
            better(case, subject, &more, best)?;
        }
    }
    Ok(())
}

fn better(
    case: &Case,
    subject: &dyn Subject,
    asked: &[Candidate<'_>],
    best: &Best,
) -> Result<(), Violation> {
    if asked.len() > case.limits.coupons_max {
        return Ok(());
    }
    let saved = saved(subject, asked, &case.cart);
    let most = best.evaluation.discount();
    holds(saved <= most, "what is proven is not beaten", || {
        let coupons: Vec<_> = asked.iter().map(|one| one.coupon).collect();
        format!("{most}, but {saved} by {coupons:?}")
    })
}

fn saved(subject: &dyn Subject, asked: &[Candidate<'_>], cart: &Cart) -> Minor {
    subject.combine(asked, cart).map(|evaluation| evaluation.discount()).unwrap_or_default()
}
