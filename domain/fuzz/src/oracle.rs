//! What the evaluator has to answer, worked out plainly after its documentation, in 128 bits.

use coupon_domain::{
    Rejection,
    cart::Cart,
    evaluate::Candidate,
    rules::{Benefit, Rules, Stacking, ThresholdBase},
};

/// Why a coupon takes off nothing, and what its threshold lacks.
pub(crate) type Fault = (Rejection, i128);

/// What one coupon takes off, place by place: the lines, then the shipping charge.
pub(crate) type Shares = Vec<i128>;

/// A coupon with what it takes off.
pub(crate) type Used<'r> = (Candidate<'r>, Shares);

/// A coupon that takes off nothing.
pub(crate) type Failed<'r> = (Candidate<'r>, Fault);

/// A cart before coupons.
pub(crate) struct Oracle<'c> {
    cart: &'c Cart,
    amounts: Vec<i128>,
}

/// What earlier coupons left.
#[derive(Clone)]
pub(crate) struct Left {
    amounts: Vec<i128>,
    floor: i128,
}

/// A coupon with its eligible places.
pub(crate) struct Placed<'r> {
    pub(crate) candidate: Candidate<'r>,
    places: Vec<usize>,
    /// Of these places, before coupons.
    amount: i128,
    /// What it takes off alone.
    pub(crate) alone: i128,
}

impl<'c> Oracle<'c> {
    pub(crate) fn new(cart: &'c Cart) -> Self {
        let amounts = cart.lines.iter().map(|line| line.amount).chain([cart.shipping]);
        Self { cart, amounts: amounts.map(|amount| i128::from(amount.get())).collect() }
    }

    pub(crate) fn untouched(&self) -> Left {
        Left { amounts: self.amounts.clone(), floor: 0 }
    }

    /// The coupon by itself.
    pub(crate) fn judge<'r>(&self, candidate: &Candidate<'r>) -> Result<Placed<'r>, Fault> {
        let rules = candidate.rules;
        if rules.currency != self.cart.currency {
            return Err((Rejection::CurrencyMismatch, 0));
        }
        let mut places = self.lines_of(rules);
        if places.is_empty() {
            return Err((Rejection::OutOfScope, 0));
        }
        if rules.with_shipping {
            places.push(self.cart.lines.len());
        }
        let amount = places.iter().map(|place| self.amounts[*place]).sum();
        let placed = Placed { candidate: *candidate, places, amount, alone: 0 };
        let alone = placed.take(&mut self.untouched())?.iter().sum();
        Ok(Placed { alone, ..placed })
    }

    fn lines_of(&self, rules: &Rules) -> Vec<usize> {
        let lines = self.cart.lines.iter().enumerate();
        let eligible =
            lines.filter(|(_, line)| rules.scope.covers(line) && !rules.excluded.cover(line));
        eligible.map(|(place, _)| place).collect()
    }
}

impl Placed<'_> {
    /// The order in which coupons apply.
    pub(crate) fn turn(&self) -> impl Ord + use<> {
        let Candidate { coupon, template, rules, .. } = self.candidate;
        (rules.scope.breadth(), template, coupon)
    }

    /// Takes the coupon's discount off what is left, and answers its shares by place.
    pub(crate) fn take(&self, left: &mut Left) -> Result<Shares, Fault> {
        let rules = self.candidate.rules;
        let eligible: i128 = self.places.iter().map(|place| left.amounts[*place]).sum();
        let base = match rules.threshold_base {
            ThresholdBase::BeforeCoupons => self.amount,
            ThresholdBase::AfterEarlierCoupons => eligible,
        };
        let floor = left.floor.max(i128::from(rules.min_payable.get()));
        let room = left.amounts.iter().sum::<i128>() - floor;
        let discount = off(&rules.benefit, base, eligible).min(room);
        if discount <= 0 {
            let missing = i128::from(rules.benefit.threshold().get()) - base;
            return Err(if missing > 0 {
                (Rejection::BelowThreshold, missing)
            } else {
                (Rejection::NothingLeft, 0)
            });
        }
        let shares = self.split(discount, eligible, left);
        left.amounts.iter_mut().zip(&shares).for_each(|(amount, share)| *amount -= share);
        left.floor = floor;
        Ok(shares)
    }

    /// In proportion to what is left: largest remainder, ties to the earlier place.
    fn split(&self, discount: i128, eligible: i128, left: &Left) -> Shares {
        let mut shares = vec![0; left.amounts.len()];
        let mut by_remainder = Vec::new();
        for place in &self.places {
            let product = discount * left.amounts[*place];
            shares[*place] = product / eligible;
            by_remainder.push((-(product % eligible), *place));
        }
        by_remainder.sort_unstable();
        let given: i128 = shares.iter().sum();
        for (_, place) in by_remainder.iter().take(usize::try_from(discount - given).unwrap_or(0)) {
            shares[*place] += 1;
        }
        shares
    }
}

fn off(benefit: &Benefit, base: i128, left: i128) -> i128 {
    if base < i128::from(benefit.threshold().get()) {
        return 0;
    }
    let (off, cap) = match *benefit {
        Benefit::DirectOff { amount } => (i128::from(amount.get()), None),
        Benefit::ThresholdOff { threshold, amount, every, max_discount } => {
            let times = if every { base / i128::from(threshold.get()) } else { 1 };
            (i128::from(amount.get()) * times, max_discount)
        }
        Benefit::Percentage { pay_bps, max_discount, .. } => {
            (left * (10_000 - i128::from(pay_bps)) / 10_000, max_discount)
        }
    };
    off.min(cap.map_or(off, |cap| i128::from(cap.get()))).min(left)
}

/// What all of them take off together: the shares of each coupon, in the order in which they apply.
/// The faults are in the order given.
pub(crate) fn combine<'r>(
    candidates: &[Candidate<'r>],
    oracle: &Oracle<'_>,
) -> Result<Vec<Used<'r>>, Vec<Failed<'r>>> {
    let mut placed = Vec::new();
    let mut faults = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        match (oracle.judge(candidate), clash(candidates, index)) {
            (Err(fault), _) => faults.push((*candidate, fault)),
            (Ok(_), Some(reason)) => faults.push((*candidate, (reason, 0))),
            (Ok(one), None) => placed.push(one),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    placed.sort_by_key(Placed::turn);
    let mut left = oracle.untouched();
    let mut uses = Vec::new();
    for one in &placed {
        match one.take(&mut left) {
            Ok(shares) => uses.push((one.candidate, shares)),
            Err(fault) => faults.push((one.candidate, fault)),
        }
    }
    faults.sort_by_key(|(one, _)| candidates.iter().position(|c| c.coupon == one.coupon));
    if faults.is_empty() { Ok(uses) } else { Err(faults) }
}

/// Why a coupon may not be with the others.
fn clash(candidates: &[Candidate<'_>], index: usize) -> Option<Rejection> {
    let one = &candidates[index];
    let shares_group = |other: &Candidate<'_>| {
        other.coupon != one.coupon && other.rules.stacking == one.rules.stacking
    };
    let excluded = match one.rules.stacking {
        Stacking::Exclusive => candidates.len() > 1,
        Stacking::OneOf(_) => candidates.iter().any(shares_group),
        Stacking::Stackable => false,
    };
    if excluded {
        return Some(Rejection::CouponMutex);
    }
    let before = candidates[..index].iter().filter(|other| other.template == one.template).count();
    let limit = usize::try_from(one.rules.per_order_limit?).unwrap_or(usize::MAX);
    (before >= limit).then_some(Rejection::TooManyOfTemplate)
}

/// The highest discount of all legal combinations of at most `coupons_max`, by trying them all.
pub(crate) fn best_of_all(placed: &[Placed<'_>], oracle: &Oracle<'_>, coupons_max: usize) -> i128 {
    let exclusive = |one: &&Placed<'_>| one.candidate.rules.stacking == Stacking::Exclusive;
    let alone = placed.iter().filter(exclusive).map(|one| one.alone).max().unwrap_or(0);
    let mut together: Vec<&Placed<'_>> = placed.iter().filter(|one| !exclusive(one)).collect();
    together.sort_by_key(|one| one.turn());
    alone.max(try_all(&together, coupons_max, &mut Vec::new(), &oracle.untouched()))
}

/// What the rest, added to the chosen ones, takes off at most.
fn try_all<'p, 'r>(
    rest: &[&'p Placed<'r>],
    coupons_max: usize,
    chosen: &mut Vec<&'p Placed<'r>>,
    left: &Left,
) -> i128 {
    let Some((first, others)) = rest.split_first() else { return 0 };
    let without = try_all(others, coupons_max, chosen, left);
    let mut next = left.clone();
    if chosen.len() >= coupons_max || !may_join(first, chosen) {
        return without;
    }
    // What a coupon finds depends on the earlier ones alone, so a fault here spoils every
    // combination that begins like this.
    let Ok(shares) = first.take(&mut next) else { return without };
    chosen.push(first);
    let with = shares.iter().sum::<i128>() + try_all(others, coupons_max, chosen, &next);
    chosen.pop();
    with.max(without)
}

/// Whether the coupon may be used together with these.
pub(crate) fn may_join(one: &Placed<'_>, chosen: &[&Placed<'_>]) -> bool {
    let rules = one.candidate.rules;
    let in_group = matches!(rules.stacking, Stacking::OneOf(_));
    if in_group && chosen.iter().any(|c| c.candidate.rules.stacking == rules.stacking) {
        return false;
    }
    let template = one.candidate.template;
    let copies = chosen.iter().filter(|other| other.candidate.template == template).count();
    rules.per_order_limit.is_none_or(|limit| copies < usize::try_from(limit).unwrap_or(usize::MAX))
}

/// What a plain shopper would do: of each mutex group take the coupon worth most alone, and all
/// others, as far as they find anything left and one may have so many.
pub(crate) fn greedy(placed: &[Placed<'_>], oracle: &Oracle<'_>, coupons_max: usize) -> i128 {
    let exclusive = |one: &&Placed<'_>| one.candidate.rules.stacking == Stacking::Exclusive;
    let mut chosen: Vec<&Placed<'_>> = Vec::new();
    let mut ordered: Vec<&Placed<'_>> = placed.iter().filter(|one| !exclusive(one)).collect();
    let turn = |one: &&Placed<'_>| {
        let Candidate { coupon, template, rules, valid_until } = one.candidate;
        (rules.scope.breadth(), template, valid_until, coupon)
    };
    ordered.sort_by_key(|one| (-one.alone, one.candidate.valid_until, turn(one)));
    for one in ordered {
        if may_join(one, &chosen) {
            chosen.push(one);
        }
    }
    chosen.sort_by_key(turn);
    let mut left = oracle.untouched();
    let taken = chosen.iter().filter_map(|one| one.take(&mut left).ok());
    taken.take(coupons_max).map(|shares| shares.iter().sum::<i128>()).sum()
}
