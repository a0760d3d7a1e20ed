//! The arithmetic of one coupon after the other.

use super::{
    Candidate, CouponUse, Evaluation, LineDiscount, LineShare, ShippingDiscount,
    basket::{Basket, Places},
    fault,
};
use crate::{
    CouponFault, Rejection,
    ids::{CouponId, TemplateId},
    money::Minor,
    rules::{KeptDiscount, ThresholdBase},
    time::Timestamp,
};

/// A coupon that could be used for the cart, alone; with what is worked out once. See
/// [`super::Evaluator::judge`].
#[derive(Debug, Clone)]
pub struct Usable<'a> {
    pub(super) candidate: Candidate<'a>,
    /// The eligible places, at least one line among them.
    pub(super) reach: Places,
    /// Of the eligible places, before coupons.
    pub(super) amount: Minor,
    /// What it takes off alone, above zero; never less than in any combination.
    pub(super) alone: Minor,
}

/// What is left of a cart.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// Of every place.
    pub(super) amounts: Vec<Minor>,
    /// Of all places together.
    pub(super) total: Minor,
    /// What must be left of them at least.
    pub(super) floor: Minor,
}

impl Left {
    /// The cart before coupons.
    pub(super) fn of(basket: &Basket<'_>) -> Self {
        Self { amounts: basket.amounts.clone(), total: basket.total, floor: Minor::ZERO }
    }

    /// Of some places.
    pub(super) fn sum(&self, places: &Places) -> Minor {
        sum(&self.amounts, places)
    }
}

fn sum(amounts: &[Minor], places: &Places) -> Minor {
    places.iter().map(|place| amounts[place]).sum()
}

impl<'a> Usable<'a> {
    /// Which coupon.
    pub fn candidate(&self) -> &Candidate<'a> {
        &self.candidate
    }

    /// What it takes off alone, above zero.
    pub fn alone(&self) -> Minor {
        self.alone
    }

    /// The same of another coupon of its template, which is worth the same.
    #[must_use]
    pub fn copy(&self, coupon: CouponId, valid_until: Timestamp) -> Self {
        let candidate = Candidate { coupon, valid_until, ..self.candidate };
        Self { candidate, ..self.clone() }
    }

    /// Judges the coupon alone. See [`super::Evaluator::judge`] for the faults.
    pub(super) fn of(candidate: &Candidate<'a>, basket: &Basket<'_>) -> Result<Self, CouponFault> {
        let rules = candidate.rules;
        if rules.currency != basket.cart.currency {
            return Err(fault(candidate.coupon, Rejection::CurrencyMismatch));
        }
        let Some(reach) = basket.eligible(rules) else {
            return Err(fault(candidate.coupon, Rejection::OutOfScope));
        };
        let amount = sum(&basket.amounts, &reach);
        let usable = Self { candidate: *candidate, reach, amount, alone: Minor::ZERO };
        let alone = usable.worth(amount, basket.total, Minor::ZERO);
        if alone == Minor::ZERO {
            return Err(usable.nothing(amount));
        }
        Ok(Self { alone, ..usable })
    }

    /// Why it takes off nothing when `eligible` is left of its places.
    fn nothing(&self, eligible: Minor) -> CouponFault {
        let missing = self.candidate.rules.benefit.threshold().less(self.base(eligible));
        if missing > Minor::ZERO {
            CouponFault { missing, ..fault(self.candidate.coupon, Rejection::BelowThreshold) }
        } else {
            fault(self.candidate.coupon, Rejection::NothingLeft)
        }
    }

    fn base(&self, eligible: Minor) -> Minor {
        match self.candidate.rules.threshold_base {
            ThresholdBase::BeforeCoupons => self.amount,
            ThresholdBase::AfterEarlierCoupons => eligible,
        }
    }

    /// The order in which coupons apply: narrowest scope first, then by template, so that coupons of
    /// one template can stand in for each other, then by id.
    pub(super) fn order_applied(&self) -> (u8, TemplateId, CouponId) {
        let Candidate { coupon, template, rules, .. } = self.candidate;
        (rules.scope.breadth(), template, coupon)
    }

    /// What it takes off when `eligible` is left of its places and `total` of the whole order, which
    /// must not fall below `floor`. Never more when less is left or the floor is higher.
    pub(super) fn worth(&self, eligible: Minor, total: Minor, floor: Minor) -> Minor {
        let rules = self.candidate.rules;
        let room = total.less(floor.max(rules.min_payable));
        rules.benefit.off(self.base(eligible), eligible).min(room)
    }

    /// What it takes off.
    pub(super) fn discount(&self, left: &Left) -> Minor {
        self.worth(left.sum(&self.reach), left.total, left.floor)
    }

    /// Takes its discount off what is left; answers it and, when above zero, its shares in the order
    /// of its places.
    pub(super) fn take(&self, left: &mut Left) -> (Minor, Vec<Minor>) {
        let amount = self.discount(left);
        if amount == Minor::ZERO {
            return (amount, Vec::new());
        }
        let weights: Vec<Minor> = self.reach.iter().map(|place| left.amounts[place]).collect();
        let shares = split(amount, &weights);
        for (place, share) in self.reach.iter().zip(&shares) {
            left.amounts[place] = left.amounts[place].less(*share);
        }
        left.total = left.total.less(amount);
        left.floor = left.floor.max(self.candidate.rules.min_payable);
        (amount, shares)
    }
}

/// The coupons in the order in which they apply.
pub(super) fn in_order_applied<'u, 'a>(usable: &'u [Usable<'a>]) -> Vec<&'u Usable<'a>> {
    let mut ordered: Vec<&Usable<'_>> = usable.iter().collect();
    ordered.sort_by_key(|one| one.order_applied());
    ordered
}

/// The cart after the coupons, which are in the order to apply; and those that took off nothing.
pub(super) fn apply(
    ordered: &[&Usable<'_>],
    basket: &Basket<'_>,
) -> (Evaluation, Vec<CouponFault>) {
    let mut left = Left::of(basket);
    let mut uses = Vec::with_capacity(ordered.len());
    let mut faults = Vec::new();
    for usable in ordered {
        let eligible = left.sum(&usable.reach);
        let (discount, shares) = usable.take(&mut left);
        if discount == Minor::ZERO {
            faults.push(usable.nothing(eligible));
        } else {
            uses.push(coupon_use(usable, discount, &shares, basket));
        }
    }
    let lines = basket.cart.lines.iter().zip(&left.amounts).map(|(line, left)| LineDiscount {
        line_id: line.line_id.clone(),
        quantity: line.quantity,
        amount: line.amount,
        discount: line.amount.less(*left),
    });
    let amount = basket.cart.shipping;
    let shipping =
        ShippingDiscount { amount, discount: amount.less(left.amounts[basket.shipping()]) };
    let lines = lines.collect();
    (Evaluation { currency: basket.cart.currency, uses, lines, shipping }, faults)
}

fn coupon_use(
    usable: &Usable<'_>,
    discount: Minor,
    shares: &[Minor],
    basket: &Basket<'_>,
) -> CouponUse {
    let Candidate { coupon, template, rules, .. } = usable.candidate;
    let mut used = CouponUse {
        coupon,
        template,
        discount,
        shares: Vec::with_capacity(shares.len()),
        shipping: Minor::ZERO,
        eligible: Vec::new(),
    };
    for (place, discount) in usable.reach.iter().zip(shares).filter(|(_, s)| **s > Minor::ZERO) {
        match basket.cart.lines.get(place) {
            Some(line) => {
                let line_id = line.line_id.clone();
                used.shares.push(LineShare { line_id, discount: *discount });
            }
            None => used.shipping = *discount,
        }
    }
    if rules.kept_discount == KeptDiscount::ClawBack {
        used.eligible = usable.reach.iter().filter(|place| *place < basket.shipping()).collect();
    }
    used
}

/// Splits `amount` in proportion to `weights`, whose sum is at least `amount`: every share is
/// rounded down, then the largest remainders get one unit more, ties to the earlier. A share is
/// never above its weight, because a weight is whole and its exact share is not above it.
pub(super) fn split(amount: Minor, weights: &[Minor]) -> Vec<Minor> {
    let total: Minor = weights.iter().copied().sum();
    if total <= Minor::ZERO {
        return vec![Minor::ZERO; weights.len()];
    }
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let (share, remainder) = multiply_divide(amount.get(), weight.get(), total.get());
        shares.push(Minor::new(share));
        // Negated, so that the largest remainder sorts first and the earlier line wins a tie.
        remainders.push((-remainder, index));
    }
    let given: Minor = shares.iter().copied().sum();
    let spare = usize::try_from(amount.less(given).get()).unwrap_or(0).min(weights.len());
    if spare > 0 {
        remainders.select_nth_unstable(spare - 1);
    }
    for (_, index) in &remainders[..spare] {
        shares[*index] = shares[*index].plus(Minor::new(1));
    }
    shares
}

/// Quotient and remainder of `a * b / divisor`, exact; 128 bits are slow and seldom needed.
fn multiply_divide(a: i64, b: i64, divisor: i64) -> (i64, i64) {
    if let Some(product) = a.checked_mul(b) {
        return (product / divisor, product % divisor);
    }
    let (product, divisor) = (i128::from(a) * i128::from(b), i128::from(divisor));
    let narrow = |wide| i64::try_from(wide).unwrap_or(i64::MAX);
    (narrow(product / divisor), narrow(product % divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(amount: i64, weights: &[i64]) -> Vec<i64> {
        let weights: Vec<Minor> = weights.iter().copied().map(Minor::new).collect();
        split(Minor::new(amount), &weights).into_iter().map(Minor::get).collect()
    }

    // R59: the split adds up to the cent; equal remainders go to the earlier line.
    #[test]
    fn a_split_gives_the_remainder_to_the_largest_and_then_the_earliest() {
        assert_eq!(shares(100, &[100, 100, 100]), [34, 33, 33]);
        assert_eq!(shares(200, &[100, 100, 100]), [67, 67, 66]);
        assert_eq!(shares(10, &[1, 2, 4]), [1, 3, 6]);
        assert_eq!(shares(1, &[1, 0, 1_000]), [0, 0, 1]);
        assert_eq!(shares(7, &[0, 7, 0]), [0, 7, 0]);
        assert_eq!(shares(0, &[3, 4]), [0, 0]);
        assert_eq!(shares(0, &[0, 0]), [0, 0]);
        assert_eq!(shares(5, &[]), [0; 0]);
    }

    #[test]
    fn a_split_of_the_largest_amounts_is_exact() {
        let most = crate::money::AMOUNT_MAX;
        let weights = [most; 500];
        let given = shares(most * 500 - 1, &weights);
        assert_eq!(given.iter().sum::<i64>(), most * 500 - 1);
        assert_eq!(given[499], most - 1);
        assert!(given[..499].iter().all(|share| *share == most));
    }
}
