//! The target can fail: evaluators and refunds with a planted defect each are caught, by the property
//! that is about it.

use std::{cell::Cell, collections::BTreeSet};

use coupon_domain::{
    CouponFault, Refusal,
    book::Book,
    cart::Cart,
    evaluate::{Best, Candidate, Evaluation, SearchLimits},
    ids::CouponId,
    money::Minor,
    redemption::{RestoreCommand, Restored},
    rules::Rules,
    time::Timestamp,
};
use coupon_fuzz::{Case, Shelf, Sound, Subject, check};

use crate::common::pseudo_random;

/// More than it takes for each of the defects.
const INPUTS: u64 = 600;

/// The properties that the inputs find broken.
fn caught(defective: &dyn Subject) -> BTreeSet<&'static str> {
    let violation = |data: Vec<u8>| check(&Case::decode(&data).unwrap(), defective).err();
    pseudo_random(INPUTS)
        .filter_map(|(_, data)| violation(data))
        .map(|violation| violation.property)
        .collect()
}

#[track_caller]
fn is_caught(defective: &dyn Subject, by: &str) {
    let caught = caught(defective);
    assert!(caught.contains(by), "{caught:?}");
}

fn cent() -> Minor {
    Minor::new(1)
}

/// Takes the best single coupon, and says that this is proven.
struct Lazy;

impl Subject for Lazy {
    fn best(&self, candidates: &[Candidate<'_>], cart: &Cart, _: SearchLimits) -> Option<Best> {
        let worth = |one: &&Candidate<'_>| {
            Sound.judge(one, cart).ok().map(|worth| (worth, std::cmp::Reverse(one.coupon)))
        };
        let best = candidates.iter().max_by_key(worth)?;
        let evaluation = Sound.combine(&[*best], cart).ok()?;
        Some(Best { evaluation, optimal: true })
    }
}

/// Gives up at once, and says that what it has is proven.
struct Boastful;

impl Subject for Boastful {
    fn best(
        &self,
        candidates: &[Candidate<'_>],
        cart: &Cart,
        limits: SearchLimits,
    ) -> Option<Best> {
        let limits = SearchLimits { effort: 0, ..limits };
        Sound.best(candidates, cart, limits).map(|best| Best { optimal: true, ..best })
    }
}

/// Lists the coupons in another order than they apply.
struct Backwards;

impl Subject for Backwards {
    fn best(
        &self,
        candidates: &[Candidate<'_>],
        cart: &Cart,
        limits: SearchLimits,
    ) -> Option<Best> {
        let mut best = Sound.best(candidates, cart, limits)?;
        best.evaluation.uses.reverse();
        Some(best)
    }
}

/// Lets the order pay less than it must.
struct Floorless;

impl Subject for Floorless {
    fn combine(&self, candidates: &[Candidate<'_>], cart: &Cart) -> Result<Evaluation, Refusal> {
        let floorless =
            |one: &Candidate<'_>| Rules { min_payable: Minor::ZERO, ..one.rules.clone() };
        let rules: Vec<Rules> = candidates.iter().map(floorless).collect();
        let free = candidates.iter().zip(&rules);
        let free: Vec<_> = free.map(|(one, rules)| Candidate { rules, ..*one }).collect();
        Sound.combine(&free, cart)
    }
}

/// Loses a cent of a share.
struct Lossy;

impl Subject for Lossy {
    fn combine(&self, candidates: &[Candidate<'_>], cart: &Cart) -> Result<Evaluation, Refusal> {
        let mut evaluation = Sound.combine(candidates, cart)?;
        if let Some(share) = evaluation.uses.iter_mut().find_map(|used| used.shares.first_mut()) {
            share.discount = share.discount.less(cent());
        }
        Ok(evaluation)
    }
}

/// Gives a cent of the first line to the second: all sums are right.
struct Unfair;

impl Subject for Unfair {
    fn combine(&self, candidates: &[Candidate<'_>], cart: &Cart) -> Result<Evaluation, Refusal> {
        let mut evaluation = Sound.combine(candidates, cart)?;
        let roomy = evaluation.lines.get(1).is_some_and(|line| line.payable() > Minor::ZERO);
        if let (true, Some(used)) = (roomy, evaluation.uses.first_mut())
            && let [first, second, ..] = used.shares.as_mut_slice()
            && first.discount > cent()
            && (first.line_id.as_str(), second.line_id.as_str()) == ("line-0", "line-1")
        {
            first.discount = first.discount.less(cent());
            second.discount = second.discount.plus(cent());
            evaluation.lines[0].discount = evaluation.lines[0].discount.less(cent());
            evaluation.lines[1].discount = evaluation.lines[1].discount.plus(cent());
        }
        Ok(evaluation)
    }
}

/// Judges a cent too much.
struct Generous;

impl Subject for Generous {
    fn judge(&self, candidate: &Candidate<'_>, cart: &Cart) -> Result<Minor, CouponFault> {
        Sound.judge(candidate, cart).map(|worth| worth.plus(cent()))
    }
}

/// Answers otherwise every other time.
#[derive(Default)]
struct Fickle(Cell<bool>);

impl Subject for Fickle {
    fn best(
        &self,
        candidates: &[Candidate<'_>],
        cart: &Cart,
        limits: SearchLimits,
    ) -> Option<Best> {
        self.0.set(!self.0.get());
        Sound.best(candidates, cart, limits).filter(|_| self.0.get())
    }
}

/// Pays a cent more than it books, or books a cent that it does not pay.
struct Careless {
    books: bool,
}

impl Subject for Careless {
    fn restore(
        &self,
        book: &mut Book,
        command: &RestoreCommand,
        templates: &Shelf,
        mint: &mut dyn FnMut() -> CouponId,
        now: Timestamp,
    ) -> Result<Restored, Refusal> {
        let mut restored = Sound.restore(book, command, templates, mint, now)?;
        let amounts = &mut restored.amounts;
        if self.books {
            amounts.amount = amounts.amount.plus(cent());
            amounts.clawed_back -= 1;
        } else if let Some(line) = amounts.lines.first_mut() {
            line.amount = line.amount.plus(cent());
            amounts.clawed_back += 1;
        }
        Ok(restored)
    }
}

#[test]
fn the_domain_as_it_is_is_not_caught() {
    assert_eq!(caught(&Sound), BTreeSet::new());
}

#[test]
fn a_search_that_misses_the_best_is_caught() {
    is_caught(&Lazy, "the best beats the plain choice");
    is_caught(&Boastful, "what is proven is the best of all");
    is_caught(&Boastful, "what is proven is not beaten");
    is_caught(&Backwards, "the best is legal");
    is_caught(&Fickle::default(), "the best repeats");
}

#[test]
fn a_wrong_sum_is_caught() {
    is_caught(&Floorless, "the least payable amount is left");
    is_caught(&Lossy, "a line's discount is the sum of its shares");
    is_caught(&Unfair, "combined as documented");
    is_caught(&Generous, "judged as documented");
}

#[test]
fn a_wrong_refund_is_caught() {
    is_caught(&Careless { books: true }, "refunds are summed");
    is_caught(&Careless { books: false }, "a line gives back its pieces");
}
